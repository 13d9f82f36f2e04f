//! When a chain's finality last advanced, so that one that stands still can be told.

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
        dialect::run(manager, COLUMN).await
    }
}

/// Business time in microseconds; none before the first advance.
const COLUMN: &str = "
ALTER TABLE chain_cursor ADD COLUMN finalized_at BIGINT;
";
