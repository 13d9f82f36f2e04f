//! The transfers of one unit of work: the accounts they touch are read once, moved in memory in the
//! order of the transfers, and written by a few statements, however many transfers there are. Not
//! here: which postings a transfer has (`domain::ledger`), reading balances for people (`ledger`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::row_set::{self, Column, Kind};
use super::{Result, StoreError, UnitOfWork, all, execute, known, places, units};
use crate::domain::amount::stored;
use crate::domain::asset::Asset;
use crate::domain::ledger::{AccountKey, AccountKind, HOUSE, Posting, TransferKind, sums_to_zero};
use crate::domain::time::Micros;
use crate::env::Env;

/// Ids bound by one statement.
const IDS_PER_STATEMENT_MAX: usize = 500;

const ACCOUNT_COLUMNS: [Column; 4] =
    [("id", Kind::Id), ("owner", Kind::HouseOrId), ("asset", Kind::Text), ("kind", Kind::Text)];
const BALANCE_COLUMNS: [Column; 5] = [
    ("account_id", Kind::Id),
    ("posted", Kind::Text),
    ("held", Kind::Text),
    ("pending", Kind::Text),
    ("version", Kind::Number),
];
const MOVED_COLUMNS: [Column; 5] = [
    ("moved_id", Kind::Id),
    ("read_version", Kind::Number),
    ("new_posted", Kind::Text),
    ("new_pending", Kind::Text),
    ("new_version", Kind::Number),
];
const TRANSFER_COLUMNS: [Column; 6] = [
    ("id", Kind::Id),
    ("kind", Kind::Text),
    ("ref_id", Kind::Id),
    ("generation", Kind::Number),
    ("asset", Kind::Text),
    ("created_at", Kind::Number),
];
const POSTING_COLUMNS: [Column; 7] = [
    ("transfer_id", Kind::Id),
    ("n", Kind::Number),
    ("account_id", Kind::Id),
    ("side", Kind::Text),
    ("amount", Kind::Text),
    ("account_version", Kind::OptionalNumber),
    ("balance_after", Kind::OptionalText),
];
/// The first columns of [`POSTING_COLUMNS`]: a line of the tail.
const TAIL_COLUMNS: usize = 5;

/// What a transfer is: doing it again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransferKey {
    /// Why.
    pub kind: TransferKind,
    /// What it is about, e.g. the deposit.
    pub ref_id: Uuid,
    /// Which time, if it can happen again.
    pub generation: i64,
}

/// A guarded account as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// What was posted, on the account's normal side.
    pub posted: u128,
    /// Held by open withdrawals.
    pub held: u128,
    /// Seen and not yet credited; outside the ledger.
    pub pending: u128,
}

/// A guarded account's row, as it was read and as it is now.
#[derive(Debug, Clone, Copy, Default)]
struct Guarded {
    now: Balance,
    version: i64,
    /// The version it was read at; none if its row is still to be made.
    read_at: Option<i64>,
}

/// The transfers of a unit of work in one asset.
pub struct Journal {
    asset: Asset,
    at: Micros,
    accounts: BTreeMap<AccountKey, Uuid>,
    guarded: BTreeMap<AccountKey, Guarded>,
    new_accounts: Vec<AccountKey>,
    /// Transfers that are in the ledger, and whether they touch suspense.
    past: HashMap<TransferKey, bool>,
    transfers: Vec<Vec<sea_orm::Value>>,
    postings: Vec<Vec<sea_orm::Value>>,
    tail: Vec<Vec<sea_orm::Value>>,
}

#[derive(FromQueryResult)]
struct AccountRow {
    id: Uuid,
    owner: Uuid,
    kind: String,
    posted: Option<String>,
    held: Option<String>,
    pending: Option<String>,
    version: Option<i64>,
}

#[derive(FromQueryResult)]
struct PastRow {
    kind: String,
    ref_id: Uuid,
    generation: i64,
    suspended: i64,
}

impl Journal {
    /// Reads the accounts of these merchants and of the house in `asset`, and the transfers there are
    /// about `refs`. What is posted counts as made at `at` (business time).
    pub async fn open(
        unit: &UnitOfWork,
        asset: Asset,
        merchants: &BTreeSet<Uuid>,
        refs: &[Uuid],
        at: Micros,
    ) -> Result<Self> {
        let mut journal = Self {
            asset,
            at,
            accounts: BTreeMap::new(),
            guarded: BTreeMap::new(),
            new_accounts: Vec::new(),
            past: past(unit, refs).await?,
            transfers: Vec::new(),
            postings: Vec::new(),
            tail: Vec::new(),
        };
        let owners: Vec<Uuid> = std::iter::once(HOUSE).chain(merchants.iter().copied()).collect();
        for chunk in owners.chunks(IDS_PER_STATEMENT_MAX) {
            let sql = format!(
                "SELECT a.id, a.owner, a.kind, b.posted, b.held, b.pending, b.version
                 FROM account a LEFT JOIN balance b ON b.account_id = a.id
                 WHERE a.asset = $1 AND a.owner IN ({})",
                places(chunk.len(), 1)
            );
            let mut values = vec![asset.as_str().into()];
            values.extend(chunk.iter().map(|owner| (*owner).into()));
            for row in all::<AccountRow, _>(unit.db(), &sql, values).await? {
                journal.take(row)?;
            }
        }
        Ok(journal)
    }

    fn take(&mut self, row: AccountRow) -> Result<()> {
        let kind = known(AccountKind::parse(&row.kind), "kind of account", &row.kind)?;
        let key = AccountKey { owner: row.owner, asset: self.asset, kind };
        self.accounts.insert(key, row.id);
        if let (Some(posted), Some(held), Some(pending), Some(version)) =
            (row.posted, row.held, row.pending, row.version)
        {
            let now =
                Balance { posted: units(&posted)?, held: units(&held)?, pending: units(&pending)? };
            self.guarded.insert(key, Guarded { now, version, read_at: Some(version) });
        } else if kind.is_guarded() {
            return Err(StoreError::Corrupt(format!("account {} has no balance row", row.id)));
        }
        Ok(())
    }

    /// A merchant's account of a kind, with everything that was posted here.
    pub fn balance(&self, owner: Uuid, kind: AccountKind) -> Balance {
        let key = AccountKey { owner, asset: self.asset, kind };
        self.guarded.get(&key).map_or_else(Balance::default, |guarded| guarded.now)
    }

    /// Whether a transfer that was made before has a posting on the house's suspense account.
    pub fn was_suspended(&self, transfer: TransferKey) -> bool {
        self.past.get(&transfer).copied().unwrap_or_default()
    }

    /// Adds a transfer. One that is in the ledger already changes nothing.
    ///
    /// # Errors
    /// When it does not balance, or would overdraw a guarded account.
    pub fn post(&mut self, env: &Env, key: TransferKey, postings: &[Posting]) -> Result<()> {
        if self.past.contains_key(&key) {
            return Ok(());
        }
        let one_asset = postings.iter().all(|posting| posting.account.asset == self.asset);
        if !one_asset || !sums_to_zero(postings) {
            return Err(StoreError::Corrupt("transfer does not balance".to_owned()));
        }
        let id = env.new_id();
        self.transfers.push(vec![
            id.into(),
            key.kind.as_str().into(),
            key.ref_id.into(),
            key.generation.into(),
            self.asset.as_str().into(),
            self.at.0.into(),
        ]);
        for (n, posting) in (0_i64..).zip(postings) {
            self.add_posting(env, id, n, posting)?;
        }
        let suspended = postings.iter().any(|p| p.account.kind == AccountKind::Suspense);
        self.past.insert(key, suspended);
        Ok(())
    }

    fn add_posting(&mut self, env: &Env, transfer: Uuid, n: i64, posting: &Posting) -> Result<()> {
        let account_id = self.account(env, posting.account);
        let mut row = vec![
            transfer.into(),
            n.into(),
            account_id.into(),
            posting.side.as_str().into(),
            stored(posting.units).into(),
        ];
        if posting.account.kind.is_guarded() {
            let guarded = self.guarded.entry(posting.account).or_default();
            let grows = posting.side == posting.account.kind.normal_side();
            guarded.now.posted = moved(guarded.now.posted, posting.units, grows)
                .ok_or_else(|| StoreError::Corrupt("balance overdrawn".to_owned()))?;
            guarded.version += 1;
            row.extend([guarded.version.into(), stored(guarded.now.posted).into()]);
        } else {
            self.tail.push(row.clone());
            row.extend([0_i64.into(), "".into()]);
        }
        self.postings.push(row);
        Ok(())
    }

    /// Moves what a merchant was seen to be paid and is not credited yet.
    ///
    /// # Errors
    /// When less than nothing would be left.
    pub fn move_pending(&mut self, env: &Env, owner: Uuid, plus: u128, minus: u128) -> Result<()> {
        let key = AccountKey { owner, asset: self.asset, kind: AccountKind::MerchantAvailable };
        self.account(env, key);
        let guarded = self.guarded.entry(key).or_default();
        guarded.now.pending = moved(guarded.now.pending, plus, true)
            .and_then(|pending| moved(pending, minus, false))
            .ok_or_else(|| StoreError::Corrupt("pending below zero".to_owned()))?;
        guarded.version += 1;
        Ok(())
    }

    /// The account's row, which is made with the rest if there is none.
    fn account(&mut self, env: &Env, key: AccountKey) -> Uuid {
        *self.accounts.entry(key).or_insert_with(|| {
            self.new_accounts.push(key);
            env.new_id()
        })
    }

    /// Writes everything down. A balance that moved since it was read is a conflict.
    pub async fn write(mut self, unit: &UnitOfWork) -> Result<()> {
        self.write_accounts(unit).await?;
        let (transfers, postings) =
            (std::mem::take(&mut self.transfers), std::mem::take(&mut self.postings));
        insert(unit, "transfer", &TRANSFER_COLUMNS, transfers).await?;
        insert(unit, "posting", &POSTING_COLUMNS, postings).await?;
        let tail = std::mem::take(&mut self.tail);
        insert(unit, "ledger_tail", &POSTING_COLUMNS[..TAIL_COLUMNS], tail).await?;
        self.write_balances(unit).await
    }

    async fn write_accounts(&self, unit: &UnitOfWork) -> Result<()> {
        let row = |key: &AccountKey| {
            let (asset, kind) = (key.asset.as_str(), key.kind.as_str());
            vec![self.accounts[key].into(), key.owner.into(), asset.into(), kind.into()]
        };
        let rows: Vec<_> = self.new_accounts.iter().map(row).collect();
        let mut missing = rows.len() as u64;
        for source in row_set::sources(unit.backend(), &ACCOUNT_COLUMNS, &[], rows) {
            let sql = format!(
                "INSERT INTO account (id, owner, asset, kind) {} {}",
                source.sql, "ON CONFLICT (owner, asset, kind) DO NOTHING"
            );
            missing -= execute(unit.db(), &sql, source.values).await?;
        }
        if missing == 0 { Ok(()) } else { Err(StoreError::Conflict("account appeared".to_owned())) }
    }

    async fn write_balances(&self, unit: &UnitOfWork) -> Result<()> {
        let (mut new, mut changed) = (Vec::new(), BTreeMap::new());
        for (key, guarded) in &self.guarded {
            let (id, now) = (self.accounts[key], guarded.now);
            let version = guarded.version;
            let (posted, pending) = (stored(now.posted).into(), stored(now.pending).into());
            match guarded.read_at {
                None => {
                    new.push(vec![
                        id.into(),
                        posted,
                        stored(now.held).into(),
                        pending,
                        version.into(),
                    ]);
                }
                Some(read_at) if read_at != version => {
                    let row = vec![id.into(), read_at.into(), posted, pending, version.into()];
                    changed.insert(id, row);
                }
                Some(_) => {}
            }
        }
        insert(unit, "balance", &BALANCE_COLUMNS, new).await?;
        let mut unmoved = changed.len() as u64;
        let rows = changed.into_values().collect();
        for source in row_set::sources(unit.backend(), &MOVED_COLUMNS, &[], rows) {
            let sql = format!(
                "WITH v (moved_id, read_version, new_posted, new_pending, new_version) AS ({})
                 UPDATE balance SET posted = v.new_posted, pending = v.new_pending,
                    version = v.new_version
                 FROM v WHERE account_id = v.moved_id AND version = v.read_version",
                source.sql
            );
            unmoved -= execute(unit.db(), &sql, source.values).await?;
        }
        if unmoved == 0 { Ok(()) } else { Err(StoreError::Conflict("balance moved".to_owned())) }
    }
}

/// The transfers there are about deposits.
async fn past(unit: &UnitOfWork, refs: &[Uuid]) -> Result<HashMap<TransferKey, bool>> {
    let mut past = HashMap::new();
    for chunk in refs.chunks(IDS_PER_STATEMENT_MAX) {
        let sql = format!(
            "SELECT t.kind, t.ref_id, t.generation,
                CAST(MAX(CASE WHEN a.kind = $1 THEN 1 ELSE 0 END) AS BIGINT) AS suspended
             FROM transfer t JOIN posting p ON p.transfer_id = t.id
             JOIN account a ON a.id = p.account_id
             WHERE t.kind IN ({}) AND t.ref_id IN ({})
             GROUP BY t.kind, t.ref_id, t.generation",
            places(TransferKind::ALL.len(), 1),
            places(chunk.len(), 1 + TransferKind::ALL.len())
        );
        let mut values = vec![AccountKind::Suspense.as_str().into()];
        values.extend(TransferKind::ALL.map(|kind| kind.as_str().into()));
        values.extend(chunk.iter().map(|id| (*id).into()));
        for row in all::<PastRow, _>(unit.db(), &sql, values).await? {
            let kind = known(TransferKind::parse(&row.kind), "kind of transfer", &row.kind)?;
            let key = TransferKey { kind, ref_id: row.ref_id, generation: row.generation };
            past.insert(key, row.suspended != 0);
        }
    }
    Ok(past)
}

async fn insert(
    unit: &UnitOfWork,
    table: &str,
    columns: &[Column],
    rows: Vec<Vec<sea_orm::Value>>,
) -> Result<()> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    for source in row_set::sources(unit.backend(), columns, &[], rows) {
        let sql = format!("INSERT INTO {table} ({}) {}", names.join(", "), source.sql);
        execute(unit.db(), &sql, source.values).await?;
    }
    Ok(())
}

const fn moved(from: u128, by: u128, grows: bool) -> Option<u128> {
    if grows { from.checked_add(by) } else { from.checked_sub(by) }
}
