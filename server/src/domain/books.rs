//! The audit of the books as pure rules: rows of the ledger go in as they are stored, what does not
//! add up comes out. Shares no code with what writes the ledger: amounts are read and sums are made
//! here. Not here: reading the rows (`store::ledger_audit`), their order (`usecase::audit_ledger`).

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

/// What is held against the postings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A transfer's debits and credits are equal, above zero, of one asset.
    Transfers,
    /// A guarded balance equals its postings.
    Balances,
    /// Snapshot and tail of a house account equal its postings.
    Snapshots,
    /// A deposit is in the ledger as often as it says.
    Deposits,
    /// `pending` equals the deposits that are counted in it.
    Pending,
    /// Of each asset, what the house has equals what it owes.
    Totals,
    /// The operator's log is a whole chain.
    OperatorLog,
}

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// What it is about.
    pub subject: String,
    /// What differs.
    pub description: String,
}

/// A posting as it is stored, with what stands beside it in its transfer and account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
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
    /// The guarded account's version after it.
    pub account_version: Option<i64>,
    /// The transfer's asset; `None` if there is no such transfer.
    pub transfer_asset: Option<String>,
    /// The account's asset; `None` if there is no such account.
    pub account_asset: Option<String>,
}

/// A posting to a guarded account, with the balance that its merchant is shown after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account_id: Uuid,
    /// Its kind.
    pub kind: String,
    /// Its version after the posting.
    pub version: i64,
    /// `debit` or `credit`.
    pub side: String,
    /// Digits.
    pub amount: String,
    /// Digits.
    pub balance_after: Option<String>,
}

/// An account as it is stored, with everything that is derived from its postings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Whose it is; nil is the house.
    pub owner: Uuid,
    /// Its asset.
    pub asset: String,
    /// Its kind.
    pub kind: String,
    /// Its balance row: posted, held, pending, version.
    pub balance: Option<(String, String, String, i64)>,
    /// Its snapshot: debits, credits.
    pub snapshot: Option<(String, String)>,
}

/// A deposit, or an unexpected one, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposited {
    /// Its id.
    pub id: Uuid,
    /// Digits.
    pub amount: String,
    /// Its asset.
    pub asset: String,
    /// Whether it says that it is credited.
    pub credited: bool,
    /// Whether it says that it is part of a balance's `pending`.
    pub counted_pending: bool,
    /// The merchant of its invoice.
    pub merchant_id: Option<Uuid>,
}

/// A posting to custody of a transfer about a deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The deposit.
    pub deposit_id: Uuid,
    /// `deposit`, `deposit_reversal` or `unexpected_deposit`.
    pub kind: String,
    /// `debit` or `credit`.
    pub side: String,
    /// Digits.
    pub amount: String,
}

/// Debits and credits, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides {
    /// The sum of debits.
    pub debits: u128,
    /// The sum of credits.
    pub credits: u128,
}

/// What the postings say of one asset, base units: positive as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// On deposit addresses.
    pub custody: i128,
    /// Owed by merchants.
    pub receivable: i128,
    /// Owed to merchants.
    pub available: i128,
    /// Explained by nobody.
    pub suspense: i128,
}

/// The postings of one account.
#[derive(Debug, Clone, Copy, Default)]
struct Posted {
    sides: Sides,
    version_max: i64,
}

/// The transfer whose lines come in.
#[derive(Debug)]
struct Open {
    id: Uuid,
    sides: Sides,
}

/// The books as they grow while rows come in. Memory: one entry an account, and one a merchant and
/// asset with pending deposits.
#[derive(Debug, Default)]
pub struct Books {
    open: Option<Open>,
    /// The account whose entries come in, and its balance after the last of them.
    running: Option<(Uuid, Option<u128>)>,
    transfers: u64,
    posted: HashMap<Uuid, Posted>,
    tail: HashMap<Uuid, Sides>,
    pending: HashMap<(Uuid, String), u128>,
    totals: BTreeMap<String, Totals>,
    findings: Vec<Finding>,
}

impl Books {
    /// What was found since this was asked last.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Transfers that were read whole.
    pub fn transfers(&self) -> u64 {
        self.transfers
    }

    /// What the postings of the accounts read so far say, per asset.
    pub fn totals(&self) -> &BTreeMap<String, Totals> {
        &self.totals
    }

    fn find(&mut self, check: Check, subject: impl ToString, description: impl Into<String>) {
        let (subject, description) = (subject.to_string(), description.into());
        self.findings.push(Finding { check, subject, description });
    }

    /// Takes the next posting, in the order of transfers.
    pub fn line(&mut self, line: &Line) {
        if self.open.as_ref().is_none_or(|open| open.id != line.transfer_id) {
            self.end_of_lines();
            self.open = Some(Open { id: line.transfer_id, sides: Sides::default() });
        }
        let subject = format!("{}/{}", line.transfer_id, line.n);
        if line.transfer_asset.is_none() || line.account_asset.is_none() {
            self.find(Check::Transfers, &subject, "its transfer or account does not exist");
        } else if line.transfer_asset != line.account_asset {
            self.find(Check::Transfers, &subject, "its account is of another asset");
        }
        let Some(units) = amount(&line.amount).filter(|units| *units > 0) else {
            self.find(Check::Transfers, &subject, format!("its amount is {:?}", line.amount));
            return;
        };
        let posted = self.posted.entry(line.account_id).or_default();
        posted.version_max = posted.version_max.max(line.account_version.unwrap_or(0));
        let whole = posted.sides.add(&line.side, units)
            && self.open.as_mut().is_none_or(|open| open.sides.add(&line.side, units));
        if !whole {
            self.find(Check::Transfers, &subject, "its side is unknown, or the sum overflows");
        }
    }

    /// Closes the last transfer.
    pub fn end_of_lines(&mut self) {
        let Some(Open { id, sides: Sides { debits, credits } }) = self.open.take() else { return };
        self.transfers += 1;
        if debits != credits {
            let text = format!("debits {debits}, credits {credits}");
            self.find(Check::Transfers, id, text);
        }
    }

    /// A transfer without any posting.
    pub fn empty_transfer(&mut self, id: Uuid) {
        self.find(Check::Transfers, id, "has no postings");
    }

    /// Two postings of one account with the same version.
    pub fn version_twice(&mut self, account_id: Uuid, version: i64, times: i64) {
        let text = format!("version {version} stands at {times} postings");
        self.find(Check::Balances, account_id, text);
    }

    /// Takes the next entry, in the order of accounts and versions.
    pub fn entry(&mut self, entry: &Entry) {
        let before = match self.running {
            Some((account, balance)) if account == entry.account_id => balance,
            _ => Some(0),
        };
        let grows = if entry.kind == "merchant_receivable" { "debit" } else { "credit" };
        let after = before.zip(amount(&entry.amount)).and_then(|(before, units)| {
            if entry.side == grows { before.checked_add(units) } else { before.checked_sub(units) }
        });
        let told = entry.balance_after.as_deref().and_then(amount);
        if after.is_none() || told != after {
            let after = after.map_or_else(|| "no amount".to_owned(), |after| after.to_string());
            let told = entry.balance_after.as_deref().unwrap_or("nothing");
            let text = format!("at version {} shows {told}, is {after}", entry.version);
            self.find(Check::Balances, entry.account_id, text);
        }
        // What is shown is what the next entry goes on from: one wrong entry is one finding.
        self.running = Some((entry.account_id, told.or(after)));
    }

    /// Takes a posting that is not folded into a snapshot yet.
    pub fn tail(&mut self, account_id: Uuid, side: &str, text: &str) {
        let sides = self.tail.entry(account_id).or_default();
        if !amount(text).is_some_and(|units| sides.add(side, units)) {
            self.find(Check::Snapshots, account_id, format!("its tail holds {side} {text:?}"));
        }
    }

    /// Takes a deposit with its bookings.
    pub fn deposit(&mut self, deposit: &Deposited, bookings: &[Booking]) {
        let Some(units) = amount(&deposit.amount) else {
            let text = format!("its amount is {:?}", deposit.amount);
            return self.find(Check::Deposits, deposit.id, text);
        };
        let (mut credits, mut reversals) = (0_u64, 0_u64);
        for booking in bookings {
            let side = match booking.kind.as_str() {
                "deposit" | "unexpected_deposit" => {
                    credits += 1;
                    "debit"
                }
                _ => {
                    reversals += 1;
                    "credit"
                }
            };
            if booking.side != side || amount(&booking.amount) != Some(units) {
                let Booking { kind, side, amount, .. } = booking;
                let text = format!("is {units}, its {kind} is a {side} of {amount}");
                self.find(Check::Deposits, deposit.id, text);
            }
        }
        if credits != reversals + u64::from(deposit.credited) {
            let says = if deposit.credited { "credited" } else { "not credited" };
            let text = format!("is marked {says}; credited {credits}, reversed {reversals} times");
            self.find(Check::Deposits, deposit.id, text);
        }
        if deposit.counted_pending {
            match deposit.merchant_id {
                Some(merchant) => {
                    let sum = self.pending.entry((merchant, deposit.asset.clone())).or_default();
                    *sum = sum.saturating_add(units);
                }
                None => self.find(Check::Pending, deposit.id, "is pending for no merchant"),
            }
        }
    }

    /// A transfer about a deposit that does not exist.
    pub fn no_deposit(&mut self, transfer_id: Uuid) {
        self.find(Check::Deposits, transfer_id, "is about a deposit that does not exist");
    }

    /// Takes an account, after every posting, tail row and deposit.
    pub fn account(&mut self, account: &Account) {
        let posted = self.posted.remove(&account.id).unwrap_or_default();
        let tail = self.tail.remove(&account.id).unwrap_or_default();
        let Sides { debits, credits } = posted.sides;
        let (debit, credit) = (signed(debits), signed(credits));
        let totals = self.totals.entry(account.asset.clone()).or_default();
        let guarded = match account.kind.as_str() {
            "merchant_available" => {
                totals.available += credit - debit;
                Some(credits.checked_sub(debits))
            }
            "merchant_receivable" => {
                totals.receivable += debit - credit;
                Some(debits.checked_sub(credits))
            }
            "deposit_custody" => {
                totals.custody += debit - credit;
                None
            }
            "suspense" => {
                totals.suspense += credit - debit;
                None
            }
            other => {
                let text = format!("is of the unknown kind {other:?}");
                return self.find(Check::Totals, account.id, text);
            }
        };
        match guarded {
            Some(expected) => self.guarded(account, posted, expected),
            None => self.house(account, posted.sides, tail),
        }
    }

    fn guarded(&mut self, account: &Account, posted: Posted, expected: Option<u128>) {
        let name = format!("{} of {}", account.kind, account.owner);
        let Some((stored, held, pending, version)) = &account.balance else {
            if posted.sides != Sides::default() {
                self.find(Check::Balances, account.id, format!("{name} has no balance row"));
            }
            return;
        };
        if expected.is_none() || amount(stored) != expected {
            let Sides { debits, credits } = posted.sides;
            let text = format!("{name} is {stored}; postings: debits {debits}, credits {credits}");
            self.find(Check::Balances, account.id, text);
        }
        if amount(held).is_none_or(|held| amount(stored).is_none_or(|stored| held > stored)) {
            let text = format!("{name} holds {held} of {stored}");
            self.find(Check::Balances, account.id, text);
        }
        if *version < posted.version_max {
            let text =
                format!("{name} is at version {version}, its postings at {}", posted.version_max);
            self.find(Check::Balances, account.id, text);
        }
        let waiting = if account.kind == "merchant_available" {
            self.pending.remove(&(account.owner, account.asset.clone())).unwrap_or(0)
        } else {
            0
        };
        if amount(pending) != Some(waiting) {
            let text = format!("{name} has {pending} pending; its deposits are {waiting}");
            self.find(Check::Pending, account.id, text);
        }
    }

    fn house(&mut self, account: &Account, posted: Sides, tail: Sides) {
        let zero = || ("0".to_owned(), "0".to_owned());
        let (debits, credits) = account.snapshot.clone().unwrap_or_else(zero);
        let sum = |stored: &str, tail: u128| amount(stored)?.checked_add(tail);
        let folded = (sum(&debits, tail.debits), sum(&credits, tail.credits));
        if folded != (Some(posted.debits), Some(posted.credits)) {
            let text = format!(
                "{}: postings are debits {}, credits {}; its snapshot {debits}, {credits}; its tail {}, {}",
                account.kind, posted.debits, posted.credits, tail.debits, tail.credits
            );
            self.find(Check::Snapshots, account.id, text);
        }
    }

    /// Compares what is left after the last account: the totals, and rows that no account owns.
    pub fn end(&mut self) {
        for (account, _) in std::mem::take(&mut self.posted) {
            self.find(Check::Balances, account, "has postings and does not exist");
        }
        for (account, _) in std::mem::take(&mut self.tail) {
            self.find(Check::Snapshots, account, "has a tail and does not exist");
        }
        for ((merchant, asset), units) in std::mem::take(&mut self.pending) {
            let text = format!("{units} {asset} are pending in no balance");
            self.find(Check::Pending, merchant, text);
        }
        for (asset, totals) in self.totals.clone() {
            let Totals { custody, receivable, available, suspense } = totals;
            if custody + receivable != available + suspense {
                let text = format!(
                    "custody {custody} + receivable {receivable}, available {available} + suspense {suspense}"
                );
                self.find(Check::Totals, asset, text);
            }
        }
    }
}

impl Sides {
    /// False when the side has no such name or the sum does not fit.
    fn add(&mut self, side: &str, units: u128) -> bool {
        let sum = match side {
            "debit" => &mut self.debits,
            "credit" => &mut self.credits,
            _ => return false,
        };
        sum.checked_add(units).inspect(|total| *sum = *total).is_some()
    }
}

/// A stored amount: digits and nothing else.
fn amount(text: &str) -> Option<u128> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A sum as a number with a sign; more than there are coins of anything is as much as there can be.
fn signed(units: u128) -> i128 {
    // A quarter of the range, so that four of them can be added.
    i128::try_from(units).unwrap_or(i128::MAX).min(i128::MAX / 4)
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
