//! Tables of executions, flows, tenants and of the cluster.
//!
//! Ids are 16 bytes that begin with a time, times are microseconds since 1970 as integers, whatever has a shape is
//! compact JSON text with the number of its format beside it. `executions` and `logs` are plain tables: both have the
//! time in front of the second part of their key, so partitioning them by range of the id later is `ATTACH PARTITION`
//! of what is there, without new columns or keys.
//!
//! Indexes exist only for a query that is named beside them, and none holds a column that every step changes:
//! Postgres then updates rows in place (HOT), for which `{hot}` leaves room.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for sql in [EXECUTIONS, WORK, TRANSPORT, FLOWS, TENANTS, CLUSTER] {
            dialect::run(manager, sql).await?;
        }
        Ok(())
    }
}

const EXECUTIONS: &str = r#"
CREATE TABLE executions (
    tenant {key} NOT NULL,
    id {bytes} NOT NULL,
    shard SMALLINT NOT NULL,
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    flow_revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    -- Changes only when the execution ends, is parked, or is taken up again.
    open BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    labels TEXT NOT NULL,
    inputs TEXT NOT NULL,
    outputs TEXT,
    variables TEXT,
    -- What never changes: trigger, parent, original id, schedule time, trace.
    origin TEXT NOT NULL,
    trigger_id TEXT,
    -- trigger.variables.executionId, when it is one.
    cause {bytes},
    parent {bytes},
    history TEXT NOT NULL,
    -- What steps change besides: counters, error, wish to kill.
    progress TEXT NOT NULL,
    -- Why the execution was taken out of the sweeps; only an operator takes it up again.
    parked TEXT,
    format SMALLINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
) {hot};
-- list_executions of a flow or namespace, newest first.
CREATE INDEX executions_by_flow ON executions (tenant, namespace, flow_id, id);
-- open_executions: the sweep, oldest first; one owner usually has most shards. An execution that is created and ended in one commit is never in it.
CREATE INDEX executions_open ON executions (id, shard) WHERE open;
-- list_executions by cause: what an execution has triggered.
CREATE INDEX executions_by_cause ON executions (tenant, cause, id) WHERE cause IS NOT NULL;
-- list_executions by parent: the subflows of an execution, also when it is killed.
CREATE INDEX executions_by_parent ON executions (tenant, parent, id) WHERE parent IS NOT NULL;

CREATE TABLE task_runs (
    tenant {key} NOT NULL,
    execution {bytes} NOT NULL,
    -- Order of creation, so that pages need no index of their own; as unique as the id.
    seq INTEGER NOT NULL,
    id {bytes} NOT NULL,
    task_id TEXT NOT NULL,
    parent_id {bytes},
    -- Iteration, value and the values of the loops around.
    place TEXT,
    state TEXT NOT NULL,
    open BOOLEAN NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    history TEXT NOT NULL,
    attempts TEXT NOT NULL,
    outputs TEXT,
    frame TEXT,
    opened TEXT,
    dispatch INTEGER NOT NULL,
    child_execution {bytes},
    format SMALLINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, execution, seq)
) {hot};
-- load_runs: what is open, whatever has ended. A task run that begins and ends in one commit is never in it.
CREATE INDEX task_runs_open ON task_runs (tenant, execution, seq) WHERE open;

CREATE TABLE logs (
    tenant {key} NOT NULL,
    execution {bytes} NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    level SMALLINT NOT NULL,
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    task_id TEXT,
    task_run {bytes},
    attempt INTEGER,
    message TEXT NOT NULL,
    PRIMARY KEY (tenant, execution, position)
);
-- list_logs over executions, newest first.
CREATE INDEX logs_by_time ON logs (tenant, at);

CREATE TABLE task_metrics (
    id {serial},
    tenant {key} NOT NULL,
    execution {bytes} NOT NULL,
    task_run {bytes} NOT NULL,
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    task_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind SMALLINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    tags TEXT NOT NULL,
    at BIGINT NOT NULL
);
-- list_task_metrics of an execution.
CREATE INDEX task_metrics_by_execution ON task_metrics (tenant, execution, id);
"#;

const WORK: &str = r#"
CREATE TABLE timers (
    tenant {key} NOT NULL,
    execution {bytes} NOT NULL,
    -- The timer itself, as JSON: its text is its identity.
    timer TEXT NOT NULL,
    shard SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (tenant, execution, timer)
);
-- due_timers, next_timer: the time first, since one owner usually has most shards.
CREATE INDEX timers_due ON timers (at, shard);

CREATE TABLE jobs (
    tenant {key} NOT NULL,
    execution {bytes} NOT NULL,
    task_run {bytes} NOT NULL,
    dispatch INTEGER NOT NULL,
    shard SMALLINT NOT NULL,
    worker_group TEXT,
    deadline BIGINT NOT NULL,
    losses INTEGER NOT NULL,
    PRIMARY KEY (tenant, execution, task_run, dispatch)
);
-- expired_jobs; jobs of a shard at start.
CREATE INDEX jobs_due ON jobs (deadline, shard);
"#;

const TRANSPORT: &str = r#"
CREATE TABLE inbox (
    -- Orders cause before effect; never a cursor.
    seq {serial},
    tenant {key} NOT NULL,
    id {bytes} NOT NULL,
    shard SMALLINT NOT NULL,
    execution {bytes} NOT NULL,
    message TEXT NOT NULL,
    format SMALLINT NOT NULL,
    UNIQUE (tenant, id)
);
-- inbox: what waits for these shards, oldest first.
CREATE INDEX inbox_order ON inbox (seq, shard);

CREATE TABLE feed (
    shard SMALLINT NOT NULL,
    seq BIGINT NOT NULL,
    tenant {key} NOT NULL,
    at BIGINT NOT NULL,
    entries TEXT NOT NULL,
    format SMALLINT NOT NULL,
    PRIMARY KEY (shard, seq, tenant)
);

CREATE TABLE request_ids (
    tenant {key} NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    content {bytes} NOT NULL,
    result TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, method, request_id)
);
-- purge_request_ids.
CREATE INDEX request_ids_expiry ON request_ids (expires_at);
"#;

const FLOWS: &str = r#"
CREATE TABLE flows (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    id {key} NOT NULL,
    revision INTEGER NOT NULL,
    deleted BOOLEAN NOT NULL,
    source TEXT NOT NULL,
    -- SHA-256 of the source without its `revision:` line: what two saves are compared by.
    hash {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, namespace, id, revision)
);
"#;

const TENANTS: &str = r#"
CREATE TABLE tenants (
    tenant {key} NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    -- Raised by every change of a flow.
    flow_version BIGINT NOT NULL
);

CREATE TABLE data_keys (
    tenant {key} NOT NULL,
    id INTEGER NOT NULL,
    wrapped {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE secrets (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    -- The name in lower case: secrets are found without regard to case.
    folded {key} NOT NULL,
    name TEXT NOT NULL,
    ciphertext {bytes} NOT NULL,
    version INTEGER NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, namespace, folded)
);

CREATE TABLE service_accounts (
    tenant {key} NOT NULL,
    id {bytes} NOT NULL,
    name {key} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
);

CREATE TABLE api_tokens (
    tenant {key} NOT NULL,
    id {bytes} NOT NULL,
    account {bytes} NOT NULL,
    role TEXT NOT NULL,
    hash {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    PRIMARY KEY (tenant, id)
);
-- find_token: the tenant is what the token tells.
CREATE UNIQUE INDEX api_tokens_by_hash ON api_tokens (hash);

CREATE TABLE audit_events (
    tenant {key} NOT NULL,
    id {bytes} NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
"#;

const CLUSTER: &str = r#"
CREATE TABLE installation (
    id SMALLINT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    shards INTEGER NOT NULL,
    -- Something encrypted with the master key, which tells a wrong one at start.
    key_check {bytes}
);

CREATE TABLE service_instances (
    id {bytes} NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    application_name TEXT NOT NULL,
    host TEXT NOT NULL,
    -- Tolerates no other instance that owns shards.
    exclusive BOOLEAN NOT NULL,
    started_at BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL
) {hot};

CREATE TABLE shards (
    shard SMALLINT NOT NULL PRIMARY KEY,
    owner {bytes},
    last_seq BIGINT NOT NULL
) {hot};
"#;
