//! SeaORM's view of the tables; nobody outside of this crate sees it.

// SeaORM's derive makes everything `pub`; the module is private to the crate.
#![allow(unreachable_pub)]

macro_rules! entity {
    ($module:ident, $table:literal, { $($(#[$attribute:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        pub(crate) mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                $($(#[$attribute])* pub $field: $type),+
            }

            /// The columns, for statements that are written by hand: what `*` stands for changes with a migration,
            /// and a statement that was prepared before fails then.
            #[allow(dead_code, reason = "not of every table")]
            pub(crate) fn columns() -> String {
                let quoted = |field: &str| format!("\"{}\".\"{}\"", $table, field.trim_start_matches("r#"));
                [$(stringify!($field)),+].map(quoted).join(", ")
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

entity!(executions, "executions", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    id: Vec<u8>,
    shard: i16,
    namespace: String,
    flow_id: String,
    flow_revision: i32,
    state: String,
    open: bool,
    created_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    labels: String,
    inputs: String,
    outputs: Option<String>,
    variables: Option<String>,
    origin: String,
    trigger_id: Option<String>,
    cause: Option<Vec<u8>>,
    parent: Option<Vec<u8>>,
    history: String,
    progress: String,
    parked: Option<String>,
    format: i16,
    version: i64,
});

entity!(task_runs, "task_runs", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    execution: Vec<u8>,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i32,
    id: Vec<u8>,
    task_id: String,
    parent_id: Option<Vec<u8>>,
    place: Option<String>,
    state: String,
    open: bool,
    started_at: i64,
    ended_at: Option<i64>,
    history: String,
    attempts: String,
    outputs: Option<String>,
    frame: Option<String>,
    opened: Option<String>,
    dispatch: i32,
    child_execution: Option<Vec<u8>>,
    format: i16,
    version: i64,
});

entity!(logs, "logs", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    execution: Vec<u8>,
    #[sea_orm(primary_key, auto_increment = false)]
    position: i64,
    at: i64,
    level: i16,
    namespace: String,
    flow_id: String,
    task_id: Option<String>,
    task_run: Option<Vec<u8>>,
    attempt: Option<i32>,
    message: String,
});

entity!(task_metrics, "task_metrics", {
    #[sea_orm(primary_key)]
    id: i64,
    tenant: String,
    execution: Vec<u8>,
    task_run: Vec<u8>,
    namespace: String,
    flow_id: String,
    task_id: String,
    name: String,
    kind: i16,
    value: f64,
    tags: String,
    at: i64,
});

entity!(timers, "timers", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    execution: Vec<u8>,
    #[sea_orm(primary_key, auto_increment = false)]
    timer: String,
    shard: i16,
    at: i64,
});

entity!(jobs, "jobs", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    execution: Vec<u8>,
    #[sea_orm(primary_key, auto_increment = false)]
    task_run: Vec<u8>,
    #[sea_orm(primary_key, auto_increment = false)]
    dispatch: i32,
    shard: i16,
    worker_group: Option<String>,
    deadline: i64,
    losses: i32,
    worker: Option<String>,
    lines: i32,
});

entity!(inbox, "inbox", {
    #[sea_orm(primary_key)]
    seq: i64,
    tenant: String,
    id: Vec<u8>,
    shard: i16,
    execution: Vec<u8>,
    message: String,
    format: i16,
    sent_at: i64,
});

entity!(feed, "feed", {
    #[sea_orm(primary_key, auto_increment = false)]
    shard: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    at: i64,
    entries: String,
    format: i16,
});

entity!(request_ids, "request_ids", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    method: String,
    #[sea_orm(primary_key, auto_increment = false)]
    request_id: String,
    content: Vec<u8>,
    result: String,
    expires_at: i64,
});

entity!(flows, "flows", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    namespace: String,
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    revision: i32,
    deleted: bool,
    source: String,
    hash: Vec<u8>,
    created_at: i64,
});

entity!(tenants, "tenants", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    created_at: i64,
    flow_version: i64,
});

entity!(data_keys, "data_keys", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    id: i32,
    wrapped: Vec<u8>,
    created_at: i64,
});

entity!(secrets, "secrets", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    namespace: String,
    #[sea_orm(primary_key, auto_increment = false)]
    folded: String,
    name: String,
    ciphertext: Vec<u8>,
    version: i32,
    updated_at: i64,
});

entity!(service_accounts, "service_accounts", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    id: Vec<u8>,
    name: String,
    created_at: i64,
});

entity!(api_tokens, "api_tokens", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    id: Vec<u8>,
    account: Vec<u8>,
    role: String,
    hash: Vec<u8>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
});

entity!(audit_events, "audit_events", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    id: Vec<u8>,
    at: i64,
    actor: String,
    action: String,
    resource: String,
    detail: String,
});

entity!(installation, "installation", {
    #[sea_orm(primary_key, auto_increment = false)]
    id: i16,
    created_at: i64,
    shards: i32,
    key_check: Option<Vec<u8>>,
});

entity!(service_instances, "service_instances", {
    #[sea_orm(primary_key, auto_increment = false)]
    id: Vec<u8>,
    epoch: i64,
    application_name: String,
    host: String,
    exclusive: bool,
    started_at: i64,
    heartbeat_at: i64,
    kind: String,
    state: String,
    events: String,
    server_id: Option<Vec<u8>>,
    server_type: String,
    version: String,
    config: String,
    props: String,
    metrics: String,
    seq_id: i64,
    draining: bool,
    updated_at: i64,
});

entity!(shards, "shards", {
    #[sea_orm(primary_key, auto_increment = false)]
    shard: i16,
    owner: Option<Vec<u8>>,
    last_seq: i64,
    wanted: Option<Vec<u8>>,
});

entity!(triggers, "triggers", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    namespace: String,
    #[sea_orm(primary_key, auto_increment = false)]
    flow_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    trigger_id: String,
    flow_revision: i32,
    r#type: String,
    definition: Vec<u8>,
    enabled: bool,
    disabled: bool,
    next_at: Option<i64>,
    last_at: Option<i64>,
    execution: Option<Vec<u8>>,
    locked_at: Option<i64>,
    last_execution: Option<Vec<u8>>,
    evaluating_at: Option<i64>,
    worker: Option<String>,
    backfill: Option<String>,
    message: Option<String>,
    updated_at: i64,
    version: i64,
});

entity!(worker_groups, "worker_groups", {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
    first_seen_at: i64,
    last_seen_at: i64,
});

entity!(worker_group_permissions, "worker_group_permissions", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    worker_group: String,
    allowed: bool,
    updated_at: i64,
});

entity!(kv_entries, "kv_entries", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    namespace: String,
    #[sea_orm(primary_key, auto_increment = false)]
    key: String,
    value: String,
    kind: String,
    description: Option<String>,
    version: i32,
    created_at: i64,
    updated_at: i64,
    expires_at: Option<i64>,
});

entity!(namespaces, "namespaces", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    namespace: String,
    description: Option<String>,
    variables: String,
    plugin_defaults: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
});

entity!(flow_slots, "flow_slots", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    namespace: String,
    #[sea_orm(primary_key, auto_increment = false)]
    flow_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    execution: Vec<u8>,
    shard: i16,
    holds: bool,
    since: i64,
});

entity!(file_removals, "file_removals", {
    #[sea_orm(primary_key, auto_increment = false)]
    tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    execution: Vec<u8>,
    namespace: String,
    flow_id: String,
    at: i64,
    outputs_only: bool,
});
