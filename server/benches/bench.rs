//! `make bench`: what CryptoPayment does beside what limits it, both in one run and alternately, on
//! SQLite and PostgreSQL. Prints minimum, median and maximum, and each ratio beside its goal. Absolute
//! figures belong to the machine; the ratios are the result. Not part of the tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap ends the run")]
#![allow(missing_docs, dead_code, reason = "a program without readers of its interface")]
#![allow(clippy::float_arithmetic, reason = "rates and ratios; no money is computed here")]
#![allow(clippy::print_stdout, reason = "the table is the result")]

#[path = "bench/blocks.rs"]
mod blocks;
#[path = "bench/by_hand.rs"]
mod by_hand;
#[path = "bench/calls.rs"]
mod calls;
#[path = "bench/catch_up.rs"]
mod catch_up;
#[path = "bench/creation.rs"]
mod creation;
#[path = "bench/delivery.rs"]
mod delivery;
#[path = "bench/handler.rs"]
mod handler;
#[path = "bench/load.rs"]
mod load;
#[path = "bench/measure.rs"]
mod measure;
#[path = "bench/raw.rs"]
mod raw;
#[path = "bench/scan.rs"]
mod scan;
#[path = "bench/start.rs"]
mod start;
#[path = "bench/streams.rs"]
mod streams;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "bench/transcoder.rs"]
mod transcoder;

use support::server::Engine;

/// The parts of a run, by the names that choose them.
const PARTS: [&str; 7] =
    ["creation", "calls", "transcoder", "delivery", "streams", "scan", "blocks"];

/// `bench [PART...]` runs those parts, or all; `bench load ...` is the other end of a wire.
#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    support::server::install_tls();
    if words.first().is_some_and(|word| word == load::COMMAND) {
        return load::run(&words[1..]).await;
    }
    let chosen = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    for word in &words {
        assert!(PARTS.contains(&word.as_str()), "no part `{word}`; there are {PARTS:?}");
    }
    println!("CPU is the server's process, in microseconds an operation, as (min median max).");
    for engine in [Engine::Sqlite, Engine::Postgres] {
        if chosen("creation") {
            creation::run(engine).await;
        }
        if chosen("calls") {
            calls::run(engine).await;
        }
        if chosen("delivery") {
            delivery::run(engine).await;
        }
    }
    if chosen("transcoder") {
        transcoder::run().await;
    }
    if chosen("streams") {
        streams::run(Engine::Sqlite).await;
        streams::run(Engine::Postgres).await;
    }
    if chosen("scan") {
        scan::run(Engine::Sqlite).await;
        scan::run(Engine::Postgres).await;
        catch_up::run(Engine::Sqlite).await;
        catch_up::run(Engine::Postgres).await;
        start::run().await;
    }
    if chosen("blocks") {
        blocks::run().await;
    }
}
