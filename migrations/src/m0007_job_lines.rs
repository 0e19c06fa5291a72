//! How many log lines of a running attempt are stored, so that whoever comes to own its shard takes none twice.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, LINES).await
    }
}

const LINES: &str = r#"
ALTER TABLE jobs ADD COLUMN lines INTEGER NOT NULL DEFAULT 0;
"#;
