//! Reading a merchant's ledger entries: the postings of its guarded accounts, each account by its own
//! version, which is the order in which it moved. Not here: writing them (`ledger`), putting the
//! accounts' entries into one list (`usecase::list_ledger_entries`).

use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::invoices::COUNTED_MAX;
use super::{Db, Result, StoreError, all, known, one, places, units};
use crate::domain::asset::Asset;
use crate::domain::ledger::{AccountKind, TransferKind};
use crate::domain::time::Micros;

/// The accounts whose entries a merchant sees.
const KINDS: [AccountKind; 2] = [AccountKind::MerchantAvailable, AccountKind::MerchantReceivable];

/// An account of a merchant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its row.
    pub id: Uuid,
    /// What it counts.
    pub asset: Asset,
    /// What it is for.
    pub kind: AccountKind,
}

/// One movement of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account: Account,
    /// The account's version after it.
    pub version: i64,
    /// The transfer that it is a line of.
    pub transfer_id: Uuid,
    /// Which line.
    pub line: i64,
    /// Why it moved.
    pub why: TransferKind,
    /// Whether the account's balance grew.
    pub grows: bool,
    /// By how much, base units.
    pub units: u128,
    /// The account's balance after it, base units.
    pub balance_after: u128,
    /// The invoice of the deposit that it is about, or that an unexpected one was assigned to.
    pub invoice_id: Option<Uuid>,
    /// The transaction of that deposit.
    pub txid: Option<String>,
    /// When it was booked.
    pub at: Micros,
}

#[derive(FromQueryResult)]
struct AccountRow {
    id: Uuid,
    asset: String,
    kind: String,
}

#[derive(FromQueryResult)]
struct EntryRow {
    account_id: Uuid,
    account_version: i64,
    transfer_id: Uuid,
    n: i64,
    side: String,
    amount: String,
    balance_after: Option<String>,
    kind: String,
    created_at: i64,
    invoice_id: Option<Uuid>,
    txid: Option<String>,
}

#[derive(FromQueryResult)]
struct CountRow {
    total: i64,
}

/// The accounts of a merchant that have entries to show, of one asset or of all.
pub async fn accounts(db: &Db, merchant_id: Uuid, asset: Option<Asset>) -> Result<Vec<Account>> {
    let mut values: Vec<Value> = vec![merchant_id.into()];
    values.extend(KINDS.map(|kind| Value::from(kind.as_str())));
    let mut sql = format!(
        "SELECT id, asset, kind FROM account WHERE owner = $1 AND kind IN ({})",
        places(KINDS.len(), 1)
    );
    if let Some(asset) = asset {
        values.push(asset.as_str().into());
        sql.push_str(&format!(" AND asset = ${}", values.len()));
    }
    let rows: Vec<AccountRow> = all(db.reader(), &format!("{sql} ORDER BY id"), values).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Account {
                id: row.id,
                asset: known(row.asset.parse().ok(), "asset", &row.asset)?,
                kind: known(AccountKind::parse(&row.kind), "account", &row.kind)?,
            })
        })
        .collect()
}

/// The newest entries of each account below a version of it, at most `limit` of each account, an
/// account's in the order of its versions from the newest.
pub async fn below(db: &Db, bounds: &[(Account, i64)], limit: u32) -> Result<Vec<Entry>> {
    if bounds.is_empty() {
        return Ok(Vec::new());
    }
    let (mut parts, mut values) = (Vec::new(), Vec::<Value>::new());
    for (n, (account, version)) in bounds.iter().enumerate() {
        values.extend([account.id.into(), (*version).into()]);
        // Each account by its own index: no list gets slower with its length or its depth.
        parts.push(format!(
            "SELECT * FROM (SELECT p.account_id, p.account_version, p.transfer_id, p.n, p.side,
                p.amount, p.balance_after, t.kind, t.created_at,
                COALESCE(d.invoice_id, u.assigned_invoice_id) AS invoice_id,
                COALESCE(d.txid, u.txid) AS txid
             FROM posting p JOIN transfer t ON t.id = p.transfer_id
             LEFT JOIN deposit d ON d.id = t.ref_id
             LEFT JOIN unexpected_deposit u ON u.id = t.ref_id
             WHERE p.account_id = ${} AND p.account_version < ${}
             ORDER BY p.account_version DESC LIMIT {limit}) AS account_{n}",
            2 * n + 1,
            2 * n + 2
        ));
    }
    let rows: Vec<EntryRow> = all(db.reader(), &parts.join(" UNION ALL "), values).await?;
    let find = |id: Uuid| bounds.iter().map(|(account, _)| account).find(|a| a.id == id).copied();
    let mut entries = rows
        .into_iter()
        .map(|row| {
            let account = find(row.account_id);
            row.read(account.ok_or_else(|| StoreError::Corrupt("account moved".to_owned()))?)
        })
        .collect::<Result<Vec<Entry>>>()?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.version));
    Ok(entries)
}

impl EntryRow {
    fn read(self, account: Account) -> Result<Entry> {
        let after = self.balance_after.ok_or_else(|| {
            StoreError::Corrupt(format!("posting of {} has no balance", self.transfer_id))
        })?;
        Ok(Entry {
            account,
            version: self.account_version,
            transfer_id: self.transfer_id,
            line: self.n,
            why: known(TransferKind::parse(&self.kind), "transfer", &self.kind)?,
            grows: self.side == account.kind.normal_side().as_str(),
            units: units(&self.amount)?,
            balance_after: units(&after)?,
            invoice_id: self.invoice_id,
            txid: self.txid,
            at: Micros(self.created_at),
        })
    }
}

/// How many entries these accounts have, counted to [`COUNTED_MAX`].
pub async fn count(db: &Db, accounts: &[Account]) -> Result<u32> {
    if accounts.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT COUNT(*) AS total FROM (SELECT 1 AS one FROM posting
            WHERE account_id IN ({}) LIMIT {COUNTED_MAX}) AS counted",
        places(accounts.len(), 0)
    );
    let values = accounts.iter().map(|account| account.id.into()).collect();
    let row: Option<CountRow> = one(db.reader(), &sql, values).await?;
    Ok(row.and_then(|row| u32::try_from(row.total).ok()).unwrap_or(0))
}
