//! Reading a simulated chain, as a node would be read: each answer is of one moment, as SQLite's read
//! transactions have it. Not here: changing it (`control`).

use std::collections::HashMap;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait, Value};

use super::schema::{BlockRow, ConsumedRow, PaymentRow, all};
use super::{SandboxChain, failed};
use crate::chain::{
    Block, BlockRef, ChainError, ChainReader, Consumption, Head, Mempool, Transfer, Watch,
};
use crate::domain::asset::Network;
use crate::domain::time::Micros;

impl BlockRow {
    /// The block as the trait has it.
    pub(super) fn read(self) -> Result<BlockRef, ChainError> {
        let height = u64::try_from(self.height)
            .map_err(|_| ChainError::Invalid("negative height".to_owned()))?;
        Ok(BlockRef { height, hash: self.hash, parent: self.parent, time: Micros(self.time) })
    }
}

/// What a block, or the mempool, holds.
struct Found {
    transfers: Vec<Transfer>,
    consumptions: Vec<Consumption>,
}

impl SandboxChain {
    /// The chain and its mempool as they are at the first read, whatever changes meanwhile. A payment
    /// that is read without what its transaction consumes would never be seen as replaced.
    async fn snapshot(&self) -> Result<DatabaseTransaction, ChainError> {
        self.sandbox.reader.begin().await.map_err(failed)
    }

    /// What the watch finds in the transactions in `state` at `height` (or at none).
    async fn find(
        &self,
        snapshot: &DatabaseTransaction,
        state: &str,
        height: Option<i64>,
        watch: Watch<'_>,
    ) -> Result<Found, ChainError> {
        let values: Vec<Value> =
            vec![self.network.as_str().into(), state.into(), height.unwrap_or(-1).into()];
        let place = "t.network = $1 AND t.state = $2 AND COALESCE(t.height, -1) = $3";
        let consumed: Vec<ConsumedRow> = all(
            snapshot,
            &format!(
                "SELECT c.outpoint, c.txid FROM tx t
                 JOIN consumed c ON c.network = t.network AND c.txid = t.txid
                 WHERE {place} ORDER BY t.n, c.outpoint"
            ),
            values.clone(),
        )
        .await?;
        // A failed transaction and a token of another contract pay nothing.
        let payments: Vec<PaymentRow> = all(
            snapshot,
            &format!(
                "SELECT p.txid, p.position, p.address_key, p.units FROM tx t
                 JOIN payment p ON p.network = t.network AND p.txid = t.txid
                 WHERE {place} AND t.succeeded = 1 AND p.own_asset = 1
                 ORDER BY t.n, p.position"
            ),
            values,
        )
        .await?;
        let mut by_tx: HashMap<&str, Vec<String>> = HashMap::new();
        for row in &consumed {
            by_tx.entry(&row.txid).or_default().push(row.outpoint.clone());
        }
        let mut transfers = Vec::new();
        for row in payments {
            let units: u128 = row
                .units
                .parse()
                .map_err(|_| ChainError::Invalid(format!("units {:?}", row.units)))?;
            if units == 0 || !watch.addresses.may_watch(&row.address_key) {
                continue;
            }
            let position = usize::try_from(row.position).unwrap_or(usize::MAX);
            transfers.push(Transfer {
                consumes: by_tx.get(row.txid.as_str()).cloned().unwrap_or_default(),
                txid: row.txid,
                ordinal: self.ordinal(position),
                address_key: row.address_key,
                asset: self.network.asset(),
                units,
            });
        }
        let consumptions = consumed
            .into_iter()
            .filter(|row| watch.consumed.contains(&row.outpoint))
            .map(|row| Consumption { key: row.outpoint, txid: row.txid })
            .collect();
        Ok(Found { transfers, consumptions })
    }

    async fn block_row<C: ConnectionTrait>(
        &self,
        db: &C,
        height: u64,
    ) -> Result<Option<BlockRow>, ChainError> {
        let Ok(height) = i64::try_from(height) else { return Ok(None) };
        let rows: Vec<BlockRow> = all(
            db,
            "SELECT height, hash, parent, time FROM block WHERE network = $1 AND height = $2",
            vec![self.network.as_str().into(), height.into()],
        )
        .await?;
        Ok(rows.into_iter().next())
    }
}

#[async_trait]
impl ChainReader for SandboxChain {
    fn network(&self) -> Network {
        self.network
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        let genesis = self.block_row(&self.sandbox.reader, 0).await?;
        let genesis = genesis.ok_or_else(|| ChainError::Invalid("no genesis block".to_owned()))?;
        Ok(genesis.hash)
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let rows: Vec<BlockRow> = all(
            &self.sandbox.reader,
            "SELECT height, hash, parent, time FROM block WHERE network = $1
             ORDER BY height DESC LIMIT 1",
            vec![self.network.as_str().into()],
        )
        .await?;
        let tip = rows.into_iter().next();
        let tip = tip.ok_or_else(|| ChainError::Invalid("no block".to_owned()))?.read()?;
        let finalized_height = self.finality_lag.map(|lag| tip.height.saturating_sub(lag));
        Ok(Head { tip, finalized_height })
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        self.block_row(&self.sandbox.reader, height).await?.map(BlockRow::read).transpose()
    }

    async fn block_at(&self, height: u64, watch: Watch<'_>) -> Result<Option<Block>, ChainError> {
        let snapshot = self.snapshot().await?;
        let Some(row) = self.block_row(&snapshot, height).await? else { return Ok(None) };
        let found = self.find(&snapshot, "included", Some(row.height), watch).await?;
        snapshot.commit().await.map_err(failed)?;
        Ok(Some(Block {
            reference: row.read()?,
            transfers: found.transfers,
            unexpected: Vec::new(),
            consumptions: found.consumptions,
            may_hide_payments: false,
        }))
    }

    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        let snapshot = self.snapshot().await?;
        let found = self.find(&snapshot, "waiting", None, watch).await?;
        snapshot.commit().await.map_err(failed)?;
        let Found { transfers, consumptions } = found;
        Ok(Some(Mempool { transfers, consumptions }))
    }
}
