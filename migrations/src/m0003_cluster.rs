//! Many processes on one database: services with their states, shards that are wanted elsewhere, triggers that several
//! schedulers share, worker groups, jobs with their holders.
//!
//! Additive: what a server of the version before writes gets defaults, so that both can run side by side during a
//! rolling upgrade.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for sql in [SERVICES, WORK, TRIGGERS, WORKER_GROUPS] {
            dialect::run(manager, sql).await?;
        }
        Ok(())
    }
}

const SERVICES: &str = r#"
-- EXECUTOR, INDEXER, SCHEDULER, WEBSERVER or WORKER. Only executors own shards.
ALTER TABLE service_instances ADD COLUMN kind TEXT NOT NULL DEFAULT 'EXECUTOR';
ALTER TABLE service_instances ADD COLUMN state TEXT NOT NULL DEFAULT 'RUNNING';
-- The latest changes of the state.
ALTER TABLE service_instances ADD COLUMN events TEXT NOT NULL DEFAULT '[]';
-- The process: services of one process share it.
ALTER TABLE service_instances ADD COLUMN server_id {bytes};
ALTER TABLE service_instances ADD COLUMN server_type TEXT NOT NULL DEFAULT 'STANDALONE';
ALTER TABLE service_instances ADD COLUMN version TEXT NOT NULL DEFAULT '';
-- Periods and strategies by which others judge it, as JSON; empty: the defaults.
ALTER TABLE service_instances ADD COLUMN config TEXT NOT NULL DEFAULT '{}';
ALTER TABLE service_instances ADD COLUMN props TEXT NOT NULL DEFAULT '{}';
ALTER TABLE service_instances ADD COLUMN metrics TEXT NOT NULL DEFAULT '[]';
-- Grows with each change of the state or of what the service tells: two who change it at once find out.
ALTER TABLE service_instances ADD COLUMN seq_id BIGINT NOT NULL DEFAULT 0;
-- An operator wants it to own no shards.
ALTER TABLE service_instances ADD COLUMN draining BOOLEAN NOT NULL DEFAULT false;
-- The last word of the service or about it; `heartbeat_at` is the lease of an executor on its shards.
ALTER TABLE service_instances ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE service_instances SET updated_at = heartbeat_at;

-- The instance that an operator wants the shard to have.
ALTER TABLE shards ADD COLUMN wanted {bytes};
"#;

const WORK: &str = r#"
-- Who was last known to hold the job.
ALTER TABLE jobs ADD COLUMN worker TEXT;

ALTER TABLE inbox ADD COLUMN sent_at BIGINT NOT NULL DEFAULT 0;
-- inbox_of: what waits for an execution that somebody was told to look at.
CREATE INDEX inbox_by_execution ON inbox (tenant, execution, seq);
"#;

const TRIGGERS: &str = r#"
CREATE TABLE triggers (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    trigger_id {key} NOT NULL,
    -- The revision of the flow that the row was last compared with.
    flow_revision INTEGER NOT NULL,
    type TEXT NOT NULL,
    -- Hash of the definition: another one resets the row.
    definition {bytes} NOT NULL,
    -- Neither the flow nor the trigger is disabled where they are defined.
    enabled BOOLEAN NOT NULL,
    -- Disabled at run time.
    disabled BOOLEAN NOT NULL,
    next_at BIGINT,
    last_at BIGINT,
    -- The execution that runs for it, which keeps it from the next one.
    execution {bytes},
    locked_at BIGINT,
    last_execution {bytes},
    -- Somebody evaluates it.
    evaluating_at BIGINT,
    worker TEXT,
    backfill TEXT,
    -- Why it failed last, or why it is disabled.
    message TEXT,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, namespace, flow_id, trigger_id)
) {hot};
-- due_triggers, next_trigger: of all tenants, earliest first. Its condition stands in these queries word for word.
CREATE INDEX triggers_due ON triggers (next_at)
    WHERE enabled AND NOT disabled AND execution IS NULL AND evaluating_at IS NULL;
-- ended_locks.
CREATE INDEX triggers_locked ON triggers (tenant, execution) WHERE execution IS NOT NULL;
"#;

const WORKER_GROUPS: &str = r#"
CREATE TABLE worker_groups (
    name {key} NOT NULL PRIMARY KEY,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL
) {hot};

CREATE TABLE worker_group_permissions (
    tenant {key} NOT NULL,
    worker_group {key} NOT NULL,
    allowed BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, worker_group)
);
"#;
