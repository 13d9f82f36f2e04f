//! Known coins that reached addresses that are not for them: seen by the scanner, settled by the operator.

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
        dialect::run(manager, TABLE).await
    }
}

/// `network` is the chain that it was seen on; the address may be another network's. Whoever settled it
/// stands in the operator's log.
const TABLE: &str = "
CREATE TABLE unexpected_deposit (
    id {id} NOT NULL PRIMARY KEY,
    network TEXT NOT NULL,
    txid TEXT NOT NULL,
    ordinal TEXT NOT NULL,
    address_id {id} NOT NULL REFERENCES address (id),
    coin TEXT NOT NULL,
    contract TEXT,
    amount {amount} NOT NULL {digits:amount},
    decimals BIGINT NOT NULL,
    block_height BIGINT,
    block_hash TEXT,
    state TEXT NOT NULL CHECK (state IN ('seen', 'orphaned', 'assigned', 'dismissed')),
    created_at BIGINT NOT NULL,
    assigned_merchant_id {id} REFERENCES merchant (id),
    assigned_invoice_id {id} REFERENCES invoice (id),
    settled_at BIGINT,
    note TEXT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (network, txid, ordinal),
    CHECK ((state = 'assigned') = (assigned_merchant_id IS NOT NULL))
);
CREATE INDEX unexpected_deposit_height ON unexpected_deposit (network, block_height);
CREATE INDEX unexpected_deposit_state ON unexpected_deposit (state, id);
CREATE INDEX unexpected_deposit_address ON unexpected_deposit (address_id);
";
