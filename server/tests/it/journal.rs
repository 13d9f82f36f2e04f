//! The ledger's journal below the API: many transfers of one unit of work move a merchant's accounts in
//! their order, doing it again changes nothing, and whoever read an account before another moved it
//! writes nothing.

use std::collections::BTreeSet;

use cryptopayment::domain::asset::Asset;
use cryptopayment::domain::ledger::{
    AccountKind, TransferKind, deposit_postings, reversal_postings,
};
use cryptopayment::store::journal::{Journal, TransferKey};
use cryptopayment::store::{StoreError, UnitOfWork};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::core::Core;
use crate::support::server::fresh_database;

const ASSET: Asset = Asset::Ltc;

async fn core() -> (Core, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(crate::ENGINE, directory.path()).await;
    (Core::new(&url, directory.path()).await, directory)
}

async fn open(core: &Core, unit: &UnitOfWork, refs: &[Uuid]) -> Journal {
    let merchants = BTreeSet::from([core.caller.merchant_id]);
    Journal::open(unit, ASSET, &merchants, refs, core.env.now()).await.unwrap()
}

const fn key(kind: TransferKind, ref_id: Uuid) -> TransferKey {
    TransferKey { kind, ref_id, generation: 0 }
}

/// Credits a deposit as the ledger's rules have it at this moment.
fn credit(core: &Core, journal: &mut Journal, ref_id: Uuid, units: u128) {
    let merchant = core.caller.merchant_id;
    let owed = journal.balance(merchant, AccountKind::MerchantReceivable).posted;
    let postings = deposit_postings(merchant, ASSET, units, owed);
    journal.post(&core.env, key(TransferKind::Deposit, ref_id), &postings).unwrap();
}

/// Takes one back.
fn reverse(core: &Core, journal: &mut Journal, ref_id: Uuid, units: u128) {
    let merchant = core.caller.merchant_id;
    let available = journal.balance(merchant, AccountKind::MerchantAvailable).posted;
    let postings = reversal_postings(merchant, ASSET, units, available);
    journal.post(&core.env, key(TransferKind::DepositReversal, ref_id), &postings).unwrap();
}

fn standing(core: &Core, journal: &Journal) -> (u128, u128) {
    let of = |kind| journal.balance(core.caller.merchant_id, kind).posted;
    (of(AccountKind::MerchantAvailable), of(AccountKind::MerchantReceivable))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_of_one_unit_of_work_see_each_other_and_count_once() {
    let (core, _directory) = core().await;
    let deposits = [1, 2, 3].map(Uuid::from_u128);
    let write = async |core: &Core| {
        let unit = core.db.begin("apply").await.unwrap();
        let mut journal = open(core, &unit, &deposits).await;
        credit(core, &mut journal, deposits[0], 100);
        reverse(core, &mut journal, deposits[1], 130);
        credit(core, &mut journal, deposits[2], 50);
        assert_eq!(standing(core, &journal), (20, 0), "what was owed is paid back first");
        journal.write(&unit).await.unwrap();
        unit.commit().await.unwrap();
    };
    write(&core).await;
    let told = "SELECT COUNT(*) FROM posting";
    let postings = core.number(told).await;
    let versions =
        "SELECT MAX(account_version) FROM posting p JOIN account a ON a.id = p.account_id
                    WHERE a.kind = 'merchant_available'";
    assert_eq!((postings, core.number(versions).await), (8, 3), "each posting has its own version");
    let row = "SELECT CAST(version AS BIGINT) FROM balance b JOIN account a ON a.id = b.account_id
               WHERE a.kind = 'merchant_available'";
    assert_eq!(core.number(row).await, 3);

    write(&core).await;
    assert_eq!((core.number(told).await, core.number(row).await), (8, 3), "nothing twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_read_a_balance_that_moved_writes_nothing() {
    let (core, _directory) = core().await;
    let [first, second] = [1, 2].map(Uuid::from_u128);
    let unit = core.db.begin("apply").await.unwrap();
    let mut early = open(&core, &unit, &[second]).await;
    credit(&core, &mut early, second, 7);
    // SQLite has one writer: the early one's transaction ends, what it read remains.
    drop(unit);

    let unit = core.db.begin("apply").await.unwrap();
    let mut journal = open(&core, &unit, &[first]).await;
    credit(&core, &mut journal, first, 100);
    journal.write(&unit).await.unwrap();
    unit.commit().await.unwrap();

    let unit = core.db.begin("apply").await.unwrap();
    let refused = early.write(&unit).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    drop(unit);
    let unit = core.db.begin("apply").await.unwrap();
    let mut stale = open(&core, &unit, &[second]).await;
    drop(unit);
    credit(&core, &mut stale, second, 7);

    let third = Uuid::from_u128(3);
    let unit = core.db.begin("apply").await.unwrap();
    let mut journal = open(&core, &unit, &[third]).await;
    credit(&core, &mut journal, third, 1);
    journal.write(&unit).await.unwrap();
    unit.commit().await.unwrap();

    let unit = core.db.begin("apply").await.unwrap();
    let refused = stale.write(&unit).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    drop(unit);
    let unit = core.db.begin("apply").await.unwrap();
    assert_eq!(standing(&core, &open(&core, &unit, &[]).await), (101, 0));
    assert_eq!(core.number("SELECT COUNT(*) FROM transfer").await, 2);
}
