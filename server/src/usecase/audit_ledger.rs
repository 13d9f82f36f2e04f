//! The audit of the books: reads a snapshot of the ledger in batches and hands each row to the rules.
//! Tells as it goes how far it is and what does not add up. Not here: the rules (`domain::books`), the
//! SQL (`store::ledger_audit`).

use std::collections::HashMap;

use tokio::sync::mpsc::Sender;
use uuid::Uuid;

use crate::domain::books::{Booking, Books, Check, Finding, Totals};
use crate::domain::failure::Failure;
use crate::store::Db;
use crate::store::audit::Link;
use crate::store::ledger_audit::{Counts, Snapshot};

/// Rows read at a time.
const BATCH_ROWS: i64 = 1_000;
/// Findings that are told; more are counted.
pub const FINDINGS_MAX: u64 = 1_000;

/// What an audit tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// How far a check is.
    Progress {
        /// The check.
        check: Check,
        /// Rows read.
        done: u64,
        /// Rows there are.
        total: u64,
    },
    /// Something does not add up.
    Finding(Finding),
    /// The end.
    Summary(Summary),
}

/// What was read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Transfers.
    pub transfers: u64,
    /// Postings.
    pub postings: u64,
    /// Accounts.
    pub accounts: u64,
    /// Deposits.
    pub deposits: u64,
    /// Lines of the operator's log.
    pub operator_lines: u64,
    /// Findings, those included that were not told.
    pub findings: u64,
    /// What the postings say of each asset.
    pub totals: Vec<(String, Totals)>,
}

/// Audits the books. Returns early when nobody listens any more.
pub async fn run(db: &Db, told: Sender<Step>) -> Result<(), Failure> {
    let snapshot = Snapshot::begin(db).await?;
    let counts = snapshot.counts().await?;
    let audit =
        Audit { snapshot, counts, books: Books::default(), told, summary: Summary::default() };
    audit.run().await
}

struct Audit {
    snapshot: Snapshot,
    counts: Counts,
    books: Books,
    told: Sender<Step>,
    summary: Summary,
}

impl Audit {
    async fn run(mut self) -> Result<(), Failure> {
        self.transfers().await?;
        self.entries().await?;
        self.tail().await?;
        self.deposits().await?;
        self.accounts().await?;
        self.operator_log().await?;
        self.summary.transfers = self.books.transfers();
        let totals = self.books.totals();
        self.summary.totals = totals.iter().map(|(asset, sums)| (asset.clone(), *sums)).collect();
        let _ = self.told.send(Step::Summary(self.summary)).await;
        Ok(())
    }

    async fn transfers(&mut self) -> Result<(), Failure> {
        let mut after = (Uuid::nil(), -1);
        loop {
            let lines = self.snapshot.lines(after, BATCH_ROWS).await?;
            let Some(last) = lines.last() else { break };
            after = (last.transfer_id, last.n);
            lines.iter().for_each(|line| self.books.line(line));
            self.summary.postings += lines.len() as u64;
            let (done, total) = (self.summary.postings, self.counts.postings);
            self.tell(Check::Transfers, done, total).await?;
        }
        self.books.end_of_lines();
        for id in self.snapshot.empty_transfers().await? {
            self.books.empty_transfer(id);
        }
        for twice in self.snapshot.versions_twice().await? {
            self.books.version_twice(twice.account_id, twice.account_version, twice.times);
        }
        Ok(())
    }

    async fn entries(&mut self) -> Result<(), Failure> {
        let (mut after, mut done) = ((Uuid::nil(), -1), 0);
        loop {
            let entries = self.snapshot.entries(after, BATCH_ROWS).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = (last.account_id, last.version);
            entries.iter().for_each(|entry| self.books.entry(entry));
            done += entries.len() as u64;
            self.tell(Check::Balances, done, self.counts.postings).await?;
        }
    }

    async fn tail(&mut self) -> Result<(), Failure> {
        let (mut after, mut done) = ((Uuid::nil(), -1), 0);
        loop {
            let rows = self.snapshot.tail(after, BATCH_ROWS).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = (last.transfer_id, last.n);
            rows.iter().for_each(|row| self.books.tail(row.account_id, &row.side, &row.amount));
            done += rows.len() as u64;
            self.tell(Check::Snapshots, done, self.counts.tail).await?;
        }
    }

    async fn deposits(&mut self) -> Result<(), Failure> {
        let mut after = Uuid::nil();
        loop {
            let deposits = self.snapshot.deposits(after, BATCH_ROWS).await?;
            let (Some(first), Some(last)) = (deposits.first(), deposits.last()) else { break };
            after = last.id;
            let mut bookings: HashMap<Uuid, Vec<Booking>> = HashMap::new();
            for booking in self.snapshot.bookings(first.id, last.id).await? {
                bookings.entry(booking.deposit_id).or_default().push(booking);
            }
            for deposit in &deposits {
                let own = bookings.remove(&deposit.id).unwrap_or_default();
                self.books.deposit(deposit, &own);
            }
            self.summary.deposits += deposits.len() as u64;
            let (done, total) = (self.summary.deposits, self.counts.deposits);
            self.tell(Check::Deposits, done, total).await?;
        }
        for id in self.snapshot.transfers_without_deposit().await? {
            self.books.no_deposit(id);
        }
        Ok(())
    }

    async fn accounts(&mut self) -> Result<(), Failure> {
        let mut after = Uuid::nil();
        loop {
            let accounts = self.snapshot.accounts(after, BATCH_ROWS).await?;
            let Some(last) = accounts.last() else { break };
            after = last.id;
            accounts.iter().for_each(|account| self.books.account(account));
            self.summary.accounts += accounts.len() as u64;
            let (done, total) = (self.summary.accounts, self.counts.accounts);
            self.tell(Check::Balances, done, total).await?;
        }
        self.books.end();
        self.tell(Check::Totals, self.summary.accounts, self.counts.accounts).await
    }

    async fn operator_log(&mut self) -> Result<(), Failure> {
        let mut after = Link::default();
        loop {
            let (links, broken) = self.snapshot.operator_lines(&after, BATCH_ROWS).await?;
            self.summary.operator_lines += links.len() as u64;
            let done = self.summary.operator_lines;
            if let Some(seq) = broken {
                // Everything behind a broken line is broken with it: one finding says it.
                self.tell_finding(Finding {
                    check: Check::OperatorLog,
                    subject: format!("line {seq}"),
                    description: "was changed, or a line before it was removed".to_owned(),
                })
                .await?;
                return Ok(());
            }
            let Some(last) = links.into_iter().next_back() else { return Ok(()) };
            after = last;
            self.tell(Check::OperatorLog, done, self.counts.operator_lines).await?;
        }
    }

    /// Tells what was found since the last time, and how far the check is.
    async fn tell(&mut self, check: Check, done: u64, total: i64) -> Result<(), Failure> {
        for finding in self.books.take_findings() {
            self.tell_finding(finding).await?;
        }
        let total = u64::try_from(total).unwrap_or(0).max(done);
        self.send(Step::Progress { check, done, total }).await
    }

    async fn tell_finding(&mut self, finding: Finding) -> Result<(), Failure> {
        self.summary.findings += 1;
        let Finding { check, subject, description } = &finding;
        tracing::error!(alarm = "audit", ?check, subject, description, "the books do not add up");
        if self.summary.findings > FINDINGS_MAX {
            return Ok(());
        }
        self.send(Step::Finding(finding)).await
    }

    async fn send(&self, step: Step) -> Result<(), Failure> {
        let sent = self.told.send(step).await;
        sent.map_err(|_| Failure::internal("nobody listens to the audit any more"))
    }
}
