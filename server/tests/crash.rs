//! The program killed: at random moments with a payment in flight, and at every failpoint. Chain and
//! receiver live on; afterwards every deposit is credited once and every event was delivered.
//! That these tests can fail was tried: with events written right after their transaction instead of
//! in it, 160 of 186 were left after the failpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]
#![allow(clippy::print_stdout, reason = "the table of hits is part of the result")]

#[path = "support/anvil/mod.rs"]
mod anvil;
#[path = "crash/program.rs"]
mod program;
#[path = "crash/reconciliation.rs"]
mod reconciliation;
#[path = "crash/settlements.rs"]
mod settlements;
mod support;
#[path = "support/untraced.rs"]
mod untraced;

use std::collections::BTreeMap;
use std::time::Duration;

use cryptopayment::failpoint::{
    DELIVERY_MOMENTS, FIRST_START, RECONCILIATION, SETTLEMENTS, UNITS_OF_WORK,
};
use program::Story;
use support::server::Engine;

/// Kills at random moments, per engine.
const RANDOM_KILLS: u32 = 100;
/// Deaths at each failpoint, per engine.
const HITS: u32 = 5;
/// The longest pause before a random kill.
const PAUSE_MILLISECONDS_MAX: u64 = 250;

/// A small generator of our own: the seed is printed, so that a run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // Numerical Recipes' 64-bit linear congruential generator; its high bits are good enough.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn killed_at_random(engine: Engine) {
    let seed = u64::from(std::process::id());
    println!("{engine:?}: {RANDOM_KILLS} kills from seed {seed}");
    let mut random = Random(seed);
    let mut story = Story::begin(engine).await;
    for _ in 0..RANDOM_KILLS {
        story.run(None).await;
        let pause = Duration::from_millis(random.below(PAUSE_MILLISECONDS_MAX));
        story.live(pause).await;
        story.kill().await;
    }
    story.check().await;
}

async fn killed_at_every_failpoint(engine: Engine) {
    let mut names: Vec<String> = UNITS_OF_WORK
        .iter()
        .flat_map(|unit| ["before_commit", "after_commit"].map(|moment| format!("{unit}.{moment}")))
        .collect();
    names.extend(DELIVERY_MOMENTS.map(|moment| format!("deliver.{moment}")));
    let mut hits: BTreeMap<&str, u32> = BTreeMap::new();
    let mut story = Story::begin(engine).await;
    // Rounds over all of them, so that each is met in many states.
    for _ in 0..HITS {
        for name in &names {
            story.run(Some(name)).await;
            story.live_until_dead(name).await;
            *hits.entry(name).or_default() += 1;
        }
    }
    story.check().await;
    println!("{engine:?}: hits per failpoint");
    for (name, count) in &hits {
        println!("  {name:<36} {count}");
    }
    assert!(names.iter().all(|name| hits.get(name.as_str()) >= Some(&HITS)));
}

async fn killed_in_its_first_start(engine: Engine) {
    for unit in FIRST_START {
        for moment in ["before_commit", "after_commit"] {
            let name = format!("{unit}.{moment}");
            let mut story = Story::begin(engine).await;
            story.run(Some(&name)).await;
            story.live_until_dead(&name).await;
            story.run(None).await;
            story.live(Duration::ZERO).await;
            story.kill().await;
            story.check().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_its_first_start_on_sqlite() {
    killed_in_its_first_start(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_its_first_start_on_postgres() {
    killed_in_its_first_start(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_on_sqlite() {
    killed_at_random(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_on_postgres() {
    killed_at_random(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_failpoint_on_sqlite() {
    killed_at_every_failpoint(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_failpoint_on_postgres() {
    killed_at_every_failpoint(Engine::Postgres).await;
}

/// The units of work that these tests die in.
fn killed() -> impl Iterator<Item = &'static str> {
    UNITS_OF_WORK.into_iter().chain(FIRST_START).chain(SETTLEMENTS).chain(RECONCILIATION)
}

/// A unit of work that is in no list would never be killed: each is here, or is named with its reason.
#[test]
fn every_unit_of_work_is_killed_or_excused() {
    // Nothing of a merchant's is in flight in these: whoever asked for one asks again, and the start
    // of the program does the others again.
    let excused = [
        "advance_clock",
        "end_leases",
        "fail_rescan",
        "note_endpoints",
        "prune_deliveries",
        "prune_idempotency",
        "quarantine",
        "request_rescan",
        "revoke_key",
        "update_key",
        "update_merchant",
    ];
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.split(".begin(\"").skip(1);
                found.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 20, "the search finds units of work: {found:?}");
    for name in &found {
        let known = killed().chain(excused).any(|unit| unit == name);
        assert!(known, "the unit of work `{name}` is in no list");
    }
    for name in killed() {
        assert!(found.iter().any(|has| has == name), "`{name}` is no unit of work any more");
    }
}
