//! What makes a deposit safe: no less than its invoice asks for, more where much more arrived.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, COLUMNS).await
    }
}

/// As decided when the deposit was last applied; what was applied before this step is applied once more.
const COLUMNS: &str = "
ALTER TABLE deposit ADD COLUMN asked_confirmations BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deposit ADD COLUMN asked_finality BOOLEAN NOT NULL DEFAULT FALSE;
";
