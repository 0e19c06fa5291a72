//! Connections to databases.

use std::{net::SocketAddr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions,
    postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition, PgSslMode},
    raw_sql,
};
use windhover_expression::Zone;
use windhover_types::Secret;

use super::{key, url::JdbcUrl};
use crate::{TaskContext, TaskError};

/// How long an address may take until the session is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Texts of values as they are read here. The second statement lets the server end what it does for a client that has
/// gone: an attempt that is killed leaves no query behind. Servers that do not know it have no such row.
const SESSION: &str = "SELECT set_config('intervalstyle', 'postgres', false), set_config('bytea_output', 'hex', false)";
const GONE: &str =
    "SELECT set_config(name, '1000', false) FROM pg_settings WHERE name = 'client_connection_check_interval'";

/// Properties of a connection.
struct Wanted {
    url: JdbcUrl,
    user: String,
    password: String,
    ssl_mode: PgSslMode,
    root_certificate: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// A session with the database that the task names, in the zone `zone`.
///
/// # Errors
/// A property is wrong, its address is refused, or the database does not let the user in.
pub(super) async fn connect(context: &TaskContext, zone: Zone) -> Result<PgConnection, TaskError> {
    let wanted = Wanted::read(context).await?;
    let mut last = None;
    for (host, port) in &wanted.url.hosts {
        for address in context.services.http.resolve(host, *port).await? {
            match tokio::time::timeout(PATIENCE, wanted.options(host, address).connect()).await {
                Ok(Ok(mut connection)) => {
                    prepare(&mut connection, zone).await?;
                    return Ok(connection);
                }
                // What the server itself answers is the same at its other addresses.
                Ok(Err(error @ sqlx::Error::Database(_))) => return Err(told(error)),
                Ok(Err(error)) => last = Some((host, port, told(error).to_string())),
                Err(_) => last = Some((host, port, "no answer in time".to_owned())),
            }
        }
    }
    Err(TaskError::failed(match last {
        Some((host, port, reason)) => format!("no connection to the database at {host}:{port}: {reason}"),
        None => "url: its host has no address".to_owned(),
    }))
}

impl Wanted {
    async fn read(context: &TaskContext) -> Result<Self, TaskError> {
        let url = JdbcUrl::parse(&context.required_text("url").await?)?;
        let (user, password) = (context.text("username").await?, context.text("password").await?);
        let user = user.or_else(|| url.parameter("user").map(str::to_owned)).filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| TaskError::failed("username: must be given, here or in `url`"))?;
        // Never what the environment of the worker says.
        let password = password.or_else(|| url.parameter("password").map(str::to_owned)).unwrap_or_default();
        let (mode, ssl) = (context.text("sslMode").await?, context.bool("ssl").await?.unwrap_or(false));
        let ssl_mode = ssl_mode(
            mode.as_deref().or_else(|| url.parameter("sslmode")),
            ssl || url.parameter("ssl") == Some("true"),
        )?;
        let key_password =
            context.text("sslKeyPassword").await?.filter(|password| !password.is_empty()).map(Secret::new);
        let key = match context.text("sslKey").await? {
            Some(pem) => Some(key::opened(pem, key_password).await?),
            None => None,
        };
        Ok(Self {
            user,
            password,
            ssl_mode,
            root_certificate: context.text("sslRootCert").await?,
            certificate: context.text("sslCert").await?,
            key,
            url,
        })
    }

    fn options(&self, host: &str, address: SocketAddr) -> PgConnectOptions {
        // A certificate that is compared with the host is proof of the host. Else exactly the address that was checked.
        let by_name = matches!(self.ssl_mode, PgSslMode::VerifyFull);
        let target = if by_name { host.to_owned() } else { address.ip().to_string() };
        let database = if self.url.database.is_empty() { &self.user } else { &self.url.database };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&target)
            .port(address.port())
            .username(&self.user)
            .password(&self.password)
            .database(database)
            .ssl_mode(self.ssl_mode)
            .application_name(self.url.parameter("applicationname").unwrap_or("windhover"));
        if let Some(schema) = self.url.parameter("currentschema") {
            options = options.options([("search_path", schema)]);
        }
        if let Some(pem) = &self.root_certificate {
            options = options.ssl_root_cert_from_pem(pem.clone().into_bytes());
        }
        if let Some(pem) = &self.certificate {
            options = options.ssl_client_cert_from_pem(pem);
        }
        if let Some(pem) = &self.key {
            options = options.ssl_client_key_from_pem(pem);
        }
        // Statements may hold secrets, and the server's log knows none of them.
        options.disable_statement_logging()
    }
}

fn ssl_mode(mode: Option<&str>, ssl: bool) -> Result<PgSslMode, TaskError> {
    Ok(match mode.map(|mode| mode.trim().to_lowercase().replace('-', "_")).as_deref() {
        Some("disable") => PgSslMode::Disable,
        Some("allow") => PgSslMode::Allow,
        Some("prefer") => PgSslMode::Prefer,
        Some("require") => PgSslMode::Require,
        Some("verify_ca") => PgSslMode::VerifyCa,
        Some("verify_full") => PgSslMode::VerifyFull,
        Some(other) => return Err(TaskError::failed(format!("sslMode: '{other}' is no mode"))),
        None if ssl => PgSslMode::VerifyFull,
        None => PgSslMode::Prefer,
    })
}

async fn prepare(connection: &mut PgConnection, zone: Zone) -> Result<(), TaskError> {
    execute(connection, SESSION).await?;
    if let Zone::Region(region) = zone {
        let name = region.name().replace('\'', "''");
        execute(connection, &format!("SELECT set_config('TimeZone', '{name}', false)")).await?;
    }
    // Some systems cannot do it, and say so.
    let _ = execute(connection, GONE).await;
    Ok(())
}

/// Runs statements whose rows nobody wants.
pub(super) async fn execute(connection: &mut PgConnection, sql: &str) -> Result<(), TaskError> {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(|_| ()).map_err(told)
}

/// What the database says, as its own driver for Java would.
pub(super) fn told(error: sqlx::Error) -> TaskError {
    let text = match &error {
        sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
            Some(postgres) => {
                let mut text =
                    format!("{:?}: {}", postgres.severity(), postgres.message()).replacen("Error", "ERROR", 1);
                let mut add = |name: &str, value: String| text.push_str(&format!("\n  {name}: {value}"));
                if let Some(detail) = postgres.detail() {
                    add("Detail", detail.to_owned());
                }
                if let Some(hint) = postgres.hint() {
                    add("Hint", hint.to_owned());
                }
                if let Some(PgErrorPosition::Original(position)) = postgres.position() {
                    add("Position", position.to_string());
                }
                text
            }
            None => database.message().to_owned(),
        },
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    TaskError::failed(text)
}
