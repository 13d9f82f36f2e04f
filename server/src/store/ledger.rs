//! The ledger's balances as they are read, and the tail of the house's accounts, which is folded into
//! their snapshots. Not here: writing transfers (`journal`), listing a merchant's (`ledger_entries`).

use std::collections::BTreeMap;

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{Db, Result, StoreError, UnitOfWork, all, execute, one, units};
use crate::domain::amount::stored;
use crate::domain::asset::Asset;
use crate::domain::ledger::{AccountKind, Side};

/// Tail rows folded by one unit of work.
const FOLDED_ROWS_MAX: i64 = 1_000;

const FOLDED_COLUMNS: [Column; 2] = [("folded_id", Kind::Id), ("folded_n", Kind::Number)];

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
struct AssetBalanceRow {
    asset: String,
    posted: String,
    held: String,
    pending: String,
}

#[derive(FromQueryResult)]
struct WaitingRow {
    waiting: i64,
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
    let waiting: Option<WaitingRow> = one(
        db.reader(),
        "SELECT COUNT(*) AS waiting FROM (SELECT n FROM ledger_tail LIMIT 1) AS oldest",
        vec![],
    )
    .await?;
    if waiting.is_none_or(|row| row.waiting == 0) {
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
    }
    let keys = rows.iter().map(|row| vec![row.transfer_id.into(), row.n.into()]).collect();
    for source in row_set::sources(unit.backend(), &FOLDED_COLUMNS, &[], keys) {
        let sql = format!(
            "WITH v (folded_id, folded_n) AS ({})
             DELETE FROM ledger_tail WHERE (transfer_id, n) IN (SELECT folded_id, folded_n FROM v)",
            source.sql
        );
        execute(unit.db(), &sql, source.values).await?;
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
