//! Who may call what: one table for every RPC.

use windhover_proto::admin::v1 as proto;

/// What a caller may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Viewer,
    Operator,
    Editor,
    Admin,
    PlatformAdmin,
}

impl Role {
    pub(crate) const ALL: &[Role] = &[Role::Viewer, Role::Operator, Role::Editor, Role::Admin, Role::PlatformAdmin];

    /// As it is stored and shown in errors.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Editor => "editor",
            Role::Admin => "admin",
            Role::PlatformAdmin => "platform_admin",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }

    pub(crate) const fn to_proto(self) -> proto::Role {
        match self {
            Role::Viewer => proto::Role::Viewer,
            Role::Operator => proto::Role::Operator,
            Role::Editor => proto::Role::Editor,
            Role::Admin => proto::Role::Admin,
            Role::PlatformAdmin => proto::Role::PlatformAdmin,
        }
    }

    pub(crate) const fn from_proto(role: proto::Role) -> Option<Self> {
        match role {
            proto::Role::Unspecified => None,
            proto::Role::Viewer => Some(Role::Viewer),
            proto::Role::Operator => Some(Role::Operator),
            proto::Role::Editor => Some(Role::Editor),
            proto::Role::Admin => Some(Role::Admin),
            proto::Role::PlatformAdmin => Some(Role::PlatformAdmin),
        }
    }
}

/// What an RPC asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Required {
    /// No credential: health and the description of the API.
    Nothing,
    /// At least this role in the tenant of the call.
    Role(Role),
}

use Required::{Nothing, Role as Needs};

/// (service, method, what it asks).
const TABLE: &[(&str, &str, Required)] = &[
    ("windhover.v1.FlowService", "ApplyFlow", Needs(Role::Editor)),
    ("windhover.v1.FlowService", "GetFlow", Needs(Role::Viewer)),
    ("windhover.v1.FlowService", "ListFlows", Needs(Role::Viewer)),
    ("windhover.v1.FlowService", "ListFlowRevisions", Needs(Role::Viewer)),
    ("windhover.v1.FlowService", "DeleteFlow", Needs(Role::Editor)),
    ("windhover.v1.FlowService", "ValidateFlow", Needs(Role::Viewer)),
    ("windhover.v1.FlowService", "GetFlowSchema", Needs(Role::Viewer)),
    ("windhover.v1.FlowService", "ListPlugins", Needs(Role::Viewer)),
    ("windhover.v1.FlowService", "GetPlugin", Needs(Role::Viewer)),
    ("windhover.v1.NamespaceService", "GetNamespace", Needs(Role::Viewer)),
    ("windhover.v1.NamespaceService", "ListNamespaces", Needs(Role::Viewer)),
    ("windhover.v1.NamespaceService", "UpdateNamespace", Needs(Role::Editor)),
    ("windhover.v1.NamespaceService", "GetDependencies", Needs(Role::Viewer)),
    ("windhover.v1.ExecutionService", "CreateExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "BatchCreateExecutions", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "GetExecution", Needs(Role::Viewer)),
    ("windhover.v1.ExecutionService", "ListExecutions", Needs(Role::Viewer)),
    ("windhover.v1.ExecutionService", "WaitExecution", Needs(Role::Viewer)),
    ("windhover.v1.ExecutionService", "FollowExecution", Needs(Role::Viewer)),
    ("windhover.v1.ExecutionService", "ListTaskRuns", Needs(Role::Viewer)),
    ("windhover.v1.ExecutionService", "KillExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "PauseExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "ResumeExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "RestartExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "ChangeTaskRunState", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "ChangeExecutionState", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "ForceRunExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "UnqueueExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "SetExecutionLabels", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "ReplayExecution", Needs(Role::Operator)),
    ("windhover.v1.ExecutionService", "DeleteExecution", Needs(Role::Operator)),
    ("windhover.v1.LogService", "ListLogs", Needs(Role::Viewer)),
    ("windhover.v1.SecretService", "PutSecret", Needs(Role::Editor)),
    ("windhover.v1.SecretService", "ListSecrets", Needs(Role::Viewer)),
    ("windhover.v1.SecretService", "DeleteSecret", Needs(Role::Editor)),
    ("windhover.v1.KeyValueService", "PutEntry", Needs(Role::Editor)),
    ("windhover.v1.KeyValueService", "GetEntry", Needs(Role::Viewer)),
    ("windhover.v1.KeyValueService", "ListEntries", Needs(Role::Viewer)),
    ("windhover.v1.KeyValueService", "DeleteEntry", Needs(Role::Editor)),
    // Files of namespaces need an editor: the method looks.
    ("windhover.v1.FileService", "UploadFile", Needs(Role::Operator)),
    ("windhover.v1.FileService", "DownloadFile", Needs(Role::Viewer)),
    ("windhover.v1.FileService", "ListFiles", Needs(Role::Viewer)),
    ("windhover.v1.FileService", "DeleteFile", Needs(Role::Editor)),
    ("windhover.v1.TriggerService", "ListTriggers", Needs(Role::Viewer)),
    ("windhover.v1.TriggerService", "GetTrigger", Needs(Role::Viewer)),
    ("windhover.v1.TriggerService", "SetTriggerDisabled", Needs(Role::Operator)),
    ("windhover.v1.TriggerService", "UnlockTrigger", Needs(Role::Operator)),
    ("windhover.v1.TriggerService", "ListTriggerDates", Needs(Role::Viewer)),
    ("windhover.v1.TriggerService", "CreateBackfill", Needs(Role::Operator)),
    ("windhover.v1.TriggerService", "PauseBackfill", Needs(Role::Operator)),
    ("windhover.v1.TriggerService", "ResumeBackfill", Needs(Role::Operator)),
    ("windhover.v1.TriggerService", "DeleteBackfill", Needs(Role::Operator)),
    ("windhover.admin.v1.TenantService", "CreateTenant", Needs(Role::PlatformAdmin)),
    // Of another tenant than the caller's only for platform administrators: the method looks.
    ("windhover.admin.v1.TenantService", "GetTenant", Needs(Role::Viewer)),
    ("windhover.admin.v1.TenantService", "ListTenants", Needs(Role::PlatformAdmin)),
    // No role above the caller's own: the method looks.
    ("windhover.admin.v1.AccessService", "CreateToken", Needs(Role::Admin)),
    ("windhover.admin.v1.AccessService", "ListTokens", Needs(Role::Admin)),
    ("windhover.admin.v1.AccessService", "RevokeToken", Needs(Role::Admin)),
    ("windhover.admin.v1.AccessService", "WhoAmI", Needs(Role::Viewer)),
    ("windhover.admin.v1.ClusterService", "ListInstances", Needs(Role::PlatformAdmin)),
    ("windhover.admin.v1.ClusterService", "DrainInstance", Needs(Role::PlatformAdmin)),
    ("windhover.admin.v1.ClusterService", "ListShards", Needs(Role::PlatformAdmin)),
    ("windhover.admin.v1.ClusterService", "MoveShard", Needs(Role::PlatformAdmin)),
    ("windhover.admin.v1.ClusterService", "ListQueues", Needs(Role::PlatformAdmin)),
    ("windhover.admin.v1.ClusterService", "ListWorkerGroups", Needs(Role::PlatformAdmin)),
    ("windhover.admin.v1.ClusterService", "SetWorkerGroupPermission", Needs(Role::PlatformAdmin)),
    ("grpc.health.v1.Health", "Check", Nothing),
    ("grpc.health.v1.Health", "List", Nothing),
    ("grpc.health.v1.Health", "Watch", Nothing),
    ("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", Nothing),
    ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", Nothing),
];

/// What the RPC at this path (`/package.Service/Method`) asks; `None`: there is no such RPC.
pub(crate) fn required(path: &str) -> Option<Required> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    TABLE.iter().find(|row| row.0 == service && row.1 == method).map(|row| row.2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_rpc_has_exactly_one_entry_and_every_entry_an_rpc() {
        let files = FileDescriptorSet::decode(windhover_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut rpcs = BTreeSet::new();
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    rpcs.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        assert!(rpcs.len() >= 20);
        for rpc in &rpcs {
            assert!(matches!(required(rpc), Some(Needs(_))), "{rpc} has no entry in the table of permissions");
        }
        let entries: Vec<_> = TABLE
            .iter()
            .filter(|row| row.0.starts_with("windhover"))
            .map(|row| format!("/{}/{}", row.0, row.1))
            .collect();
        let once: BTreeSet<_> = entries.iter().cloned().collect();
        assert_eq!(once.len(), entries.len(), "an entry stands twice");
        assert_eq!(once, rpcs);
    }

    #[test]
    fn the_comments_of_the_api_name_the_same_roles() {
        let sources = [
            include_str!("../../../../proto/windhover/v1/flow.proto"),
            include_str!("../../../../proto/windhover/v1/execution.proto"),
            include_str!("../../../../proto/windhover/v1/log.proto"),
            include_str!("../../../../proto/windhover/v1/secret.proto"),
            include_str!("../../../../proto/windhover/v1/trigger.proto"),
            include_str!("../../../../proto/windhover/v1/kv.proto"),
            include_str!("../../../../proto/windhover/v1/namespace.proto"),
            include_str!("../../../../proto/windhover/admin/v1/tenant.proto"),
            include_str!("../../../../proto/windhover/admin/v1/access.proto"),
            include_str!("../../../../proto/windhover/admin/v1/cluster.proto"),
        ];
        let mut seen = 0;
        for source in sources {
            let mut role = "";
            for line in source.lines().map(str::trim) {
                if let Some(text) = line.strip_prefix("// Role: ") {
                    role = text;
                }
                let Some(rpc) = line.strip_prefix("rpc ") else { continue };
                let method = rpc.split('(').next().unwrap_or_default();
                let row = TABLE.iter().find(|row| row.1 == method).unwrap();
                let expected = match row.2 {
                    Needs(Role::Viewer) => ["viewer", "any"].as_slice(),
                    Needs(Role::Operator) => &["operator"],
                    Needs(Role::Editor) => &["editor"],
                    Needs(Role::Admin) => &["admin"],
                    Needs(Role::PlatformAdmin) => &["platform administrator"],
                    Nothing => &[],
                };
                assert!(
                    expected.iter().any(|word| role.starts_with(word)),
                    "{method}: table {:?}, comment `{role}`",
                    row.2
                );
                seen += 1;
            }
        }
        assert!(seen >= 20);
    }

    #[test]
    fn roles_are_ordered_and_keep_their_names() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL.iter().copied() {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(Role::from_proto(role.to_proto()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn paths_that_are_no_rpc_have_no_entry() {
        for path in
            ["", "/", "/windhover.v1.FlowService", "/windhover.v1.FlowService/Drop", "windhover.v1.FlowService/GetFlow"]
        {
            assert_eq!(required(path), None, "{path}");
        }
    }
}
