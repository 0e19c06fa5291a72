//! Outputs that are too large for rows lie in internal storage: they go with their execution, also where its files stay.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, OUTPUTS_ONLY).await
    }
}

const OUTPUTS_ONLY: &str = r#"
ALTER TABLE file_removals ADD COLUMN outputs_only BOOLEAN NOT NULL DEFAULT false;
"#;
