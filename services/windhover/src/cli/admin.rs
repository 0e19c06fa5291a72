//! `windhover admin …` and `windhover whoami`

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use windhover_client::admin::v1::{
    CreateTenantRequest, CreateTokenRequest, GetTenantRequest, ListTenantsRequest, ListTokensRequest,
    RevokeTokenRequest, Role, Tenant, Token, WhoAmIRequest,
};

use super::{
    cluster::{self, InstanceCommand, QueueCommand, ShardCommand},
    error::{Failure, say},
    output::table,
    pages,
    session::Session,
    style::{self, BOLD, paint, safe},
    values,
    worker_group::{self, WorkerGroupCommand},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Look after tenants; for platform administrators.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Look after the tokens of a tenant.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look after the processes of the cluster; for platform administrators, as what follows.
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// See who owns the shards, and move them.
    #[command(subcommand)]
    Shard(ShardCommand),
    /// See how many jobs wait for workers.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// See which worker groups there are, and say who may use them.
    #[command(subcommand)]
    WorkerGroup(WorkerGroupCommand),
}

#[derive(Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant.
    Create(CreateTenant),
    /// List the tenants.
    List(List),
    /// Print a tenant.
    Get(GetTenant),
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; its text is printed now and never again.
    Create(CreateToken),
    /// List the tokens, newest first.
    List(List),
    /// Make a token worthless, at once and for good.
    Revoke(RevokeToken),
}

#[derive(Args)]
pub(crate) struct CreateTenant {
    /// Lower-case letters, digits, `-` and `_`; cannot be changed.
    id: String,
    /// A name for people.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
}

#[derive(Args)]
pub(crate) struct GetTenant {
    /// Id of the tenant; the tenant of the call when not given.
    #[arg(default_value = "", hide_default_value = true)]
    id: String,
}

#[derive(Args)]
pub(crate) struct CreateToken {
    /// What it is for.
    name: String,
    /// What its holder may do: viewer, operator, editor, admin, platform-admin.
    #[arg(long, value_parser = role)]
    role: Role,
    /// How long it is good, e.g. `30d`; until it is revoked when not given.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    lifetime: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct RevokeToken {
    /// Id of the token, not its text.
    id: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

fn role(text: &str) -> Result<Role, String> {
    match Role::from_short_name(text) {
        Some(role) if role != Role::Unspecified => Ok(role),
        _ => Err("is no role; roles are viewer, operator, editor, admin, platform-admin".to_owned()),
    }
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Tenant(command) => tenant(session, command).await,
        Command::Token(command) => token(session, command).await,
        Command::Instance(command) => cluster::instance(session, command).await.map(|()| ExitCode::SUCCESS),
        Command::Shard(command) => cluster::shard(session, command).await.map(|()| ExitCode::SUCCESS),
        Command::Queue(command) => cluster::queue(session, command).await.map(|()| ExitCode::SUCCESS),
        Command::WorkerGroup(command) => worker_group::run(session, command).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn tenant(session: &Session, command: TenantCommand) -> Result<ExitCode, Failure> {
    match command {
        TenantCommand::Create(command) => {
            let request =
                CreateTenantRequest { tenant_id: command.id, display_name: command.name, request_id: String::new() };
            let response = session.client.create_tenant(request).await?;
            session.output.print(&response, || {
                response.tenant.iter().map(|tenant| format!("created {}", safe(&tenant.id))).collect()
            })?;
        }
        TenantCommand::List(command) => {
            let response = pages::collect(command.limit, async |page_size, page_token| {
                session.client.list_tenants(ListTenantsRequest { page_size, page_token }).await
            })
            .await?;
            session.output.print(&response, || tenants(&response.tenants))?;
        }
        TenantCommand::Get(command) => {
            let response = session.client.get_tenant(GetTenantRequest { tenant_id: command.id }).await?;
            session.output.print(&response, || tenants(response.tenant.as_slice()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tenants(tenants: &[Tenant]) -> Vec<String> {
    let rows = tenants.iter().map(|tenant| {
        let name = safe(&tenant.display_name).into_owned();
        [safe(&tenant.id).into_owned(), name, style::date_time(tenant.created.as_ref())]
    });
    table(["TENANT", "NAME", "CREATED"], rows.collect())
}

async fn token(session: &Session, command: TokenCommand) -> Result<ExitCode, Failure> {
    match command {
        TokenCommand::Create(command) => {
            let request = CreateTokenRequest {
                name: command.name,
                role: command.role.into(),
                lifetime: command.lifetime.and_then(|lifetime| lifetime.try_into().ok()),
                request_id: String::new(),
            };
            let response = session.client.create_token(request).await?;
            if !session.output.is_json() {
                let token = response.token.clone().unwrap_or_default();
                say(&[format!(
                    "token {} for tenant {}, role {}; this is the only time that it is shown:",
                    safe(&token.id),
                    safe(&token.tenant_id),
                    role_name(token.role())
                )]);
            }
            // The text alone on standard output, so that a script can take it.
            session.output.print(&response, || vec![response.token_text.clone()])?;
        }
        TokenCommand::List(command) => {
            let response = pages::collect(command.limit, async |page_size, page_token| {
                session.client.list_tokens(ListTokensRequest { page_size, page_token }).await
            })
            .await?;
            session.output.print(&response, || tokens(&response.tokens))?;
        }
        TokenCommand::Revoke(command) => {
            let response = session.client.revoke_token(RevokeTokenRequest { token_id: command.id }).await?;
            session.output.print(&response, || {
                response.token.iter().map(|token| format!("revoked {}", safe(&token.id))).collect()
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tokens(tokens: &[Token]) -> Vec<String> {
    let rows = tokens.iter().map(|token| {
        let until = if token.revoked.is_some() {
            paint(style::ERROR, "revoked")
        } else {
            style::date_time(token.expires.as_ref())
        };
        let name = safe(&token.name).into_owned();
        [safe(&token.id).into_owned(), name, role_name(token.role()), style::date_time(token.created.as_ref()), until]
    });
    table(["TOKEN", "FOR", "ROLE", "CREATED", "UNTIL"], rows.collect())
}

pub(super) async fn who_am_i(session: &Session) -> Result<ExitCode, Failure> {
    let response = session.client.who_am_i(WhoAmIRequest {}).await?;
    session.output.print(&response, || {
        vec![format!(
            "{} in tenant {}, role {}",
            paint(BOLD, &safe(&response.subject)),
            safe(&response.tenant_id),
            role_name(response.role())
        )]
    })?;
    Ok(ExitCode::SUCCESS)
}

/// As the command line writes it: `platform-admin`.
fn role_name(role: Role) -> String {
    role.short_name().to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_written_as_they_are_read() {
        for known in [Role::Viewer, Role::Operator, Role::Editor, Role::Admin, Role::PlatformAdmin] {
            assert_eq!(role(&role_name(known)), Ok(known));
        }
        assert!(role("unspecified").is_err() && role("king").is_err());
    }
}
