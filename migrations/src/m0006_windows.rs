//! Windows of Flow triggers: what has held so far, and what waits to be taken in.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, WINDOWS).await
    }
}

const WINDOWS: &str = r#"
-- Changes of state that fulfil conditions of a window, until it has taken them.
CREATE TABLE trigger_offers (
    tenant {key} NOT NULL,
    -- That of the execution that it may start.
    id {bytes} NOT NULL,
    -- The trigger that listens.
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    trigger_id {key} NOT NULL,
    -- The execution whose change it is.
    upstream {bytes} NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    format SMALLINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
-- window_offers.
CREATE INDEX trigger_offers_order ON trigger_offers (at, id);

CREATE TABLE trigger_windows (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    trigger_id {key} NOT NULL,
    -- Id of the preconditions.
    window_id {key} NOT NULL,
    ends_at BIGINT NOT NULL,
    -- What has held so far, as JSON.
    body TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, namespace, flow_id, trigger_id, window_id)
);
-- purge_windows.
CREATE INDEX trigger_windows_end ON trigger_windows (ends_at);
"#;
