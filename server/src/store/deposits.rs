//! Deposit rows as the scanner writes them. What a deposit means for invoice and ledger is marked
//! on the same rows by `apply`; the two sides meet in `version` and `applied_version`.

use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{
    Result, StoreError, UnitOfWork, all, execute, for_update, known, one, places, signed, units,
    unsigned,
};
use crate::domain::amount::stored;
use crate::domain::asset::{Asset, Network};
use crate::domain::deposit::{Deposit, DepositState, is_delta};
use crate::domain::policy::Finality;
use crate::domain::time::Micros;

/// Deposits of an invoice that are in blocks, however large: on some chains thousands cost a dollar, and an
/// invoice is read with all of its deposits.
const PARTS_MAX: i64 = 2_000;
/// Deposits of an invoice, whatever became of them, after which a small part is taken for it no more.
const SMALL_PARTS_MAX: i64 = 1_000;
/// Invoices or transactions that one statement names.
pub(super) const IDS_PER_STATEMENT_MAX: usize = 500;

const APPLIED_COLUMNS: [Column; 7] = [
    ("applied_id", Kind::Id),
    ("read_version", Kind::Number),
    ("is_credited", Kind::Flag),
    ("generation", Kind::Number),
    ("is_pending", Kind::Flag),
    ("confirmations", Kind::Number),
    ("is_final", Kind::Flag),
];

const INPUT_COLUMNS: [Column; 3] =
    [("network", Kind::Text), ("outpoint", Kind::Text), ("txid", Kind::Text)];

/// A transfer to one of our addresses, as it was found.
#[derive(Debug, Clone)]
pub struct FoundDeposit {
    /// The id it gets if it is new.
    pub id: Uuid,
    /// The transaction.
    pub txid: String,
    /// Which transfer of it.
    pub ordinal: String,
    /// The address that was paid.
    pub address_id: Uuid,
    /// The invoice of that address.
    pub invoice_id: Option<Uuid>,
    /// The merchant of that invoice.
    pub merchant_id: Option<Uuid>,
    /// What was paid.
    pub asset: Asset,
    /// How much, base units.
    pub units: u128,
    /// When it counts as first seen, if it is new.
    pub first_seen_at: Micros,
    /// The block it is in.
    pub block: Option<InBlock>,
    /// What its transaction consumes.
    pub consumes: Vec<String>,
}

/// A block that holds a deposit.
#[derive(Debug, Clone)]
pub struct InBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// Its time as business time.
    pub at: Micros,
}

/// What became of a found transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is written down now: new, or in another place.
    Changed,
    /// The same, and it belongs to no invoice.
    Ownerless,
    /// It was written down before.
    Known,
    /// It was counted by the balance of its address before, and is not written down again.
    InDelta,
}

#[derive(FromQueryResult)]
struct HeightRow {
    height: Option<i64>,
}

#[derive(FromQueryResult)]
struct ExistingRow {
    id: Uuid,
    generation: i64,
    address_id: Uuid,
    amount: String,
    state: String,
    block_hash: Option<String>,
    invoice_id: Option<Uuid>,
}

#[derive(FromQueryResult)]
struct PartsRow {
    amount: String,
    parts: i64,
}

#[derive(FromQueryResult)]
struct CountRow {
    included: i64,
}

/// A deposit's columns; every query of deposits selects these.
#[derive(FromQueryResult)]
pub(super) struct DepositRow {
    id: Uuid,
    invoice_id: Option<Uuid>,
    txid: String,
    ordinal: String,
    amount: String,
    block_height: Option<i64>,
    included_at: Option<i64>,
    first_seen_at: i64,
    state: String,
    version: i64,
    credited: bool,
    credit_generation: i64,
    counted_pending: bool,
}

/// The columns of `DepositRow` of table alias `d`, each with `prefix` before its name.
pub(super) fn columns(prefix: &str) -> String {
    [
        "id",
        "invoice_id",
        "txid",
        "ordinal",
        "amount",
        "block_height",
        "included_at",
        "first_seen_at",
        "state",
        "version",
        "credited",
        "credit_generation",
        "counted_pending",
    ]
    .map(|column| format!("d.{column} AS {prefix}{column}"))
    .join(", ")
}

impl ExistingRow {
    /// Whether it is written down already what was found. A delta stands whatever a later look at the same
    /// block says: what came to light since is the next block's.
    fn is(&self, found: &FoundDeposit) -> Result<bool> {
        let is_same = self.address_id == found.address_id && units(&self.amount)? == found.units;
        Ok(is_same || (is_delta(&found.ordinal) && self.is_in(found.block.as_ref())))
    }

    /// Whether it is in that block.
    fn is_in(&self, block: Option<&InBlock>) -> bool {
        block.is_some_and(|block| self.block_hash.as_deref() == Some(block.hash.as_str()))
    }
}

impl DepositRow {
    pub(super) fn read(self) -> Result<(Option<Uuid>, Deposit)> {
        let deposit = Deposit {
            id: self.id,
            txid: self.txid,
            ordinal: self.ordinal,
            units: units(&self.amount)?,
            block_height: self.block_height.map(|h| unsigned(h, "block height")).transpose()?,
            included_at: self.included_at.map(Micros),
            first_seen_at: Micros(self.first_seen_at),
            state: known(DepositState::parse(&self.state), "deposit state", &self.state)?,
            version: self.version,
            credited: self.credited,
            credit_generation: self.credit_generation,
            counted_pending: self.counted_pending,
        };
        Ok((self.invoice_id, deposit))
    }
}

/// Writes down a found transfer: a new row, a change of place of a known one, or, where the same
/// transaction and ordinal mean something else now, the next generation. One in a block whose balances
/// were reconciled already is part of a delta, and is not written: it would count twice. What an invoice
/// has no room for (see [`PARTS_MAX`]) is written down without it.
pub async fn record(unit: &UnitOfWork, network: Network, found: &FoundDeposit) -> Result<Recorded> {
    let existing: Option<ExistingRow> = one(
        unit.db(),
        "SELECT id, generation, address_id, amount, state, block_hash, invoice_id FROM deposit
         WHERE network = $1 AND txid = $2 AND ordinal = $3 ORDER BY generation DESC LIMIT 1",
        vec![network.as_str().into(), found.txid.clone().into(), found.ordinal.clone().into()],
    )
    .await?;
    let stands = match &existing {
        Some(row) => row.is(found)? && row.is_in(found.block.as_ref()),
        None => false,
    };
    if !stands && is_in_delta(unit, network, found).await? {
        return leave_to_delta(unit, network, found, existing.as_ref()).await;
    }
    let mut is_owned = existing.as_ref().is_none_or(|row| row.invoice_id.is_some());
    let is_changed = match existing {
        None => {
            is_owned = insert(unit, network, found, 0).await?;
            true
        }
        Some(row) if row.is(found)? => place(unit, &row, found.block.as_ref()).await?,
        Some(row) => {
            execute(
                unit.db(),
                "UPDATE deposit SET state = 'orphaned', block_height = NULL, block_hash = NULL,
                    included_at = NULL, version = version + 1 WHERE id = $1",
                vec![row.id.into()],
            )
            .await?;
            is_owned = insert(unit, network, found, row.generation + 1).await?;
            true
        }
    };
    if !is_changed {
        return Ok(Recorded::Known);
    }
    insert_inputs(unit, network, found).await?;
    Ok(if is_owned { Recorded::Changed } else { Recorded::Ownerless })
}

/// Whether a part is less than a thousandth of what is asked.
const fn is_small(part: u128, asked: u128) -> bool {
    part < asked / 1_000
}

/// How many deposits an invoice may have, whatever became of them, when a part of this size is written down
/// that waits. What waits is a promise, which costs the less the smaller it is: those of the size of payments
/// have room of their own.
pub(super) const fn promises_max(part: u128, asked: u128) -> i64 {
    if is_small(part, asked) {
        SMALL_PARTS_MAX
    } else if part < asked / 10 {
        2 * SMALL_PARTS_MAX
    } else {
        3 * SMALL_PARTS_MAX
    }
}

/// Whether one more part is taken for its invoice. Only what is in a block keeps out a part that is not
/// small: nobody keeps a payment out by promises.
async fn has_room(unit: &UnitOfWork, invoice_id: Uuid, part: u128) -> Result<bool> {
    let sql = format!(
        "SELECT i.amount_base AS amount, (SELECT COUNT(*) FROM
            (SELECT 1 AS one FROM deposit WHERE invoice_id = $1 LIMIT {SMALL_PARTS_MAX}) AS a) AS parts
         FROM invoice i WHERE i.id = $1"
    );
    let row: Option<PartsRow> = one(unit.db(), &sql, vec![invoice_id.into()]).await?;
    let Some(PartsRow { amount, parts }) = row else { return Ok(true) };
    if parts < SMALL_PARTS_MAX {
        return Ok(true);
    }
    if is_small(part, units(&amount)?) {
        return Ok(false);
    }
    let sql = format!(
        "SELECT COUNT(*) AS included FROM (SELECT 1 AS one FROM deposit
            WHERE invoice_id = $1 AND state = 'included' LIMIT {PARTS_MAX}) AS a"
    );
    let row: Option<CountRow> = one(unit.db(), &sql, vec![invoice_id.into()]).await?;
    Ok(row.is_none_or(|row| row.included < PARTS_MAX))
}

/// Writes down what the transaction consumes: thousands of outpoints, if somebody likes.
async fn insert_inputs(unit: &UnitOfWork, network: Network, found: &FoundDeposit) -> Result<()> {
    let row = |outpoint: &String| {
        vec![network.as_str().into(), outpoint.clone().into(), found.txid.clone().into()]
    };
    let rows = found.consumes.iter().map(row).collect();
    for source in row_set::sources(unit.backend(), &INPUT_COLUMNS, &[], rows) {
        let sql = format!(
            "INSERT INTO deposit_input (network, outpoint, txid) {} ON CONFLICT DO NOTHING",
            source.sql
        );
        execute(unit.db(), &sql, source.values).await?;
    }
    Ok(())
}

/// Whether the balance of the address, reconciled at this height or above, has counted the transfer: what
/// it found beyond the deposits of its time is a deposit of its own. The cursor's row is held from here
/// on, as a reconciliation holds it.
async fn is_in_delta(unit: &UnitOfWork, network: Network, found: &FoundDeposit) -> Result<bool> {
    let Some(block) = found.block.as_ref().filter(|_| !is_delta(&found.ordinal)) else {
        return Ok(false);
    };
    let sql = format!(
        "SELECT delta_height AS height FROM chain_cursor WHERE network = $1{}",
        for_update(unit.backend())
    );
    let newest: Option<HeightRow> = one(unit.db(), &sql, vec![network.as_str().into()]).await?;
    let height = signed(block.height, "block height")?;
    if newest.and_then(|row| row.height).is_none_or(|newest| newest < height) {
        return Ok(false);
    }
    let counted: Option<HeightRow> = one(
        unit.db(),
        "SELECT block_height AS height FROM deposit
         WHERE address_id = $1 AND state = 'included' AND ordinal LIKE 'd:%' AND block_height >= $2
         LIMIT 1",
        vec![found.address_id.into(), height.into()],
    )
    .await?;
    Ok(counted.is_some())
}

async fn leave_to_delta(
    unit: &UnitOfWork,
    network: Network,
    found: &FoundDeposit,
    existing: Option<&ExistingRow>,
) -> Result<Recorded> {
    tracing::error!(%network, txid = found.txid, ordinal = found.ordinal,
        "found in a block whose balances were reconciled: it is part of a delta already");
    // Its money is here, by another name: it waits no more.
    if let Some(row) = existing.filter(|row| row.state == DepositState::Seen.as_str()) {
        execute(
            unit.db(),
            "UPDATE deposit SET state = 'replaced', version = version + 1 WHERE id = $1",
            vec![row.id.into()],
        )
        .await?;
    }
    Ok(Recorded::InDelta)
}

/// Writes a new row; whether it is its invoice's.
async fn insert(
    unit: &UnitOfWork,
    network: Network,
    found: &FoundDeposit,
    generation: i64,
) -> Result<bool> {
    let invoice_id = match found.invoice_id {
        Some(id) if has_room(unit, id, found.units).await? => Some(id),
        _ => None,
    };
    let block = found.block.as_ref();
    let height = block.map(|block| signed(block.height, "block height")).transpose()?;
    let state = if block.is_some() { DepositState::Included } else { DepositState::Seen };
    execute(
        unit.db(),
        "INSERT INTO deposit (id, network, txid, ordinal, generation, address_id, invoice_id,
            merchant_id, asset, amount, block_height, block_hash, included_at, first_seen_at,
            state, version, applied_version, credited, credit_generation, counted_pending)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1, 0,
            FALSE, 0, FALSE)",
        vec![
            found.id.into(),
            network.as_str().into(),
            found.txid.clone().into(),
            found.ordinal.clone().into(),
            generation.into(),
            found.address_id.into(),
            invoice_id.into(),
            found.merchant_id.filter(|_| invoice_id.is_some()).into(),
            found.asset.as_str().into(),
            stored(found.units).into(),
            height.into(),
            block.map(|block| block.hash.clone()).into(),
            block.map(|block| block.at.0).into(),
            found.first_seen_at.0.into(),
            state.as_str().into(),
        ],
    )
    .await?;
    Ok(invoice_id.is_some())
}

async fn place(unit: &UnitOfWork, row: &ExistingRow, block: Option<&InBlock>) -> Result<bool> {
    let changed = match block {
        Some(block) if row.block_hash.as_deref() != Some(block.hash.as_str()) => {
            execute(
                unit.db(),
                "UPDATE deposit SET state = 'included', block_height = $2, block_hash = $3,
                    included_at = $4, version = version + 1 WHERE id = $1",
                vec![
                    row.id.into(),
                    signed(block.height, "block height")?.into(),
                    block.hash.clone().into(),
                    block.at.0.into(),
                ],
            )
            .await?
        }
        None if row.state == DepositState::Replaced.as_str() => {
            execute(
                unit.db(),
                "UPDATE deposit SET state = 'seen', version = version + 1 WHERE id = $1",
                vec![row.id.into()],
            )
            .await?
        }
        _ => 0,
    };
    Ok(changed > 0)
}

/// Takes deposits in blocks above `height` out of their blocks: a fork removed them. They wait again,
/// but for those that their block itself made (`h:` in `Transfer::consumes`).
pub async fn unconfirm_above(unit: &UnitOfWork, network: Network, height: u64) -> Result<u64> {
    execute(
        unit.db(),
        "UPDATE deposit SET state = CASE WHEN EXISTS (SELECT 1 FROM deposit_input n
                WHERE n.network = deposit.network AND n.txid = deposit.txid
                AND n.outpoint LIKE 'h:%') THEN 'replaced' ELSE 'seen' END,
            block_height = NULL, block_hash = NULL, included_at = NULL, version = version + 1
         WHERE network = $1 AND state = 'included' AND block_height > $2",
        vec![network.as_str().into(), signed(height, "height")?.into()],
    )
    .await
}

/// Marks waiting deposits as replaced whose transaction consumes `outpoint`, which `by` consumes
/// now.
pub async fn replace(unit: &UnitOfWork, network: Network, outpoint: &str, by: &str) -> Result<u64> {
    execute(
        unit.db(),
        "UPDATE deposit SET state = 'replaced', version = version + 1
         WHERE network = $1 AND state = 'seen' AND txid <> $3 AND txid IN (
            SELECT txid FROM deposit_input WHERE network = $1 AND outpoint = $2)",
        vec![network.as_str().into(), outpoint.into(), by.into()],
    )
    .await
}

/// Marks waiting deposits as replaced whose transaction consumes `outpoint`, which a block consumed
/// and none of whose payments they are: another transaction took their place, or their own was
/// included and failed. The block's payments must have been recorded before.
pub async fn consume(unit: &UnitOfWork, network: Network, outpoint: &str) -> Result<u64> {
    execute(
        unit.db(),
        "UPDATE deposit SET state = 'replaced', version = version + 1
         WHERE network = $1 AND state = 'seen' AND txid IN (
            SELECT txid FROM deposit_input WHERE network = $1 AND outpoint = $2)",
        vec![network.as_str().into(), outpoint.into()],
    )
    .await
}

/// Every deposit of the given invoices.
pub async fn of_invoices(unit: &UnitOfWork, invoices: &[Uuid]) -> Result<Vec<(Uuid, Deposit)>> {
    let mut deposits = Vec::new();
    for chunk in invoices.chunks(IDS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT {} FROM deposit d WHERE d.invoice_id IN ({}) ORDER BY d.id",
            columns(""),
            places(chunk.len(), 0)
        );
        let values = chunk.iter().map(|id| (*id).into()).collect();
        let rows: Vec<DepositRow> = all(unit.db(), &sql, values).await?;
        for row in rows {
            let (invoice, deposit) = row.read()?;
            let invoice =
                invoice.ok_or_else(|| StoreError::Corrupt("deposit lost invoice".to_owned()))?;
            deposits.push((invoice, deposit));
        }
    }
    Ok(deposits)
}

/// What `apply` decided about one deposit.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// The deposit.
    pub id: Uuid,
    /// The version the decision was made from.
    pub version: i64,
    /// Whether the ledger holds it now.
    pub credited: bool,
    /// How often its credit was taken back by now.
    pub credit_generation: i64,
    /// Whether it is part of `pending` now.
    pub counted_pending: bool,
    /// What it was held against: while it is less, nothing is decided anew.
    pub asked: Finality,
}

/// Writes the decisions down. Those that the scanner changed meanwhile are a conflict.
pub async fn mark_applied(unit: &UnitOfWork, applied: &[Applied]) -> Result<()> {
    let mut ordered = applied.to_vec();
    ordered.sort_unstable_by_key(|applied| applied.id);
    let mut unmarked = ordered.len() as u64;
    let rows = ordered.iter().map(Applied::row).collect();
    for source in row_set::sources(unit.backend(), &APPLIED_COLUMNS, &[], rows) {
        let sql = format!(
            "WITH v (applied_id, read_version, is_credited, generation, is_pending, confirmations,
                is_final) AS ({})
             UPDATE deposit SET applied_version = v.read_version, credited = v.is_credited,
                credit_generation = v.generation, counted_pending = v.is_pending,
                asked_confirmations = v.confirmations, asked_finality = v.is_final
             FROM v WHERE id = v.applied_id AND version = v.read_version",
            source.sql
        );
        unmarked -= execute(unit.db(), &sql, source.values).await?;
    }
    if unmarked == 0 { Ok(()) } else { Err(StoreError::Conflict("deposit moved".to_owned())) }
}

impl Applied {
    /// The values of [`APPLIED_COLUMNS`].
    fn row(&self) -> Vec<Value> {
        vec![
            self.id.into(),
            self.version.into(),
            self.credited.into(),
            self.credit_generation.into(),
            self.counted_pending.into(),
            i64::from(self.asked.confirmations).into(),
            self.asked.requires_finality.into(),
        ]
    }
}
