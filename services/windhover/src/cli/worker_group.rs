//! `windhover admin worker-group …`

use clap::{Args, Subcommand};
use windhover_client::admin::v1::{
    ListWorkerGroupsRequest, SetWorkerGroupPermissionRequest, WorkerGroup, WorkerGroupPermission,
};

use super::{
    error::Failure,
    output::table,
    pages,
    session::Session,
    style::{self, paint, safe},
};

#[derive(Subcommand)]
pub(crate) enum WorkerGroupCommand {
    /// List the worker groups that are known.
    List(List),
    /// Let the flows of a tenant use a group, also one that is not known yet.
    Allow(Permission),
    /// Refuse the flows of a tenant a group.
    Deny(Permission),
    /// Take back what was said: what nothing was said of is allowed.
    Reset(Permission),
}

#[derive(Args)]
pub(crate) struct List {
    /// With the permissions of this tenant.
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    of: String,
}

#[derive(Args)]
pub(crate) struct Permission {
    /// Id of the tenant.
    #[arg(value_name = "TENANT")]
    of: String,
    /// The worker group.
    group: String,
}

pub(super) async fn run(session: &Session, command: WorkerGroupCommand) -> Result<(), Failure> {
    let (Permission { of, group }, permission) = match command {
        WorkerGroupCommand::List(List { of }) => return list(session, &of).await,
        WorkerGroupCommand::Allow(of) => (of, WorkerGroupPermission::Allowed),
        WorkerGroupCommand::Deny(of) => (of, WorkerGroupPermission::Denied),
        WorkerGroupCommand::Reset(of) => (of, WorkerGroupPermission::Unspecified),
    };
    let request =
        SetWorkerGroupPermissionRequest { tenant_id: of.clone(), worker_group: group, permission: permission.into() };
    let response = session.client.set_worker_group_permission(request).await?;
    session.output.print(&response, || groups(response.worker_group.as_slice(), true))
}

async fn list(session: &Session, of: &str) -> Result<(), Failure> {
    let response = pages::collect(0, async |page_size, page_token| {
        let tenant_id = of.to_owned();
        session.client.list_worker_groups(ListWorkerGroupsRequest { page_size, page_token, tenant_id }).await
    })
    .await?;
    session.output.print(&response, || groups(&response.worker_groups, !of.is_empty()))
}

fn groups(groups: &[WorkerGroup], with_permissions: bool) -> Vec<String> {
    let permission = |group: &WorkerGroup| match group.permission() {
        WorkerGroupPermission::Allowed => "allowed".to_owned(),
        WorkerGroupPermission::Denied => paint(style::ERROR, "denied"),
        WorkerGroupPermission::Unspecified if with_permissions => "allowed by default".to_owned(),
        WorkerGroupPermission::Unspecified => String::new(),
    };
    let rows = groups.iter().map(|group| {
        [
            safe(&group.name).into_owned(),
            group.workers.to_string(),
            style::date_time(group.first_seen.as_ref()),
            style::date_time(group.last_seen.as_ref()),
            permission(group),
        ]
    });
    table(["GROUP", "WORKERS", "FIRST SEEN", "LAST SEEN", ""], rows.collect())
}
