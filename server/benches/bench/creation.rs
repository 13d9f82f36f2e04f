//! Creation in process: the batched use case beside a raw driver that writes the same rows and indexes
//! into the same database, one transaction a request and batched. Also what an invoice costs in log
//! bytes, round trips and syncs. Not here: the wire (`calls`).

use std::sync::Arc;

use tokio::task::JoinSet;

use super::measure::{Series, figure, goal, heading, proc_number};
use super::raw::{self, Charges, Owner, Raw};
use crate::support::core::{Core, request};
use crate::support::server::{Engine, fresh_database};

/// Rounds of each.
const ROUNDS: usize = 5;
/// Invoices of a round.
const INVOICES: usize = 4_096;
/// Invoices of a round of single transactions.
const SINGLE_INVOICES: usize = 2_048;
/// Callers at once.
const CALLERS: usize = 1_024;
/// Addresses made before: what all rounds use, and what one of ours leases besides.
const POOL_BATCHES: u32 = 9;
const POOL_BATCH: u32 = 9_000;
/// Statements of a group, `BEGIN` and `COMMIT` among them.
const GROUP_STATEMENTS: f64 = 5.0;
/// Goals, against one transaction a request and against batches.
const SINGLE_GOAL: f64 = 3.0;
const BATCHED_GOAL: f64 = 0.5;

/// Runs it on one engine.
pub async fn run(engine: Engine) {
    heading(&format!("Creation in process, {engine:?}"));
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(engine, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    // A round of ours leases well over twice what it uses, so that nothing is leased while it is timed:
    // the next block is leased when half of one is left.
    for _ in 0..POOL_BATCHES {
        core.fill(POOL_BATCH).await;
    }
    let raw = Raw::open(engine, &url).await;
    let owner = Owner { merchant: core.caller.merchant_id, api_key: core.caller.api_key_id };
    let mut ours = Series::new("CreateInvoice, groups", "invoices/s");
    let mut single = Series::new("raw driver, one transaction each", "invoices/s");
    let mut batched =
        Series::new(format!("raw driver, batches of {}", raw::BATCH_ROWS), "invoices/s");
    let (mut groups, mut charged) = (0, Charges::default());
    for round in 0..=ROUNDS {
        let (mut warm, mut warm_single, mut warm_batched) =
            (Series::new("", ""), Series::new("", ""), Series::new("", ""));
        let (ours, single, batched) = if round == 0 {
            (&mut warm, &mut warm_single, &mut warm_batched)
        } else {
            (&mut ours, &mut single, &mut batched)
        };
        let rows = raw.rows(SINGLE_INVOICES).await;
        single.round(SINGLE_INVOICES as u64, raw.one_by_one(owner, rows)).await;
        let before = charges(&raw).await;
        let written = create(&core, ours).await;
        let after = charges(&raw).await;
        if round > 0 {
            groups += written;
            charged.log_bytes += after.log_bytes - before.log_bytes;
            charged.syncs += after.syncs - before.syncs;
        }
        let rows = raw.rows(INVOICES).await;
        batched.round(INVOICES as u64, raw.batched(owner, rows)).await;
    }
    for series in [&single, &ours, &batched] {
        series.print();
    }
    goal("ours / one transaction each", ours.rate() / single.rate(), SINGLE_GOAL, false);
    goal("ours / raw batches", ours.rate() / batched.rate(), BATCHED_GOAL, false);
    print_charges(engine, groups as f64, charged);
}

/// A round of ours; returns the number of groups.
async fn create(core: &Core, series: &mut Series) -> u64 {
    let create = core.create(u32::try_from(INVOICES * 5 / 2).unwrap());
    create.prepare(&core.caller, &request(None)).await.unwrap();
    let work = async {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (create, identity) = (Arc::clone(&create), core.caller.clone());
            callers.spawn(async move {
                for n in 0..INVOICES / CALLERS {
                    let key = format!("{} {caller} {n}", create.leases.holder());
                    create.run(&identity, &request(Some(&key))).await.unwrap();
                }
            });
        }
        callers.join_all().await;
    };
    series.round(INVOICES as u64, work).await;
    core.settle().await;
    core.execute("UPDATE address SET state = 'free' WHERE state = 'leased'").await;
    create.groups.committed()
}

async fn charges(raw: &Raw) -> Charges {
    match raw {
        Raw::Sqlite(_) => Charges { log_bytes: proc_number("io", "wchar"), syncs: 0 },
        Raw::Postgres(pool) => raw::postgres_charges(pool).await,
    }
}

fn print_charges(engine: Engine, groups: f64, charged: Charges) {
    let invoices = (ROUNDS * INVOICES) as f64;
    figure("invoices in a group, mean", invoices / groups, "");
    match engine {
        // One sync of the log a commit (synchronous = FULL in WAL mode), and no server to ask.
        Engine::Sqlite => {
            figure("bytes written an invoice", charged.log_bytes as f64 / invoices, "");
            figure("round trips an invoice", 0.0, "");
            figure("commits, so syncs of the log, an invoice", groups / invoices, "");
        }
        Engine::Postgres => {
            figure("bytes of WAL an invoice", charged.log_bytes as f64 / invoices, "");
            figure("round trips an invoice", groups * GROUP_STATEMENTS / invoices, "");
            figure("syncs of the WAL an invoice", charged.syncs as f64 / invoices, "");
        }
    }
}
