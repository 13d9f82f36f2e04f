//! What the reconciliation of balances reads and writes: which scanned blocks may hide payments, how far
//! that was made up for, the addresses it asks about, and what is recorded of them. Not here: the deposit
//! rows of deltas (`deposits`), when a round is due and what it books (`worker::reconcile`).

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::addresses::AddressOwner;
use super::cursor::ScannedBlock;
use super::{
    Db, Result, StoreError, UnitOfWork, all, execute, one, places, signed, units, unsigned,
};
use crate::domain::asset::Network;
use crate::domain::invoice::Status;
use crate::domain::time::Micros;

/// How far a network's balances were reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Business time of the last complete read of blocks.
    pub read_at: Micros,
    /// The newest scanned block that the chain calls final.
    pub last_final: Option<ScannedBlock>,
    /// The newest scanned block that may hide payments.
    pub hidden_height: Option<u64>,
    /// The newest block at which balances were reconciled.
    pub reconciled_height: Option<u64>,
    /// Business time up to which hidden payments are known, while some may not be.
    pub reconciled_at: Option<Micros>,
    /// The pass over every used address, under way or the last one.
    pub pass: Option<Pass>,
}

/// A pass over every used address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// The block at which it began: every address is reconciled there or later.
    pub height: u64,
    /// The derivation index it goes on from; `None` when it is through.
    pub next_index: Option<u32>,
}

/// What a round that was carried out has reached.
#[derive(Debug, Clone, Copy)]
pub struct RoundMark {
    /// Business time up to which every hidden payment is known, if every awaited address was asked
    /// about.
    pub known_to: Option<Micros>,
    /// Where the pass stands.
    pub pass: Option<Pass>,
}

/// An address whose balance is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAddress {
    /// See `DerivedAddress::key`.
    pub key: Vec<u8>,
    /// Whose it is.
    pub owner: AddressOwner,
}

/// Where the next page of awaited addresses begins.
pub type AwaitedKey = (Micros, Uuid);

#[derive(FromQueryResult)]
struct ProgressRow {
    watermark_at: i64,
    hidden_height: Option<i64>,
    reconciled_height: Option<i64>,
    reconciled_at: Option<i64>,
    pass_height: Option<i64>,
    pass_index: Option<i64>,
    final_height: Option<i64>,
    final_hash: Option<String>,
    final_parent: Option<String>,
    final_time: Option<i64>,
}

#[derive(FromQueryResult)]
struct AwaitedRow {
    expires_at: i64,
    invoice_id: Uuid,
    merchant_id: Uuid,
    address_id: Uuid,
    address_key: Vec<u8>,
}

#[derive(FromQueryResult)]
struct UsedRow {
    path_index: i64,
    invoice_id: Option<Uuid>,
    merchant_id: Option<Uuid>,
    address_id: Uuid,
    address_key: Vec<u8>,
}

#[derive(FromQueryResult)]
struct AmountRow {
    address_id: Uuid,
    amount: String,
}

#[derive(FromQueryResult)]
struct HashRow {
    hash: String,
}

/// Notes, while the scanner writes it down, that a block may hide payments: what is known of the network
/// goes no further than before it until balances are reconciled.
pub async fn note_hidden(unit: &UnitOfWork, network: Network, height: u64) -> Result<()> {
    execute(
        unit.db(),
        "UPDATE chain_cursor SET
            hidden_height = CASE WHEN hidden_height > $2 THEN hidden_height ELSE $2 END,
            reconciled_at = COALESCE(reconciled_at, watermark_at)
         WHERE network = $1",
        vec![network.as_str().into(), signed(height, "height")?.into()],
    )
    .await?;
    Ok(())
}

/// How far a network is; `None` before its first scan.
pub async fn progress(db: &Db, network: Network) -> Result<Option<Progress>> {
    let row: Option<ProgressRow> = one(
        db.reader(),
        "SELECT c.watermark_at, c.hidden_height, c.reconciled_height, c.reconciled_at,
            c.pass_height, c.pass_index, b.height AS final_height, b.hash AS final_hash,
            b.parent AS final_parent, b.time AS final_time
         FROM chain_cursor c
         LEFT JOIN chain_block b ON b.network = c.network AND b.height = c.finalized_height
            AND b.height <= c.height
         WHERE c.network = $1",
        vec![network.as_str().into()],
    )
    .await?;
    row.map(ProgressRow::read).transpose()
}

impl ProgressRow {
    fn read(self) -> Result<Progress> {
        let height = |height: Option<i64>| height.map(|h| unsigned(h, "height")).transpose();
        let last_final = match (self.final_height, self.final_hash, self.final_parent) {
            (Some(height), Some(hash), Some(parent)) => Some(ScannedBlock {
                height: unsigned(height, "height")?,
                hash,
                parent,
                time: Micros(self.final_time.unwrap_or_default()),
            }),
            _ => None,
        };
        let next_index = self.pass_index.map(index).transpose()?;
        let pass = height(self.pass_height)?.map(|height| Pass { height, next_index });
        Ok(Progress {
            read_at: Micros(self.watermark_at),
            last_final,
            hidden_height: height(self.hidden_height)?,
            reconciled_height: height(self.reconciled_height)?,
            reconciled_at: self.reconciled_at.map(Micros),
            pass,
        })
    }
}

fn index(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| StoreError::Corrupt(format!("address index {value}")))
}

/// A page of the addresses of invoices in a status, after `after`, by when they expire; and where the
/// next one begins, if there may be one.
pub async fn awaited(
    db: &Db,
    network: Network,
    status: Status,
    after: AwaitedKey,
    limit: u32,
) -> Result<(Vec<HeldAddress>, Option<AwaitedKey>)> {
    let rows: Vec<AwaitedRow> = all(
        db.reader(),
        "SELECT i.expires_at, i.id AS invoice_id, i.merchant_id, a.id AS address_id, a.address_key
         FROM invoice i JOIN address a ON a.id = i.address_id
         WHERE i.network = $1 AND i.status = $2 AND i.expires_at >= $3
           AND (i.expires_at > $3 OR i.id > $4)
         ORDER BY i.expires_at, i.id LIMIT $5",
        vec![
            network.as_str().into(),
            status.as_str().into(),
            after.0.0.into(),
            after.1.into(),
            i64::from(limit).into(),
        ],
    )
    .await?;
    let is_full = u32::try_from(rows.len()) == Ok(limit);
    let next = rows.last().filter(|_| is_full).map(|row| (Micros(row.expires_at), row.invoice_id));
    let held = |row: AwaitedRow| HeldAddress {
        key: row.address_key,
        owner: AddressOwner {
            address_id: row.address_id,
            invoice_id: Some(row.invoice_id),
            merchant_id: Some(row.merchant_id),
        },
    };
    Ok((rows.into_iter().map(held).collect(), next))
}

/// A page of every address that was handed out, from a derivation index on; and the index that the next
/// one begins with, if there may be one.
pub async fn used(
    db: &Db,
    network: Network,
    from_index: u32,
    limit: u32,
) -> Result<(Vec<HeldAddress>, Option<u32>)> {
    let rows: Vec<UsedRow> = all(
        db.reader(),
        "SELECT a.path_index, i.id AS invoice_id, i.merchant_id, a.id AS address_id, a.address_key
         FROM address a LEFT JOIN invoice i ON i.address_id = a.id
         WHERE a.network = $1 AND a.state = 'used' AND a.path_index >= $2
         ORDER BY a.path_index LIMIT $3",
        vec![network.as_str().into(), i64::from(from_index).into(), i64::from(limit).into()],
    )
    .await?;
    let is_full = u32::try_from(rows.len()) == Ok(limit);
    let last = rows.last().filter(|_| is_full);
    let next = last.map(|row| index(row.path_index.saturating_add(1))).transpose()?;
    let held = |row: UsedRow| HeldAddress {
        key: row.address_key,
        owner: AddressOwner {
            address_id: row.address_id,
            invoice_id: row.invoice_id,
            merchant_id: row.merchant_id,
        },
    };
    Ok((rows.into_iter().map(held).collect(), next))
}

/// The sum of what is recorded of each address in blocks up to `height`, credited or not; addresses
/// without any are left out. What was reorganised away, replaced or orphaned is in no block.
pub async fn recorded(
    db: &Db,
    network: Network,
    addresses: &[Uuid],
    height: u64,
) -> Result<HashMap<Uuid, u128>> {
    sums(db.reader(), network, addresses, height).await
}

/// The same, inside a unit of work that holds the cursor (see [`hold_block`]).
pub async fn recorded_in(
    unit: &UnitOfWork,
    network: Network,
    addresses: &[Uuid],
    height: u64,
) -> Result<HashMap<Uuid, u128>> {
    sums(unit.db(), network, addresses, height).await
}

async fn sums<C: ConnectionTrait>(
    db: &C,
    network: Network,
    addresses: &[Uuid],
    height: u64,
) -> Result<HashMap<Uuid, u128>> {
    let mut sums: HashMap<Uuid, u128> = HashMap::with_capacity(addresses.len());
    if addresses.is_empty() {
        return Ok(sums);
    }
    let sql = format!(
        "SELECT address_id, amount FROM deposit
         WHERE asset = $1 AND state = 'included' AND block_height <= $2 AND address_id IN ({})",
        places(addresses.len(), 2)
    );
    let mut values = vec![network.asset().as_str().into(), signed(height, "height")?.into()];
    values.extend(addresses.iter().map(|id| (*id).into()));
    for row in all::<AmountRow, _>(db, &sql, values).await? {
        let sum = sums.entry(row.address_id).or_default();
        *sum = sum
            .checked_add(units(&row.amount)?)
            .ok_or_else(|| StoreError::Corrupt("deposits of an address overflow".to_owned()))?;
    }
    Ok(sums)
}

/// What left an address by our hand in blocks up to `height`, fees included. Nothing does before there
/// are withdrawals and sweeps: they add it here, from their receipts.
pub const fn outflows(_address: Uuid, _height: u64) -> u128 {
    0
}

/// Holds the cursor to the commit, so that no scan and no other round records deposits meanwhile, and
/// notes that deltas are booked at `block`. False when that is not a block of the scanned chain.
pub async fn hold_block(unit: &UnitOfWork, network: Network, block: &ScannedBlock) -> Result<bool> {
    let height = signed(block.height, "height")?;
    let held = execute(
        unit.db(),
        "UPDATE chain_cursor SET
            delta_height = CASE WHEN delta_height > $2 THEN delta_height ELSE $2 END
         WHERE network = $1 AND height >= $2",
        vec![network.as_str().into(), height.into()],
    )
    .await?;
    let scanned: Option<HashRow> = one(
        unit.db(),
        "SELECT hash FROM chain_block WHERE network = $1 AND height = $2",
        vec![network.as_str().into(), height.into()],
    )
    .await?;
    Ok(held == 1 && scanned.is_some_and(|scanned| scanned.hash == block.hash))
}

/// Notes that balances were reconciled at `block`, which must be held. Hidden payments are all known
/// again when it is no older than the newest block that may hide some. False when another round has
/// come as far.
pub async fn mark(
    unit: &UnitOfWork,
    network: Network,
    block: &ScannedBlock,
    round: &RoundMark,
) -> Result<bool> {
    let pass_height = round.pass.map(|pass| signed(pass.height, "height")).transpose()?;
    let next_index = round.pass.and_then(|pass| pass.next_index).map(i64::from);
    let changed = execute(
        unit.db(),
        "UPDATE chain_cursor SET reconciled_height = $2, pass_height = $3, pass_index = $4,
            reconciled_at = CASE
                WHEN CAST($5 AS BIGINT) IS NULL OR reconciled_at IS NULL THEN reconciled_at
                WHEN hidden_height <= $2 THEN NULL
                WHEN reconciled_at < $5 THEN $5
                ELSE reconciled_at END
         WHERE network = $1 AND (reconciled_height IS NULL OR reconciled_height < $2)",
        vec![
            network.as_str().into(),
            signed(block.height, "height")?.into(),
            pass_height.into(),
            next_index.into(),
            round.known_to.map(|at| at.0).into(),
        ],
    )
    .await?;
    Ok(changed == 1)
}
