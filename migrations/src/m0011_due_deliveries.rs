//! Finding what is due past the backlog of a merchant who may have no more for now.

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
        dialect::run(manager, INDEX).await
    }
}

/// In the order in which they are claimed; whose they are is read without the row.
const INDEX: &str = "
CREATE INDEX delivery_claim ON delivery (due_at, seq, merchant_id) WHERE state = 'pending';
";
