//! The audit's rules: books that add up give no finding, and each kind of damage gives its own.
#![allow(clippy::unwrap_used)]

use super::*;

const CUSTODY: Uuid = Uuid::from_u128(1);
const AVAILABLE: Uuid = Uuid::from_u128(2);
const MERCHANT: Uuid = Uuid::from_u128(7);
const DEPOSIT: Uuid = Uuid::from_u128(8);
const TRANSFER: Uuid = Uuid::from_u128(9);

/// One deposit of 50 that was credited, and one of 30 that is pending.
#[derive(Clone)]
struct Rows {
    lines: Vec<Line>,
    accounts: Vec<Account>,
    deposits: Vec<(Deposited, Vec<Booking>)>,
    tail: Vec<(Uuid, String, String)>,
}

fn line(n: i64, account_id: Uuid, side: &str, version: Option<i64>) -> Line {
    Line {
        transfer_id: TRANSFER,
        n,
        account_id,
        side: side.to_owned(),
        amount: "050".to_owned(),
        account_version: version,
        transfer_asset: Some("LTC".to_owned()),
        account_asset: Some("LTC".to_owned()),
    }
}

fn deposited(id: Uuid, amount: &str, credited: bool) -> Deposited {
    Deposited {
        id,
        amount: amount.to_owned(),
        asset: "LTC".to_owned(),
        credited,
        counted_pending: !credited,
        merchant_id: Some(MERCHANT),
    }
}

fn rows() -> Rows {
    let account = |id, owner, kind: &str| Account {
        id,
        owner,
        asset: "LTC".to_owned(),
        kind: kind.to_owned(),
        balance: None,
        snapshot: None,
    };
    let balance = ("050".to_owned(), "0".to_owned(), "30".to_owned(), 3);
    let booking = Booking {
        deposit_id: DEPOSIT,
        kind: "deposit".to_owned(),
        side: "debit".to_owned(),
        amount: "50".to_owned(),
    };
    Rows {
        lines: vec![line(0, CUSTODY, "debit", None), line(1, AVAILABLE, "credit", Some(2))],
        accounts: vec![
            account(CUSTODY, Uuid::nil(), "deposit_custody"),
            Account {
                balance: Some(balance),
                ..account(AVAILABLE, MERCHANT, "merchant_available")
            },
        ],
        deposits: vec![
            (deposited(DEPOSIT, "50", true), vec![booking]),
            (deposited(Uuid::from_u128(10), "30", false), Vec::new()),
        ],
        tail: vec![(CUSTODY, "debit".to_owned(), "50".to_owned())],
    }
}

fn audited(rows: &Rows) -> Vec<Finding> {
    let mut books = Books::default();
    rows.lines.iter().for_each(|line| books.line(line));
    books.end_of_lines();
    rows.tail.iter().for_each(|(account, side, amount)| books.tail(*account, side, amount));
    rows.deposits.iter().for_each(|(deposit, bookings)| books.deposit(deposit, bookings));
    rows.accounts.iter().for_each(|account| books.account(account));
    books.end();
    books.take_findings()
}

#[track_caller]
fn finds(check: Check, damage: impl Fn(&mut Rows)) {
    let mut damaged = rows();
    damage(&mut damaged);
    let found = audited(&damaged);
    assert!(found.iter().any(|finding| finding.check == check), "{check:?}: {found:?}");
}

#[test]
fn books_that_add_up_give_no_finding() {
    assert_eq!(audited(&rows()), Vec::new());
    let mut folded = rows();
    folded.tail.clear();
    folded.accounts[0].snapshot = Some(("50".to_owned(), "0".to_owned()));
    assert_eq!(audited(&folded), Vec::new());
}

#[test]
fn each_damage_is_found_where_it_is() {
    finds(Check::Transfers, |rows| rows.lines[0].amount = "51".to_owned());
    finds(Check::Transfers, |rows| rows.lines[0].amount = "-50".to_owned());
    finds(Check::Transfers, |rows| rows.lines[0].side = "left".to_owned());
    finds(Check::Transfers, |rows| rows.lines[0].transfer_asset = None);
    finds(Check::Transfers, |rows| rows.lines[1].account_asset = Some("BTC".to_owned()));
    finds(Check::Transfers, |rows| drop(rows.lines.pop()));
    finds(Check::Balances, |rows| rows.accounts[1].balance.as_mut().unwrap().0 = "49".to_owned());
    finds(Check::Balances, |rows| rows.accounts[1].balance.as_mut().unwrap().1 = "51".to_owned());
    finds(Check::Balances, |rows| rows.accounts[1].balance.as_mut().unwrap().3 = 1);
    finds(Check::Balances, |rows| rows.accounts[1].balance = None);
    finds(Check::Balances, |rows| drop(rows.accounts.pop()));
    finds(Check::Pending, |rows| rows.accounts[1].balance.as_mut().unwrap().2 = "0".to_owned());
    finds(Check::Pending, |rows| rows.deposits[1].0.merchant_id = None);
    finds(Check::Snapshots, |rows| rows.tail.clear());
    finds(Check::Snapshots, |rows| {
        rows.accounts[0].snapshot = Some(("1".to_owned(), "0".to_owned()));
    });
    finds(Check::Deposits, |rows| rows.deposits[0].0.credited = false);
    finds(Check::Deposits, |rows| rows.deposits[1].0.credited = true);
    finds(Check::Deposits, |rows| rows.deposits[0].0.amount = "49".to_owned());
    finds(Check::Deposits, |rows| {
        let again = rows.deposits[0].1[0].clone();
        rows.deposits[0].1.push(again);
    });
    finds(Check::Totals, |rows| rows.lines[0].amount = "51".to_owned());
    finds(Check::Totals, |rows| rows.accounts[0].kind = "pocket".to_owned());
}

#[test]
fn the_balances_that_merchants_are_shown_go_on_from_each_other() {
    let entry = |version: i64, side: &str, amount: &str, after: &str| Entry {
        account_id: AVAILABLE,
        kind: "merchant_available".to_owned(),
        version,
        side: side.to_owned(),
        amount: amount.to_owned(),
        balance_after: Some(after.to_owned()),
    };
    let found = |entries: &[Entry]| {
        let mut books = Books::default();
        entries.iter().for_each(|entry| books.entry(entry));
        books.take_findings().len()
    };
    let (first, second) = (entry(1, "credit", "50", "50"), entry(2, "debit", "20", "30"));
    let owed = Entry {
        account_id: CUSTODY,
        kind: "merchant_receivable".to_owned(),
        ..entry(1, "debit", "5", "5")
    };
    assert_eq!(found(&[first.clone(), second.clone(), owed]), 0);
    assert_eq!(found(&[first.clone(), entry(2, "debit", "20", "31")]), 1);
    assert_eq!(found(&[entry(1, "credit", "50", "49"), entry(2, "debit", "20", "29")]), 1);
    assert_eq!(found(&[first.clone(), entry(2, "debit", "60", "0")]), 1, "overdrawn");
    assert_eq!(found(&[Entry { balance_after: None, ..first }]), 1);
    assert_eq!(found(&[second]), 1, "the entry before it is missing");
}
