//! What a namespace passes down to its flows, and who holds the slots of flows that limit their executions.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for sql in [NAMESPACES, SLOTS] {
            dialect::run(manager, sql).await?;
        }
        Ok(())
    }
}

const NAMESPACES: &str = r#"
-- Namespaces of which something was said; others exist by what is in them.
CREATE TABLE namespaces (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    description TEXT,
    -- JSON object.
    variables TEXT NOT NULL,
    -- JSON list, as in a flow.
    plugin_defaults TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, namespace)
);
"#;

const SLOTS: &str = r#"
-- A row for each execution that holds a slot of its flow or waits for one: the owner of the flow's shard writes them.
CREATE TABLE flow_slots (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    execution {bytes} NOT NULL,
    -- Of the flow, not of the execution.
    shard SMALLINT NOT NULL,
    -- Else it waits.
    holds BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (tenant, namespace, flow_id, execution)
);
-- flow_slots: what an owner takes into memory with a shard.
CREATE INDEX flow_slots_by_shard ON flow_slots (shard);
"#;
