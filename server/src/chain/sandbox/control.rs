//! Driving a simulated chain: paying, replacing, evicting, mining, forking, broadcasting. Every call
//! is one transaction of the sandbox's own file, durable before it returns.

use std::collections::HashMap;

use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::schema::{BlockRow, ConsumedRow, TxRow, all, execute};
use super::{Form, SandboxChain, failed};
use crate::chain::{BlockRef, Broadcast, ChainError, ChainWriter, ForkFate, SandboxControl};

/// Blocks mined by one call.
const BLOCKS_MAX: u32 = 100_000;
/// Blocks replaced by one fork.
const FORK_BLOCKS_MAX: u32 = 1_000;
/// Payments of one transaction.
const PAYMENTS_MAX: usize = 10_000;

/// A transaction as `ChainWriter::broadcast` takes it: JSON of what it pays and what it consumes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxTransaction {
    /// `(address text, base units as decimal text)`.
    pub outputs: Vec<(String, String)>,
    /// Keys in the form of `Transfer::consumes`; at least one.
    pub consumes: Vec<String>,
}

/// What a payment is, beside whom and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    Failed,
    ForeignToken,
}

impl SandboxChain {
    /// A transaction that is included and fails: it must pay nobody.
    ///
    /// # Errors
    /// As [`SandboxControl::pay`].
    pub async fn pay_failed(&self, address: &str, units: u128) -> Result<String, ChainError> {
        self.send(&[(address.to_owned(), units)], Kind::Failed).await
    }

    /// A transfer of a token of another contract: it must not count.
    ///
    /// # Errors
    /// As [`SandboxControl::pay`].
    pub async fn pay_foreign_token(
        &self,
        address: &str,
        units: u128,
    ) -> Result<String, ChainError> {
        self.send(&[(address.to_owned(), units)], Kind::ForeignToken).await
    }

    async fn send(&self, outputs: &[(String, u128)], kind: Kind) -> Result<String, ChainError> {
        let unit = self.begin().await?;
        let txid = self.send_in(&unit, outputs, kind).await?;
        self.commit(unit).await?;
        Ok(txid)
    }

    pub(super) async fn send_in(
        &self,
        unit: &DatabaseTransaction,
        outputs: &[(String, u128)],
        kind: Kind,
    ) -> Result<String, ChainError> {
        let keyed = self.keyed(outputs)?;
        let consumes = vec![self.fresh_outpoint(unit).await?];
        let txid = self.fresh_txid(&keyed);
        self.insert(unit, &txid, &keyed, &consumes, kind).await?;
        Ok(txid)
    }

    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, ChainError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        self.sandbox.writer.begin_with_options(options).await.map_err(failed)
    }

    pub(super) async fn commit(&self, unit: DatabaseTransaction) -> Result<(), ChainError> {
        unit.commit().await.map_err(failed)?;
        self.changed.notify_one();
        Ok(())
    }

    fn keyed(&self, outputs: &[(String, u128)]) -> Result<Vec<(Vec<u8>, u128)>, ChainError> {
        if outputs.len() > PAYMENTS_MAX {
            return Err(ChainError::Invalid(format!("more than {PAYMENTS_MAX} payments")));
        }
        outputs.iter().map(|(text, units)| Ok((self.address_key(text)?, *units))).collect()
    }

    /// What a faucet with endless funds consumes next: an outpoint, or its next nonce.
    async fn fresh_outpoint(&self, unit: &DatabaseTransaction) -> Result<String, ChainError> {
        if self.form == Form::Outputs {
            return Ok(format!("u:{}:0", hex::encode(self.sandbox.env.random::<32>())));
        }
        let rows: Vec<TxRow> = all(
            unit,
            "SELECT txid, height, state FROM tx WHERE network = $1 ORDER BY n DESC LIMIT 1",
            vec![self.network.as_str().into()],
        )
        .await?;
        // The newest transaction's id makes the nonce fresh without a counter of its own.
        let last = rows.first().map_or("start", |row| row.txid.as_str());
        let nonce = hex::encode(&Sha256::digest(last.as_bytes())[..8]);
        Ok(format!("n:{}:{nonce}", hex::encode([0xfa; 20])))
    }

    fn fresh_txid(&self, keyed: &[(Vec<u8>, u128)]) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.network.as_str());
        hasher.update(self.sandbox.env.random::<32>());
        for (key, units) in keyed {
            hasher.update(key);
            hasher.update(units.to_be_bytes());
        }
        hex::encode(hasher.finalize())
    }

    async fn insert(
        &self,
        unit: &DatabaseTransaction,
        txid: &str,
        keyed: &[(Vec<u8>, u128)],
        consumes: &[String],
        kind: Kind,
    ) -> Result<(), ChainError> {
        let network = self.network.as_str();
        execute(
            unit,
            "INSERT INTO tx (network, txid, state, height, succeeded)
             VALUES ($1, $2, 'waiting', NULL, $3)",
            vec![network.into(), txid.into(), (kind != Kind::Failed).into()],
        )
        .await?;
        for (position, (key, units)) in (0_i64..).zip(keyed) {
            execute(
                unit,
                "INSERT INTO payment (network, txid, position, address_key, units, own_asset)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                vec![
                    network.into(),
                    txid.into(),
                    position.into(),
                    key.clone().into(),
                    units.to_string().into(),
                    (kind != Kind::ForeignToken).into(),
                ],
            )
            .await?;
        }
        for outpoint in consumes {
            execute(
                unit,
                "INSERT INTO consumed (network, outpoint, txid) VALUES ($1, $2, $3)",
                vec![network.into(), outpoint.clone().into(), txid.into()],
            )
            .await?;
        }
        Ok(())
    }

    async fn tx(
        &self,
        unit: &DatabaseTransaction,
        txid: &str,
        state: &str,
    ) -> Result<TxRow, ChainError> {
        let row = self.known_tx(unit, txid).await?;
        if row.state == state {
            Ok(row)
        } else {
            Err(ChainError::Invalid(format!("transaction {txid} is {}, not {state}", row.state)))
        }
    }

    pub(super) async fn known_tx(
        &self,
        unit: &DatabaseTransaction,
        txid: &str,
    ) -> Result<TxRow, ChainError> {
        let rows: Vec<TxRow> = all(
            unit,
            "SELECT txid, height, state FROM tx WHERE network = $1 AND txid = $2",
            vec![self.network.as_str().into(), txid.into()],
        )
        .await?;
        let row = rows.into_iter().next();
        row.ok_or_else(|| ChainError::Invalid(format!("no transaction {txid}")))
    }

    pub(super) async fn set_state(
        &self,
        unit: &DatabaseTransaction,
        txid: &str,
        state: &str,
        height: Option<i64>,
    ) -> Result<(), ChainError> {
        execute(
            unit,
            "UPDATE tx SET state = $3, height = $4 WHERE network = $1 AND txid = $2",
            vec![self.network.as_str().into(), txid.into(), state.into(), height.into()],
        )
        .await?;
        Ok(())
    }

    /// A transaction that consumes what `txid` consumes and takes its place.
    pub(super) async fn conflict(
        &self,
        unit: &DatabaseTransaction,
        txid: &str,
        keyed: &[(Vec<u8>, u128)],
    ) -> Result<String, ChainError> {
        let rows: Vec<ConsumedRow> = all(
            unit,
            "SELECT outpoint, txid FROM consumed WHERE network = $1 AND txid = $2",
            vec![self.network.as_str().into(), txid.into()],
        )
        .await?;
        let consumes: Vec<String> = rows.into_iter().map(|row| row.outpoint).collect();
        let other = self.fresh_txid(keyed);
        self.insert(unit, &other, keyed, &consumes, Kind::Good).await?;
        self.set_state(unit, txid, "gone", None).await?;
        Ok(other)
    }

    /// The genesis block: its hash has random bytes in it, so that every file is a chain of its own.
    pub(super) async fn ensure_genesis(&self) -> Result<(), ChainError> {
        let unit = self.begin().await?;
        if self.newest(&unit).await?.is_none() {
            self.append_block(&unit, None).await?;
        }
        unit.commit().await.map_err(failed)
    }

    pub(super) async fn tip(&self, unit: &DatabaseTransaction) -> Result<BlockRow, ChainError> {
        let newest = self.newest(unit).await?;
        newest.ok_or_else(|| ChainError::Invalid("no genesis block".to_owned()))
    }

    async fn newest(&self, unit: &DatabaseTransaction) -> Result<Option<BlockRow>, ChainError> {
        let rows: Vec<BlockRow> = all(
            unit,
            "SELECT height, hash, parent, time FROM block WHERE network = $1
             ORDER BY height DESC LIMIT 1",
            vec![self.network.as_str().into()],
        )
        .await?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn mine_in(
        &self,
        unit: &DatabaseTransaction,
        blocks: u32,
    ) -> Result<BlockRow, ChainError> {
        if blocks == 0 || blocks > BLOCKS_MAX {
            return Err(ChainError::Invalid(format!("blocks must be from 1 to {BLOCKS_MAX}")));
        }
        let mut tip = self.tip(unit).await?;
        execute(
            unit,
            "UPDATE tx SET state = 'included', height = $2
             WHERE network = $1 AND state = 'waiting'",
            vec![self.network.as_str().into(), (tip.height + 1).into()],
        )
        .await?;
        for _ in 0..blocks {
            tip = self.append_block(unit, Some(&tip)).await?;
        }
        Ok(tip)
    }

    pub(super) async fn fork_in(
        &self,
        unit: &DatabaseTransaction,
        depth: u32,
        fates: &[(String, ForkFate)],
    ) -> Result<BlockRow, ChainError> {
        let tip = self.tip(unit).await?;
        let root_height = tip.height - i64::from(depth);
        if depth == 0 || depth > FORK_BLOCKS_MAX || root_height < 0 {
            let most = tip.height.min(i64::from(FORK_BLOCKS_MAX));
            return Err(ChainError::Invalid(format!("depth must be from 1 to {most}")));
        }
        let fates: HashMap<&str, &ForkFate> =
            fates.iter().map(|(txid, fate)| (txid.as_str(), fate)).collect();
        for (txid, fate) in fates {
            let row = self.tx(unit, txid, "included").await?;
            let height = row.height.filter(|height| *height > root_height);
            let height = height.ok_or_else(|| {
                ChainError::Invalid(format!("transaction {txid} is below the fork"))
            })?;
            match fate {
                ForkFate::Keep => {}
                ForkFate::Unconfirm => self.set_state(unit, txid, "waiting", None).await?,
                ForkFate::DoubleSpend => {
                    let other = self.conflict(unit, txid, &[]).await?;
                    self.set_state(unit, &other, "included", Some(height)).await?;
                }
            }
        }
        execute(
            unit,
            "DELETE FROM block WHERE network = $1 AND height > $2",
            vec![self.network.as_str().into(), root_height.into()],
        )
        .await?;
        let mut tip = self.tip(unit).await?;
        for _ in 0..=depth {
            tip = self.append_block(unit, Some(&tip)).await?;
        }
        Ok(tip)
    }

    /// Adds a block after `parent`. Its time is never before its parent's.
    async fn append_block(
        &self,
        unit: &DatabaseTransaction,
        parent: Option<&BlockRow>,
    ) -> Result<BlockRow, ChainError> {
        let now = self.sandbox.env.now().0;
        let mut hasher = Sha256::new();
        hasher.update(self.network.as_str());
        hasher.update(parent.map_or("", |parent| parent.hash.as_str()));
        hasher.update(self.sandbox.env.random::<32>());
        let block = BlockRow {
            height: parent.map_or(0, |parent| parent.height + 1),
            hash: hex::encode(hasher.finalize()),
            parent: parent.map_or_else(|| "0".repeat(64), |parent| parent.hash.clone()),
            time: parent.map_or(now, |parent| now.max(parent.time)),
        };
        execute(
            unit,
            "INSERT INTO block (network, height, hash, parent, time) VALUES ($1, $2, $3, $4, $5)",
            vec![
                self.network.as_str().into(),
                block.height.into(),
                block.hash.clone().into(),
                block.parent.clone().into(),
                block.time.into(),
            ],
        )
        .await?;
        Ok(block)
    }
}

#[async_trait]
impl SandboxControl for SandboxChain {
    async fn pay(&self, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        self.send(outputs, Kind::Good).await
    }

    async fn replace(&self, txid: &str, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        let keyed = self.keyed(outputs)?;
        let unit = self.begin().await?;
        self.tx(&unit, txid, "waiting").await?;
        let other = self.conflict(&unit, txid, &keyed).await?;
        self.commit(unit).await?;
        Ok(other)
    }

    async fn evict(&self, txid: &str) -> Result<(), ChainError> {
        let unit = self.begin().await?;
        self.tx(&unit, txid, "waiting").await?;
        self.set_state(&unit, txid, "gone", None).await?;
        self.commit(unit).await
    }

    async fn mine(&self, blocks: u32) -> Result<BlockRef, ChainError> {
        let unit = self.begin().await?;
        let tip = self.mine_in(&unit, blocks).await?;
        self.commit(unit).await?;
        tip.read()
    }

    async fn fork(&self, depth: u32, fates: &[(String, ForkFate)]) -> Result<BlockRef, ChainError> {
        let unit = self.begin().await?;
        let tip = self.fork_in(&unit, depth, fates).await?;
        self.commit(unit).await?;
        tip.read()
    }
}

#[async_trait]
impl ChainWriter for SandboxChain {
    async fn broadcast(&self, raw: &[u8]) -> Result<Broadcast, ChainError> {
        let parsed: SandboxTransaction = serde_json::from_slice(raw)
            .map_err(|error| ChainError::Invalid(format!("transaction: {error}")))?;
        let mut outputs = Vec::with_capacity(parsed.outputs.len());
        for (address, units) in parsed.outputs {
            let units =
                units.parse().map_err(|_| ChainError::Invalid(format!("units {units:?}")))?;
            outputs.push((address, units));
        }
        if parsed.consumes.is_empty() {
            return Ok(Broadcast::Rejected("consumes nothing".to_owned()));
        }
        let keyed = self.keyed(&outputs)?;
        let txid = hex::encode(Sha256::digest(raw));
        let unit = self.begin().await?;
        let known: Vec<TxRow> = all(
            &unit,
            "SELECT txid, height, state FROM tx WHERE network = $1 AND txid = $2",
            vec![self.network.as_str().into(), txid.clone().into()],
        )
        .await?;
        if known.iter().any(|row| row.state != "gone") {
            return Ok(Broadcast::AlreadyKnown);
        }
        for outpoint in &parsed.consumes {
            let conflicts: Vec<TxRow> = all(
                &unit,
                "SELECT t.txid, t.height, t.state FROM consumed c
                 JOIN tx t ON t.network = c.network AND t.txid = c.txid
                 WHERE c.network = $1 AND c.outpoint = $2 AND t.state <> 'gone'",
                vec![self.network.as_str().into(), outpoint.clone().into()],
            )
            .await?;
            if let Some(other) = conflicts.first() {
                return Ok(Broadcast::Rejected(format!("conflicts with {}", other.txid)));
            }
        }
        if known.is_empty() {
            self.insert(&unit, &txid, &keyed, &parsed.consumes, Kind::Good).await?;
        } else {
            self.set_state(&unit, &txid, "waiting", None).await?;
        }
        self.commit(unit).await?;
        Ok(Broadcast::Accepted)
    }
}
