//! What a merchant allows to be missing from a full payment. Late payments have their column already.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        // Cut half way it would leave behind what the next try meets.
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, SHORTFALL).await
    }
}

const SHORTFALL: &str = "
ALTER TABLE merchant ADD COLUMN shortfall_basis_points BIGINT NOT NULL DEFAULT 0
    CHECK (shortfall_basis_points BETWEEN 0 AND 1000);
";
