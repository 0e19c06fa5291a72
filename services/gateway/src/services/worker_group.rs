//! Worker groups: who may use which, and whether there are any.

use std::collections::{BTreeMap, HashSet};

use windhover_flow::Mention;
use windhover_proto::{
    admin::v1::{self as proto, WorkerGroupPermission as Permission},
    reasons,
};
use windhover_types::{Error, ErrorKind, Severity, Tenant, Violation};

use super::{
    Shared,
    cluster::{ClusterApi, Workers, cut},
};
use crate::{
    auth::Caller,
    convert,
    error::{Result, invalid},
    page::{Binding, page_size},
};

const MAX_GROUP: usize = 256;

impl ClusterApi {
    pub(super) async fn worker_groups(
        &self,
        request: proto::ListWorkerGroupsRequest,
    ) -> Result<proto::ListWorkerGroupsResponse> {
        let size = page_size(request.page_size)?;
        let binding = Binding::new(&["worker groups", &request.tenant_id]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let tenant = match request.tenant_id.as_str() {
            "" => None,
            id => Some(self.tenant(id).await?),
        };
        let groups = self.groups(tenant.as_ref()).await?;
        let page = cut(groups.into_values().collect(), size, after, |group: &proto::WorkerGroup| {
            group.name.clone().into_bytes()
        });
        Ok(proto::ListWorkerGroupsResponse {
            worker_groups: page.items,
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }

    pub(super) async fn set_permission(
        &self,
        caller: &Caller,
        request: proto::SetWorkerGroupPermissionRequest,
    ) -> Result<proto::SetWorkerGroupPermissionResponse> {
        let group = request.worker_group;
        let letter = |byte: u8| byte.is_ascii_alphanumeric();
        let well_formed = group.bytes().next().is_some_and(letter)
            && group.bytes().all(|byte| letter(byte) || matches!(byte, b'_' | b'-'));
        if !well_formed || group.len() > MAX_GROUP {
            let form = "characters of A-Z, a-z, 0-9, `_`, `-`, the first a letter or digit";
            return Err(invalid("worker_group", format!("1 to {MAX_GROUP} {form}")));
        }
        let (allowed, word) = match Permission::try_from(request.permission) {
            Ok(Permission::Unspecified) => (None, "as by default"),
            Ok(Permission::Allowed) => (Some(true), "allowed"),
            Ok(Permission::Denied) => (Some(false), "denied"),
            Err(_) => return Err(invalid("permission", format!("{} is no permission", request.permission))),
        };
        let tenant = self.tenant(&request.tenant_id).await?;
        self.0.store.set_worker_group_permission(&tenant, &group, allowed).await?;
        let resource = format!("tenants/{tenant}/worker-groups/{group} {word}");
        self.0.audit(caller, "ClusterService.SetWorkerGroupPermission", resource).await;
        let unknown = || proto::WorkerGroup { name: group.clone(), ..Default::default() };
        let known = self.groups(Some(&tenant)).await?.remove(&group);
        Ok(proto::SetWorkerGroupPermissionResponse { worker_group: Some(known.unwrap_or_else(unknown)) })
    }

    async fn tenant(&self, id: &str) -> Result<Tenant> {
        let tenant = Tenant::parse(id).map_err(|error| {
            let why = error.message.clone();
            error.field("tenant_id", why)
        })?;
        match self.0.store.get_tenant(&tenant).await? {
            Some(_) => Ok(tenant),
            None => {
                let message = format!("there is no tenant {tenant}");
                Err(Error::new(ErrorKind::NotFound, reasons::TENANT_NOT_FOUND, message).with("tenant", &tenant))
            }
        }
    }

    /// Every group with a name that is known, by name.
    async fn groups(&self, tenant: Option<&Tenant>) -> Result<BTreeMap<String, proto::WorkerGroup>> {
        let mut groups: BTreeMap<String, proto::WorkerGroup> = BTreeMap::new();
        let named = |name: &str| proto::WorkerGroup { name: name.to_owned(), ..Default::default() };
        for seen in self.0.store.worker_groups().await? {
            let group = groups.entry(seen.name.clone()).or_insert_with(|| named(&seen.name));
            group.first_seen = Some(convert::time(seen.first_seen_at));
            group.last_seen = Some(convert::time(seen.last_seen_at));
        }
        let instances = self.0.store.instances().await?;
        let workers = Workers::of(&instances);
        for name in workers.groups() {
            groups.entry(name.to_owned()).or_insert_with(|| named(name));
        }
        let permissions = match tenant {
            Some(tenant) => self.0.store.worker_group_permissions(tenant).await?,
            None => Vec::new(),
        };
        for said in permissions {
            let group = groups.entry(said.group.clone()).or_insert_with(|| named(&said.group));
            group.permission = if said.allowed { Permission::Allowed } else { Permission::Denied } as i32;
        }
        // Tasks that name no group go to workers of none.
        groups.remove("");
        groups.values_mut().for_each(|group| group.workers = workers.count(&group.name));
        Ok(groups)
    }
}

impl Shared {
    /// Worker groups that the tenant may not use.
    pub(super) async fn denied_groups(&self, tenant: &Tenant) -> Result<Vec<String>> {
        let said = self.store.worker_group_permissions(tenant).await?;
        Ok(said.into_iter().filter(|said| !said.allowed).map(|said| said.group).collect())
    }

    /// Warnings of worker groups that a flow names and that nobody knows: no worker of it was ever seen, and nothing was
    /// said of it for this tenant. Its tasks do what their `fallback` says.
    pub(super) async fn unknown_groups(&self, tenant: &Tenant, named: &[Mention]) -> Result<Vec<Violation>> {
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let mut known: HashSet<String> = self.store.worker_groups().await?.into_iter().map(|seen| seen.name).collect();
        known.extend(self.store.worker_group_permissions(tenant).await?.into_iter().map(|said| said.group));
        known.extend(Workers::of(&self.store.instances().await?).groups().map(str::to_owned));
        let warning = |named: &Mention| Violation {
            severity: Severity::Warning,
            path: named.path.clone(),
            line: named.line,
            column: named.column,
            message: format!(
                "the worker group `{}` is unknown: no worker of it was ever seen; its tasks do what `fallback` says",
                named.name
            ),
            suggestion: None,
            unsupported: false,
        };
        Ok(named.iter().filter(|named| !known.contains(&named.name)).map(warning).collect())
    }
}
