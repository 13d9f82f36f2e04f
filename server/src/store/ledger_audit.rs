//! What an audit of the books reads: rows as they are stored, batch by batch, all from one snapshot of
//! the database, so that a server that goes on working does not look damaged. Changes nothing. Not
//! here: what the rows must add up to (`domain::books`).

use sea_orm::{
    AccessMode, DatabaseTransaction, FromQueryResult, IsolationLevel, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use uuid::Uuid;

use super::{Db, Result, all, audit, one};
use crate::domain::books::{Account, Booking, Deposited, Entry, Line};

/// Rows of damage that one query returns: enough to see what is wrong.
const DAMAGE_ROWS_MAX: i64 = 1_000;

/// The database at one moment.
pub struct Snapshot {
    transaction: DatabaseTransaction,
}

/// How many rows there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Counts {
    /// Postings.
    pub postings: i64,
    /// Rows that are not folded yet.
    pub tail: i64,
    /// Deposits.
    pub deposits: i64,
    /// Accounts.
    pub accounts: i64,
    /// Lines of the operator's log.
    pub operator_lines: i64,
}

#[derive(FromQueryResult)]
struct LineRow {
    transfer_id: Uuid,
    n: i64,
    account_id: Uuid,
    side: String,
    amount: String,
    account_version: Option<i64>,
    transfer_asset: Option<String>,
    account_asset: Option<String>,
}

#[derive(FromQueryResult)]
struct EntryRow {
    account_id: Uuid,
    kind: String,
    account_version: i64,
    side: String,
    amount: String,
    balance_after: Option<String>,
}

#[derive(FromQueryResult)]
struct AccountRow {
    id: Uuid,
    owner: Uuid,
    asset: String,
    kind: String,
    posted: Option<String>,
    held: Option<String>,
    pending: Option<String>,
    version: Option<i64>,
    debits: Option<String>,
    credits: Option<String>,
}

#[derive(FromQueryResult)]
struct DepositRow {
    id: Uuid,
    amount: String,
    asset: String,
    credited: bool,
    counted_pending: bool,
    merchant_id: Option<Uuid>,
}

#[derive(FromQueryResult)]
struct BookingRow {
    deposit_id: Uuid,
    kind: String,
    side: String,
    amount: String,
}

/// A row of the tail.
#[derive(Debug, Clone, FromQueryResult)]
pub struct TailLine {
    /// The transfer.
    pub transfer_id: Uuid,
    /// Which line of it.
    pub n: i64,
    /// The account.
    pub account_id: Uuid,
    /// `debit` or `credit`.
    pub side: String,
    /// Digits.
    pub amount: String,
}

/// A version that several postings of one account have.
#[derive(Debug, Clone, FromQueryResult)]
pub struct VersionTwice {
    /// The account.
    pub account_id: Uuid,
    /// The version.
    pub account_version: i64,
    /// How many postings have it.
    pub times: i64,
}

#[derive(FromQueryResult)]
struct IdRow {
    id: Uuid,
}

impl Snapshot {
    /// Takes the snapshot. It is given back by dropping it.
    pub async fn begin(db: &Db) -> Result<Self> {
        // SQLite has no such settings: a deferred transaction reads one snapshot by itself.
        let options = if db.is_sqlite() {
            TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..Default::default()
            }
        } else {
            TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..Default::default()
            }
        };
        Ok(Self { transaction: db.reader().begin_with_options(options).await? })
    }

    /// How much there is to read.
    pub async fn counts(&self) -> Result<Counts> {
        let row: Option<Counts> = one(
            &self.transaction,
            "SELECT (SELECT COUNT(*) FROM posting) AS postings,
                    (SELECT COUNT(*) FROM ledger_tail) AS tail,
                    (SELECT COUNT(*) FROM deposit) + (SELECT COUNT(*) FROM unexpected_deposit)
                        AS deposits,
                    (SELECT COUNT(*) FROM account) AS accounts,
                    (SELECT COUNT(*) FROM audit_log) AS operator_lines",
            vec![],
        )
        .await?;
        row.ok_or_else(|| super::StoreError::Corrupt("nothing can be counted".to_owned()))
    }

    /// The postings after `(transfer, line)`, in the order of transfers.
    pub async fn lines(&self, after: (Uuid, i64), limit: i64) -> Result<Vec<Line>> {
        let rows: Vec<LineRow> = all(
            &self.transaction,
            "SELECT p.transfer_id, p.n, p.account_id, p.side, p.amount, p.account_version,
                    t.asset AS transfer_asset, a.asset AS account_asset
             FROM posting p LEFT JOIN transfer t ON t.id = p.transfer_id
             LEFT JOIN account a ON a.id = p.account_id
             WHERE (p.transfer_id, p.n) > ($1, $2)
             ORDER BY p.transfer_id, p.n LIMIT $3",
            vec![after.0.into(), after.1.into(), limit.into()],
        )
        .await?;
        Ok(rows.into_iter().map(LineRow::read).collect())
    }

    /// Transfers without postings.
    pub async fn empty_transfers(&self) -> Result<Vec<Uuid>> {
        self.ids(
            "SELECT t.id FROM transfer t
             WHERE NOT EXISTS (SELECT 1 FROM posting p WHERE p.transfer_id = t.id) LIMIT $1",
        )
        .await
    }

    /// Versions that several postings of one account have.
    pub async fn versions_twice(&self) -> Result<Vec<VersionTwice>> {
        all(
            &self.transaction,
            "SELECT account_id, account_version, COUNT(*) AS times FROM posting
             WHERE account_version IS NOT NULL GROUP BY account_id, account_version
             HAVING COUNT(*) > 1 LIMIT $1",
            vec![DAMAGE_ROWS_MAX.into()],
        )
        .await
    }

    /// The postings to guarded accounts after `(account, version)`, in this order.
    pub async fn entries(&self, after: (Uuid, i64), limit: i64) -> Result<Vec<Entry>> {
        let rows: Vec<EntryRow> = all(
            &self.transaction,
            "SELECT p.account_id, a.kind, p.account_version, p.side, p.amount, p.balance_after
             FROM posting p JOIN account a ON a.id = p.account_id
             WHERE p.account_version IS NOT NULL AND (p.account_id, p.account_version) > ($1, $2)
             ORDER BY p.account_id, p.account_version LIMIT $3",
            vec![after.0.into(), after.1.into(), limit.into()],
        )
        .await?;
        Ok(rows.into_iter().map(EntryRow::read).collect())
    }

    /// The rows after `(transfer, line)` that are not folded yet.
    pub async fn tail(&self, after: (Uuid, i64), limit: i64) -> Result<Vec<TailLine>> {
        all(
            &self.transaction,
            "SELECT transfer_id, n, account_id, side, amount FROM ledger_tail
             WHERE (transfer_id, n) > ($1, $2) ORDER BY transfer_id, n LIMIT $3",
            vec![after.0.into(), after.1.into(), limit.into()],
        )
        .await
    }

    /// The deposits after `after`, by id, unexpected ones among them: one that was assigned is credited.
    pub async fn deposits(&self, after: Uuid, limit: i64) -> Result<Vec<Deposited>> {
        let rows: Vec<DepositRow> = all(
            &self.transaction,
            "SELECT d.id, d.amount, d.asset, d.credited, d.counted_pending, i.merchant_id
             FROM deposit d LEFT JOIN invoice i ON i.id = d.invoice_id WHERE d.id > $1
             UNION ALL
             SELECT u.id, u.amount, u.coin, u.state = 'assigned', FALSE, NULL
             FROM unexpected_deposit u WHERE u.id > $1
             ORDER BY id LIMIT $2",
            vec![after.into(), limit.into()],
        )
        .await?;
        Ok(rows.into_iter().map(DepositRow::read).collect())
    }

    /// The postings to custody about deposits from `first` to `last`, by the deposit's id.
    pub async fn bookings(&self, first: Uuid, last: Uuid) -> Result<Vec<Booking>> {
        let rows: Vec<BookingRow> = all(
            &self.transaction,
            "SELECT t.ref_id AS deposit_id, t.kind, p.side, p.amount FROM transfer t
             JOIN posting p ON p.transfer_id = t.id JOIN account a ON a.id = p.account_id
             WHERE t.kind IN ('deposit', 'deposit_reversal', 'unexpected_deposit')
               AND a.kind = 'deposit_custody'
               AND t.ref_id >= $1 AND t.ref_id <= $2",
            vec![first.into(), last.into()],
        )
        .await?;
        Ok(rows.into_iter().map(BookingRow::read).collect())
    }

    /// Transfers about deposits that do not exist.
    pub async fn transfers_without_deposit(&self) -> Result<Vec<Uuid>> {
        self.ids(
            "SELECT t.id FROM transfer t WHERE (t.kind IN ('deposit', 'deposit_reversal')
               AND NOT EXISTS (SELECT 1 FROM deposit d WHERE d.id = t.ref_id))
               OR (t.kind = 'unexpected_deposit'
               AND NOT EXISTS (SELECT 1 FROM unexpected_deposit u WHERE u.id = t.ref_id)) LIMIT $1",
        )
        .await
    }

    /// The accounts after `after`, by id, with what is derived from their postings.
    pub async fn accounts(&self, after: Uuid, limit: i64) -> Result<Vec<Account>> {
        let rows: Vec<AccountRow> = all(
            &self.transaction,
            "SELECT a.id, a.owner, a.asset, a.kind, b.posted, b.held, b.pending, b.version,
                    s.debits, s.credits
             FROM account a LEFT JOIN balance b ON b.account_id = a.id
             LEFT JOIN account_snapshot s ON s.account_id = a.id
             WHERE a.id > $1 ORDER BY a.id LIMIT $2",
            vec![after.into(), limit.into()],
        )
        .await?;
        Ok(rows.into_iter().map(AccountRow::read).collect())
    }

    /// The next lines of the operator's log behind `after`, and the first of them that does not
    /// follow from the line before it.
    pub async fn operator_lines(
        &self,
        after: &audit::Link,
        limit: i64,
    ) -> Result<(Vec<audit::Link>, Option<i64>)> {
        audit::follow(&self.transaction, after, limit).await
    }

    async fn ids(&self, sql: &str) -> Result<Vec<Uuid>> {
        let rows: Vec<IdRow> = all(&self.transaction, sql, vec![DAMAGE_ROWS_MAX.into()]).await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }
}

impl LineRow {
    fn read(self) -> Line {
        Line {
            transfer_id: self.transfer_id,
            n: self.n,
            account_id: self.account_id,
            side: self.side,
            amount: self.amount,
            account_version: self.account_version,
            transfer_asset: self.transfer_asset,
            account_asset: self.account_asset,
        }
    }
}

impl EntryRow {
    fn read(self) -> Entry {
        Entry {
            account_id: self.account_id,
            kind: self.kind,
            version: self.account_version,
            side: self.side,
            amount: self.amount,
            balance_after: self.balance_after,
        }
    }
}

impl AccountRow {
    fn read(self) -> Account {
        let balance = match (self.posted, self.held, self.pending, self.version) {
            (Some(posted), Some(held), Some(pending), Some(version)) => {
                Some((posted, held, pending, version))
            }
            _ => None,
        };
        Account {
            id: self.id,
            owner: self.owner,
            asset: self.asset,
            kind: self.kind,
            balance,
            snapshot: self.debits.zip(self.credits),
        }
    }
}

impl DepositRow {
    fn read(self) -> Deposited {
        Deposited {
            id: self.id,
            amount: self.amount,
            asset: self.asset,
            credited: self.credited,
            counted_pending: self.counted_pending,
            merchant_id: self.merchant_id,
        }
    }
}

impl BookingRow {
    fn read(self) -> Booking {
        Booking {
            deposit_id: self.deposit_id,
            kind: self.kind,
            side: self.side,
            amount: self.amount,
        }
    }
}
