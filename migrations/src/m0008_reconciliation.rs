//! How far balances were reconciled on networks whose nodes do not tell every payment: which block may
//! hide one, up to where that was made up for, and where a delta was booked.

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

/// `hidden_height` is the newest scanned block that may hide payments; `reconciled_at`, business time in
/// microseconds, is there while such a block waits for a reconciliation. `pass_height` is the block at
/// which the last pass over all addresses began, `pass_index` how far it is while it is under way.
/// `delta_height` is the newest block at which a delta was booked.
const COLUMNS: &str = "
ALTER TABLE chain_cursor ADD COLUMN hidden_height BIGINT;
ALTER TABLE chain_cursor ADD COLUMN reconciled_height BIGINT;
ALTER TABLE chain_cursor ADD COLUMN reconciled_at BIGINT;
ALTER TABLE chain_cursor ADD COLUMN pass_height BIGINT;
ALTER TABLE chain_cursor ADD COLUMN pass_index BIGINT;
ALTER TABLE chain_cursor ADD COLUMN delta_height BIGINT;
";
