//! What flows keep between their executions: values by key.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, KEY_VALUES).await
    }
}

const KEY_VALUES: &str = r#"
CREATE TABLE kv_entries (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    key {key} NOT NULL,
    -- JSON.
    value TEXT NOT NULL,
    -- STRING, NUMBER, BOOLEAN, DATETIME, DATE, DURATION, JSON: how its writer meant it.
    kind TEXT NOT NULL,
    description TEXT,
    version INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (tenant, namespace, key)
);
-- purge_expired_kv.
CREATE INDEX kv_entries_expiry ON kv_entries (expires_at) WHERE expires_at IS NOT NULL;
"#;
