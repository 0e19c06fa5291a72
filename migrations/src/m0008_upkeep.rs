//! What is kept for a while and then purged: former versions of keys, files of executions that were deleted.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for sql in [VERSIONS, FILES] {
            dialect::run(manager, sql).await?;
        }
        Ok(())
    }
}

const VERSIONS: &str = r#"
-- Everything that was ever written under a key, the present value too, until it is purged; also of keys that were deleted.
CREATE TABLE kv_versions (
    tenant {key} NOT NULL,
    namespace {key} NOT NULL,
    key {key} NOT NULL,
    version INTEGER NOT NULL,
    value TEXT NOT NULL,
    kind TEXT NOT NULL,
    description TEXT,
    written_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (tenant, namespace, key, version)
);
INSERT INTO kv_versions (tenant, namespace, key, version, value, kind, description, written_at, expires_at)
    SELECT tenant, namespace, key, version, value, kind, description, updated_at, expires_at FROM kv_entries;
"#;

const FILES: &str = r#"
-- Executions that are gone and whose files are to go too: written in the transaction that deletes them.
CREATE TABLE file_removals (
    tenant {key} NOT NULL,
    execution {bytes} NOT NULL,
    namespace {key} NOT NULL,
    flow_id {key} NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (tenant, execution)
);
-- file_removals: oldest first.
CREATE INDEX file_removals_order ON file_removals (at);
"#;
