//! The books, recomputed from the postings alone and compared with everything that is derived from
//! them. Shares no code with what wrote them: amounts are parsed here, sums are made here.

use std::collections::{BTreeMap, BTreeSet};

use cryptopayment_sdk::v1;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement};
use uuid::Uuid;

/// Postings of one account, by side.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sides {
    debit: u128,
    credit: u128,
}

async fn rows(db: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    let statement = Statement::from_string(db.get_database_backend(), sql.to_owned());
    db.query_all_raw(statement).await.unwrap()
}

fn text(row: &QueryResult, column: &str) -> String {
    row.try_get("", column).unwrap()
}

fn number(row: &QueryResult, column: &str) -> i64 {
    row.try_get("", column).unwrap()
}

fn id(row: &QueryResult, column: &str) -> Uuid {
    row.try_get("", column).unwrap()
}

fn amount(row: &QueryResult, column: &str) -> u128 {
    text(row, column).parse().unwrap()
}

/// Checks the books of a database whose server has stopped; `shown` is what its API told the
/// sandbox's merchant last.
pub async fn check(database_url: &str, shown: &[v1::Balance]) {
    let db = Database::connect(database_url).await.unwrap();
    let accounts = postings_balance(&db).await;
    balances_match(&db, &accounts).await;
    entries_add_up(&db).await;
    house_accounts_match(&db, &accounts).await;
    deposits_match(&db).await;
    events_are_gapless(&db).await;
    api_told_the_truth(&db, &accounts, shown).await;
    db.close().await.unwrap();
}

async fn postings_balance(db: &DatabaseConnection) -> BTreeMap<Uuid, Sides> {
    let mut accounts: BTreeMap<Uuid, Sides> = BTreeMap::new();
    let mut transfers: BTreeMap<Uuid, Sides> = BTreeMap::new();
    for row in rows(db, "SELECT transfer_id, account_id, side, amount FROM posting").await {
        let units = amount(&row, "amount");
        assert!(units > 0, "a posting of nothing");
        for sums in [
            accounts.entry(id(&row, "account_id")).or_default(),
            transfers.entry(id(&row, "transfer_id")).or_default(),
        ] {
            if text(&row, "side") == "debit" {
                sums.debit += units;
            } else {
                sums.credit += units;
            }
        }
    }
    for (transfer, sums) in transfers {
        assert_eq!(sums.debit, sums.credit, "transfer {transfer} does not sum to zero");
    }
    accounts
}

async fn balances_match(db: &DatabaseConnection, accounts: &BTreeMap<Uuid, Sides>) {
    let sql = "SELECT a.id, a.kind, b.posted, b.held, b.version FROM account a
               JOIN balance b ON b.account_id = a.id";
    for row in rows(db, sql).await {
        let sums = accounts.get(&id(&row, "id")).copied().unwrap_or_default();
        let kind = text(&row, "kind");
        let expected = match kind.as_str() {
            "merchant_available" => sums.credit.checked_sub(sums.debit),
            "merchant_receivable" => sums.debit.checked_sub(sums.credit),
            other => panic!("a balance row of {other}"),
        };
        assert_eq!(Some(amount(&row, "posted")), expected, "{kind} differs from its postings");
    }
    let sql = "SELECT p.account_id, p.account_version, b.version FROM posting p
               JOIN balance b ON b.account_id = p.account_id";
    let mut seen = BTreeSet::new();
    for row in rows(db, sql).await {
        let version = number(&row, "account_version");
        assert!(version <= number(&row, "version"));
        assert!(seen.insert((id(&row, "account_id"), version)), "one version, two postings");
    }
}

/// Each entry says its account's balance after it, and the last one says the balance.
async fn entries_add_up(db: &DatabaseConnection) {
    let sql = "SELECT p.account_id, p.side, p.amount, p.balance_after, a.kind, b.posted
               FROM posting p JOIN account a ON a.id = p.account_id
               JOIN balance b ON b.account_id = a.id
               ORDER BY p.account_id, p.account_version";
    let mut running: BTreeMap<Uuid, (u128, u128)> = BTreeMap::new();
    for row in rows(db, sql).await {
        let sums = running.entry(id(&row, "account_id")).or_default();
        let grows = match text(&row, "kind").as_str() {
            "merchant_available" => "credit",
            _ => "debit",
        };
        if text(&row, "side") == grows {
            sums.0 += amount(&row, "amount");
        } else {
            sums.0 -= amount(&row, "amount");
        }
        sums.1 = amount(&row, "posted");
        assert_eq!(amount(&row, "balance_after"), sums.0, "an entry's balance");
    }
    for (account, (entries, balance)) in running {
        assert_eq!(entries, balance, "the entries of {account}");
    }
    let sql = "SELECT COUNT(*) AS wrong FROM posting
               WHERE (account_version IS NULL) <> (balance_after IS NULL)";
    assert_eq!(number(&rows(db, sql).await[0], "wrong"), 0, "guarded accounts alone have balances");
}

async fn house_accounts_match(db: &DatabaseConnection, accounts: &BTreeMap<Uuid, Sides>) {
    let mut folded: BTreeMap<Uuid, Sides> = BTreeMap::new();
    for row in rows(db, "SELECT account_id, debits, credits FROM account_snapshot").await {
        let sums = Sides { debit: amount(&row, "debits"), credit: amount(&row, "credits") };
        folded.insert(id(&row, "account_id"), sums);
    }
    for row in rows(db, "SELECT account_id, side, amount FROM ledger_tail").await {
        let sums = folded.entry(id(&row, "account_id")).or_default();
        if text(&row, "side") == "debit" {
            sums.debit += amount(&row, "amount");
        } else {
            sums.credit += amount(&row, "amount");
        }
    }
    for (account, sums) in folded {
        assert_eq!(Some(&sums), accounts.get(&account), "snapshot and tail of {account}");
    }
}

/// Each deposit is in the ledger exactly as often as it says: once, or not at all.
async fn deposits_match(db: &DatabaseConnection) {
    let mut net: BTreeMap<Uuid, i128> = BTreeMap::new();
    let sql = "SELECT t.ref_id, t.kind, p.amount FROM transfer t
               JOIN posting p ON p.transfer_id = t.id
               JOIN account a ON a.id = p.account_id WHERE a.kind = 'deposit_custody'";
    for row in rows(db, sql).await {
        let units = i128::try_from(amount(&row, "amount")).unwrap();
        let sign = if text(&row, "kind") == "deposit_reversal" { -1 } else { 1 };
        *net.entry(id(&row, "ref_id")).or_default() += sign * units;
    }
    for row in rows(db, "SELECT id, amount, credited, state FROM deposit").await {
        let credited: bool = row.try_get("", "credited").unwrap();
        let expected = if credited { i128::try_from(amount(&row, "amount")).unwrap() } else { 0 };
        let booked = net.remove(&id(&row, "id")).unwrap_or(0);
        assert_eq!(booked, expected, "deposit {} ({})", id(&row, "id"), text(&row, "state"));
    }
    for row in rows(db, "SELECT id, amount, state FROM unexpected_deposit").await {
        let is_assigned = text(&row, "state") == "assigned";
        let expected =
            if is_assigned { i128::try_from(amount(&row, "amount")).unwrap() } else { 0 };
        let booked = net.remove(&id(&row, "id")).unwrap_or(0);
        assert_eq!(booked, expected, "unexpected deposit {}", id(&row, "id"));
    }
    assert!(net.is_empty(), "credits without a deposit: {net:?}");
}

async fn events_are_gapless(db: &DatabaseConnection) {
    let sql = "SELECT merchant_id, seq, aggregate_id, aggregate_version, type FROM event
               ORDER BY merchant_id, seq";
    let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut versions: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for row in rows(db, sql).await {
        let seq = last.entry(id(&row, "merchant_id")).or_default();
        *seq += 1;
        assert_eq!(number(&row, "seq"), *seq, "a gap in the log");
        let version = versions.entry(id(&row, "aggregate_id")).or_default();
        *version += 1;
        assert_eq!(number(&row, "aggregate_version"), *version, "a gap in an invoice's events");
        let kind = text(&row, "type");
        if kind.starts_with("payment.") {
            let once = told.insert((id(&row, "aggregate_id"), kind.clone()));
            assert!(once, "{kind} twice for one invoice");
        }
    }
    for row in rows(db, "SELECT merchant_id, next FROM merchant_seq").await {
        let newest = last.get(&id(&row, "merchant_id")).copied().unwrap_or(0);
        assert_eq!(number(&row, "next"), newest + 1, "the counter and the log differ");
    }
}

async fn api_told_the_truth(
    db: &DatabaseConnection,
    accounts: &BTreeMap<Uuid, Sides>,
    shown: &[v1::Balance],
) {
    let sql = "SELECT a.id, a.asset FROM account a JOIN merchant m ON m.id = a.owner
               WHERE a.kind = 'merchant_available' AND m.name = 'Sandbox merchant'";
    let mut owned: BTreeMap<String, u128> = BTreeMap::new();
    for row in rows(db, sql).await {
        let sums = accounts.get(&id(&row, "id")).copied().unwrap_or_default();
        owned.insert(text(&row, "asset"), sums.credit - sums.debit);
    }
    for balance in shown {
        let expected = owned.get(&balance.coin).copied().unwrap_or(0);
        assert_eq!(balance.available_units, expected.to_string(), "{} as told", balance.coin);
    }
}
