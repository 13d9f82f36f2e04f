//! How the nodes of each network stand, and blocks that the operator wants read again. Only tables are
//! added: a program of the release before runs on them.

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
        for part in [ENDPOINT, RESCAN] {
            dialect::run(manager, part).await?;
        }
        Ok(())
    }
}

/// Written by the process that watches the network; `position` 0 is the preferred node. `since_at` is
/// system time in microseconds.
const ENDPOINT: &str = "
CREATE TABLE chain_endpoint (
    network TEXT NOT NULL,
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    is_serving BOOLEAN NOT NULL,
    height BIGINT,
    finalized_height BIGINT,
    since_at BIGINT NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (network, position)
);
";

/// `next_height` is the first block that was not read again yet. `state` is `waiting`, `done` or
/// `failed`. Moments are business time in microseconds.
const RESCAN: &str = "
CREATE TABLE chain_rescan (
    id {id} PRIMARY KEY,
    network TEXT NOT NULL,
    from_height BIGINT NOT NULL,
    to_height BIGINT NOT NULL,
    next_height BIGINT NOT NULL,
    deposits_changed BIGINT NOT NULL,
    state TEXT NOT NULL,
    error TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE UNIQUE INDEX chain_rescan_waiting ON chain_rescan (network, from_height, to_height)
    WHERE state = 'waiting';
CREATE INDEX chain_rescan_list ON chain_rescan (network, created_at);
";
