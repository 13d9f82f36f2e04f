//! The merchant's ledger entries: they add up to the balance, each once, page by page, and a database
//! from before they had their own column tells the same.

use cryptopayment::chain::ForkFate;
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{
    InvoiceException, InvoiceStatus, LedgerAccount, LedgerDirection, LedgerEntry, LedgerEntryKind,
    ListLedgerEntriesRequest,
};
use sea_orm::{ConnectionTrait, Database};

use crate::conformance::world::{World, asked};
use crate::support::rest::Rest;

/// Every entry, newest first, read page by page.
async fn entries(world: &World, coin: Option<&str>) -> Vec<LedgerEntry> {
    let (mut read, mut page_token) = (Vec::new(), None);
    loop {
        let request = ListLedgerEntriesRequest { coin: coin.map(str::to_owned), page_token };
        let page = world.client.list_ledger_entries(request).await.unwrap();
        read.extend(page.entries);
        let pagination = page.pagination.unwrap();
        assert_eq!(pagination.page, None, "the list is read by token");
        page_token = pagination.next_page_token;
        if page_token.is_none() {
            assert_eq!(pagination.total as usize, read.len());
            return read;
        }
    }
}

fn units(text: &str) -> i128 {
    text.parse().unwrap()
}

/// Walks an account's entries from the oldest and returns its balance.
fn added_up(entries: &[LedgerEntry], account: LedgerAccount) -> i128 {
    let mut balance = 0;
    for entry in entries.iter().rev().filter(|entry| entry.account() == account) {
        match entry.direction() {
            LedgerDirection::Increase => balance += units(&entry.amount_units),
            LedgerDirection::Decrease => balance -= units(&entry.amount_units),
            LedgerDirection::Unspecified => panic!("{entry:?}"),
        }
        assert_eq!(units(&entry.balance_after_units), balance, "{entry:?}");
    }
    balance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credit_and_its_reversal_stand_there_with_what_they_are_about() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    assert!(entries(&world, None).await.is_empty());
    let (kept, lost) = (world.invoice().await, world.invoice().await);
    let good = world.pay(&kept, 1, 1).await;
    let bad = world.pay(&lost, 1, 1).await;
    world.wait_seen(&kept, &good).await;
    world.wait_seen(&lost, &bad).await;
    let required = kept.confirmations.unwrap().required;
    world.chain.mine(required).await.unwrap();
    world.wait_available(asked(&kept) + asked(&lost)).await;
    world.fork(required, &bad, ForkFate::DoubleSpend).await;
    world.wait(&lost, InvoiceStatus::Pending, InvoiceException::Reorged).await;
    world.mine_deep(&kept).await;
    world.wait(&kept, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.wait_available(asked(&kept)).await;

    let told = entries(&world, None).await;
    assert_eq!(added_up(&told, LedgerAccount::Available), units(&kept.amount_units));
    let (newest, first) = (&told[0], &told[told.len() - 1]);
    let about = |entry: &LedgerEntry| {
        (entry.kind(), entry.direction(), entry.invoice_id.clone(), entry.txid.clone())
    };
    let reversal = told.iter().find(|entry| entry.kind() == LedgerEntryKind::DepositReversal);
    let expected = (
        LedgerEntryKind::DepositReversal,
        LedgerDirection::Decrease,
        Some(lost.id.clone()),
        Some(bad.clone()),
    );
    assert_eq!(about(reversal.unwrap()), expected);
    assert_eq!((first.kind(), first.coin.as_str()), (LedgerEntryKind::Deposit, "LTC"));
    assert_eq!(units(&newest.balance_after_units), units(&kept.amount_units));

    let shown = rest.get("/api/v1/balances/entries?coin=LTC").await;
    let keys: Vec<String> =
        shown.json()["entries"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys.len(), 10, "{keys:?}");
    let line = format!(r#""balance_after":0.625,"invoice_id":"{}""#, first.invoice_id());
    assert!(shown.body.contains(&line), "{line}: {}", shown.body);
    let other = rest.get("/api/v1/balances/entries?coin=BTC").await;
    let empty = r#"{"success":true,"entries":[],"pagination":{"page":null,"per_page":20,"total":0,"last_page":1,"next_page_token":null}}"#;
    assert_eq!(other.body, empty);
    let (key, secret) = world.server.second_merchant().await;
    let stranger = Rest::with(&world.server, Some(format!("Bearer {key}:{secret}")));
    assert_eq!(stranger.get("/api/v1/balances/entries").await.body, empty);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_still_while_new_entries_come_in() {
    let mut world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let invoice = world.invoice().await;
    let outputs = vec![(invoice.address.clone(), asked(&invoice)); 45];
    world.chain.pay(&outputs).await.unwrap();
    world.mine_deep(&invoice).await;
    world.wait_available(45 * asked(&invoice)).await;
    let before = entries(&world, None).await;
    assert_eq!(before.len(), 45);
    let first = world.client.list_ledger_entries(Default::default()).await.unwrap();

    let other = world.invoice().await;
    world.pay(&other, 1, 1).await;
    world.mine_deep(&other).await;
    world.wait_available(46 * asked(&invoice)).await;
    let page_token = first.pagination.unwrap().next_page_token;
    let request = ListLedgerEntriesRequest { coin: None, page_token: page_token.clone() };
    let second = world.client.list_ledger_entries(request).await.unwrap();
    assert_eq!((&first.entries[..], &second.entries[..]), (&before[..20], &before[20..40]));
    let request = ListLedgerEntriesRequest { coin: Some("LTC".to_owned()), page_token };
    let refused = world.client.list_ledger_entries(request).await.unwrap_err();
    assert_eq!(refused.reason(), Some("INVALID_PAGE_TOKEN"), "another list");

    let after = entries(&world, Some("LTC")).await;
    assert_eq!(added_up(&after, LedgerAccount::Available), 46 * units(&invoice.amount_units));
    // As a program before this column left it.
    world.server.stop().await;
    let db = Database::connect(&world.server.database_url).await.unwrap();
    for sql in [
        "ALTER TABLE posting DROP COLUMN balance_after",
        "DELETE FROM seaql_migrations WHERE version = 'm0004_balance_after'",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    db.close().await.unwrap();
    world.server.run().await;
    world.client = world.server.client();
    assert_eq!(entries(&world, Some("LTC")).await, after);
    let db = Database::connect(&world.server.database_url).await.unwrap();
    let refused = db.execute_unprepared("UPDATE posting SET balance_after = NULL").await;
    assert!(refused.unwrap_err().to_string().contains("append-only"), "closed again");
    db.close().await.unwrap();
    world.finish().await;
}
