//! Deposits by the thousand: those of no invoice are not looked at for what is to be decided, and what
//! waiting transactions consume is found by the transactions.

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
        dialect::run(manager, INDEXES).await
    }
}

/// `deposit_uncredited` has the columns of `deposit_depth`: SQLite takes the one with fewer rows only among
/// equals.
const INDEXES: &str = "
DROP INDEX deposit_dirty;
CREATE INDEX deposit_dirty ON deposit (network, invoice_id)
    WHERE version > applied_version AND invoice_id IS NOT NULL;
CREATE INDEX deposit_uncredited ON deposit (network, state, credited, block_height)
    WHERE invoice_id IS NOT NULL;
DROP INDEX deposit_input_txid;
CREATE INDEX deposit_input_txid ON deposit_input (txid, network, outpoint);
";
