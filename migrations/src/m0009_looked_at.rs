//! When a network's nodes were last read, whether or not what they gave was all there is by then.

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

/// Business time in microseconds; none before the first read after this step.
const COLUMN: &str = "
ALTER TABLE chain_cursor ADD COLUMN looked_at BIGINT;
";
