//! The ledger's tables: transfers and their postings, balance rows that move by compare-and-set,
//! and the tail that is folded into snapshots of the house's accounts.

use std::collections::BTreeMap;

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{Db, Result, StoreError, UnitOfWork, all, execute, one, units};
use crate::domain::amount::stored;
use crate::domain::asset::Asset;
use crate::domain::ledger::{AccountKey, AccountKind, Posting, Side, TransferKind, sums_to_zero};
use crate::domain::time::Micros;
use crate::env::Env;

/// Tail rows folded by one unit of work.
const FOLDED_ROWS_MAX: i64 = 1_000;

/// A transfer on its way into the ledger.
#[derive(Debug, Clone)]
pub struct NewTransfer {
    /// Why.
    pub kind: TransferKind,
    /// What it is about, e.g. the deposit.
    pub ref_id: Uuid,
    /// Which time, if it can happen again.
    pub generation: i64,
    /// The asset of every posting.
    pub asset: Asset,
    /// The lines.
    pub postings: Vec<Posting>,
}

/// A guarded account's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// The account.
    pub account_id: Uuid,
    /// What was posted, on the account's normal side.
    pub posted: u128,
    /// Held by open withdrawals.
    pub held: u128,
    /// Seen and not yet credited; outside the ledger.
    pub pending: u128,
    /// Grows with every change.
    pub version: i64,
}

/// A merchant's money in one asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MerchantBalance {
    /// Posted and not held.
    pub available: u128,
    /// Held by open withdrawals.
    pub held: u128,
    /// Seen and not yet credited.
    pub pending: u128,
}

#[derive(FromQueryResult)]
struct BalanceRow {
    account_id: Uuid,
    posted: String,
    held: String,
    pending: String,
    version: i64,
}

#[derive(FromQueryResult)]
struct AssetBalanceRow {
    asset: String,
    posted: String,
    held: String,
    pending: String,
}

#[derive(FromQueryResult)]
struct IdRow {
    id: Uuid,
}

#[derive(FromQueryResult)]
struct TailRow {
    transfer_id: Uuid,
    n: i64,
    account_id: Uuid,
    side: String,
    amount: String,
}

#[derive(FromQueryResult)]
struct SnapshotRow {
    debits: String,
    credits: String,
    cut: i64,
}

impl BalanceRow {
    fn read(self) -> Result<Balance> {
        Ok(Balance {
            account_id: self.account_id,
            posted: units(&self.posted)?,
            held: units(&self.held)?,
            pending: units(&self.pending)?,
            version: self.version,
        })
    }
}

/// The account of that key, made if it is missing; guarded ones get a balance row.
pub async fn account(unit: &UnitOfWork, env: &Env, key: AccountKey) -> Result<Uuid> {
    let lookup = "SELECT id FROM account WHERE owner = $1 AND asset = $2 AND kind = $3";
    let values = || vec![key.owner.into(), key.asset.as_str().into(), key.kind.as_str().into()];
    let found: Option<IdRow> = one(unit.db(), lookup, values()).await?;
    if let Some(row) = found {
        return Ok(row.id);
    }
    let mut insert = vec![env.new_id().into()];
    insert.extend(values());
    execute(
        unit.db(),
        "INSERT INTO account (id, owner, asset, kind) VALUES ($1, $2, $3, $4)
         ON CONFLICT (owner, asset, kind) DO NOTHING",
        insert,
    )
    .await?;
    let row: Option<IdRow> = one(unit.db(), lookup, values()).await?;
    let id = row.ok_or_else(|| StoreError::Conflict("account appeared".to_owned()))?.id;
    if key.kind.is_guarded() {
        let zero = stored(0);
        execute(
            unit.db(),
            "INSERT INTO balance (account_id, posted, held, pending, version)
             VALUES ($1, $2, $2, $2, 0) ON CONFLICT (account_id) DO NOTHING",
            vec![id.into(), zero.into()],
        )
        .await?;
    }
    Ok(id)
}

/// The balance row of a guarded account, made if it is missing.
pub async fn balance(unit: &UnitOfWork, env: &Env, key: AccountKey) -> Result<Balance> {
    let id = account(unit, env, key).await?;
    let row: Option<BalanceRow> = one(
        unit.db(),
        "SELECT account_id, posted, held, pending, version FROM balance WHERE account_id = $1",
        vec![id.into()],
    )
    .await?;
    row.ok_or_else(|| StoreError::Corrupt(format!("account {id} has no balance row")))?.read()
}

/// Writes a transfer and moves the balances it touches. False when a transfer with this kind,
/// reference and generation is there already: nothing changes then.
pub async fn post(
    unit: &UnitOfWork,
    env: &Env,
    transfer: &NewTransfer,
    at: Micros,
) -> Result<bool> {
    let one_asset = transfer.postings.iter().all(|p| p.account.asset == transfer.asset);
    if !one_asset || !sums_to_zero(&transfer.postings) {
        return Err(StoreError::Corrupt("transfer does not balance".to_owned()));
    }
    let id = env.new_id();
    let inserted = execute(
        unit.db(),
        "INSERT INTO transfer (id, kind, ref_id, generation, asset, created_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (kind, ref_id, generation) DO NOTHING",
        vec![
            id.into(),
            transfer.kind.as_str().into(),
            transfer.ref_id.into(),
            transfer.generation.into(),
            transfer.asset.as_str().into(),
            at.0.into(),
        ],
    )
    .await?;
    if inserted == 0 {
        return Ok(false);
    }
    for (n, posting) in (0_i64..).zip(&transfer.postings) {
        write_posting(unit, env, id, n, posting).await?;
    }
    Ok(true)
}

/// Whether a transfer has a posting on an account of this kind.
pub async fn touches(
    unit: &UnitOfWork,
    transfer: TransferKind,
    ref_id: Uuid,
    generation: i64,
    account: AccountKind,
) -> Result<bool> {
    let row: Option<IdRow> = one(
        unit.db(),
        "SELECT t.id FROM transfer t
         JOIN posting p ON p.transfer_id = t.id JOIN account a ON a.id = p.account_id
         WHERE t.kind = $1 AND t.ref_id = $2 AND t.generation = $3 AND a.kind = $4 LIMIT 1",
        vec![transfer.as_str().into(), ref_id.into(), generation.into(), account.as_str().into()],
    )
    .await?;
    Ok(row.is_some())
}

async fn write_posting(
    unit: &UnitOfWork,
    env: &Env,
    transfer_id: Uuid,
    n: i64,
    posting: &Posting,
) -> Result<()> {
    let guarded = posting.account.kind.is_guarded();
    let (account_id, version, balance_after) = if guarded {
        let balance = balance(unit, env, posting.account).await?;
        let posted = if posting.side == posting.account.kind.normal_side() {
            balance.posted.checked_add(posting.units)
        } else {
            balance.posted.checked_sub(posting.units)
        };
        let posted = posted.ok_or_else(|| StoreError::Corrupt("balance overdrawn".to_owned()))?;
        write_balance(unit, &Balance { posted, ..balance }).await?;
        (balance.account_id, Some(balance.version + 1), Some(stored(posted)))
    } else {
        (account(unit, env, posting.account).await?, None, None)
    };
    let values = vec![
        transfer_id.into(),
        n.into(),
        account_id.into(),
        posting.side.as_str().into(),
        stored(posting.units).into(),
    ];
    let mut full = values.clone();
    full.extend([version.into(), balance_after.into()]);
    execute(
        unit.db(),
        "INSERT INTO posting (transfer_id, n, account_id, side, amount, account_version,
            balance_after) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        full,
    )
    .await?;
    if !guarded {
        execute(
            unit.db(),
            "INSERT INTO ledger_tail (transfer_id, n, account_id, side, amount)
             VALUES ($1, $2, $3, $4, $5)",
            values,
        )
        .await?;
    }
    Ok(())
}

/// Moves a balance row from the version it was read at; a row that moved meanwhile is a conflict.
pub async fn write_balance(unit: &UnitOfWork, balance: &Balance) -> Result<()> {
    let changed = execute(
        unit.db(),
        "UPDATE balance SET posted = $3, held = $4, pending = $5, version = version + 1
         WHERE account_id = $1 AND version = $2",
        vec![
            balance.account_id.into(),
            balance.version.into(),
            stored(balance.posted).into(),
            stored(balance.held).into(),
            stored(balance.pending).into(),
        ],
    )
    .await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict("balance moved".to_owned())) }
}

/// A merchant's balances, per asset that has one.
pub async fn merchant_balances(
    db: &Db,
    merchant_id: Uuid,
) -> Result<BTreeMap<Asset, MerchantBalance>> {
    let rows: Vec<AssetBalanceRow> = all(
        db.reader(),
        "SELECT a.asset, b.posted, b.held, b.pending FROM account a
         JOIN balance b ON b.account_id = a.id WHERE a.owner = $1 AND a.kind = $2",
        vec![merchant_id.into(), AccountKind::MerchantAvailable.as_str().into()],
    )
    .await?;
    rows.into_iter()
        .map(|row| {
            let asset = super::known(row.asset.parse().ok(), "asset", &row.asset)?;
            let (posted, held) = (units(&row.posted)?, units(&row.held)?);
            let available = posted
                .checked_sub(held)
                .ok_or_else(|| StoreError::Corrupt("more held than posted".to_owned()))?;
            Ok((asset, MerchantBalance { available, held, pending: units(&row.pending)? }))
        })
        .collect()
}

/// Folds the oldest tail rows into their accounts' snapshots. Returns how many.
pub async fn fold(db: &Db) -> Result<u64> {
    let waiting: Option<IdRow> =
        one(db.reader(), "SELECT transfer_id AS id FROM ledger_tail LIMIT 1", vec![]).await?;
    if waiting.is_none() {
        return Ok(0);
    }
    let unit = db.begin("fold").await?;
    let skip = if db.is_sqlite() { "" } else { " FOR UPDATE SKIP LOCKED" };
    let rows: Vec<TailRow> = all(
        unit.db(),
        &format!(
            "SELECT transfer_id, n, account_id, side, amount FROM ledger_tail
             ORDER BY account_id, transfer_id, n LIMIT $1{skip}"
        ),
        vec![FOLDED_ROWS_MAX.into()],
    )
    .await?;
    let mut sums: BTreeMap<Uuid, (u128, u128)> = BTreeMap::new();
    for row in &rows {
        let amount = units(&row.amount)?;
        let sum = sums.entry(row.account_id).or_default();
        let side = if row.side == Side::Debit.as_str() { &mut sum.0 } else { &mut sum.1 };
        *side = side
            .checked_add(amount)
            .ok_or_else(|| StoreError::Corrupt("snapshot overflows".to_owned()))?;
        execute(
            unit.db(),
            "DELETE FROM ledger_tail WHERE transfer_id = $1 AND n = $2",
            vec![row.transfer_id.into(), row.n.into()],
        )
        .await?;
    }
    for (account_id, sum) in sums {
        add_to_snapshot(&unit, account_id, sum).await?;
    }
    unit.commit().await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

async fn add_to_snapshot(unit: &UnitOfWork, account_id: Uuid, sum: (u128, u128)) -> Result<()> {
    let zero = stored(0);
    execute(
        unit.db(),
        "INSERT INTO account_snapshot (account_id, debits, credits, cut) VALUES ($1, $2, $2, 0)
         ON CONFLICT (account_id) DO NOTHING",
        vec![account_id.into(), zero.into()],
    )
    .await?;
    let row: Option<SnapshotRow> = one(
        unit.db(),
        "SELECT debits, credits, cut FROM account_snapshot WHERE account_id = $1",
        vec![account_id.into()],
    )
    .await?;
    let row = row.ok_or_else(|| StoreError::Corrupt("snapshot vanished".to_owned()))?;
    let add = |text: &str, more: u128| -> Result<String> {
        let total = units(text)?.checked_add(more);
        total.map(stored).ok_or_else(|| StoreError::Corrupt("snapshot overflows".to_owned()))
    };
    let changed = execute(
        unit.db(),
        "UPDATE account_snapshot SET debits = $2, credits = $3, cut = cut + 1
         WHERE account_id = $1 AND cut = $4",
        vec![
            account_id.into(),
            add(&row.debits, sum.0)?.into(),
            add(&row.credits, sum.1)?.into(),
            row.cut.into(),
        ],
    )
    .await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict("snapshot moved".to_owned())) }
}
