//! Watchers of the event log: what an idle one costs in the server's memory, and how many messages a
//! second reach many of them. The watchers are another process.

use std::time::Duration;

use cryptopayment_sdk::CreateInvoice;

use super::load::{Load, WATCHERS_PER_CONNECTION, line};
use super::measure::{Series, cpu_ticks, goal, heading, proc_number};
use crate::support::server::{Engine, TestServer};

/// Watchers that share connections, and watchers that each have one.
const SHARED_WATCHERS: usize = 2_000;
const OWN_WATCHERS: usize = 500;
/// Events that each watcher is told.
const EVENTS: usize = 20;
/// Kilobytes that an idle watcher may cost.
const SHARED_GOAL: f64 = 10.0;
const OWN_GOAL: f64 = 40.0;
/// How long idle watchers are left alone before the memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs it on one engine.
pub async fn run(engine: Engine) {
    heading(&format!("Event streams, {engine:?}; the watchers are another process"));
    let settings = "[http]\nlisten = \"127.0.0.1:0\"\nconnections_max = 4096";
    for (name, watchers, shared, limit) in [
        ("sharing connections", SHARED_WATCHERS, WATCHERS_PER_CONNECTION, SHARED_GOAL),
        ("with a connection each", OWN_WATCHERS, 1, OWN_GOAL),
    ] {
        let server = TestServer::with(engine, settings).await;
        let client = server.client();
        let mut invoices = Vec::new();
        for _ in 0..EVENTS {
            let created = client.create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
            invoices.push(created.invoice.unwrap().id);
        }
        let before = proc_number("status", "VmRSS");
        let load = Load {
            kind: "watch",
            url: &server.url,
            credentials: &server.credentials,
            count: EVENTS,
            callers: watchers,
            extra: shared.to_string(),
        };
        let (mut child, mut stdout) = load.start();
        assert_eq!(line(&mut stdout), "open");
        tokio::time::sleep(SETTLE).await;
        let grown = proc_number("status", "VmRSS").saturating_sub(before);
        let what = format!("kB of memory, {watchers} {name}");
        goal(&what, grown as f64 / watchers as f64, limit, true);

        let mut series = Series::new(format!("fan-out to {watchers} {name}"), "messages/s");
        let ticks = cpu_ticks();
        for id in &invoices {
            client.cancel_invoice(id).await.unwrap();
        }
        let seconds = line(&mut stdout).parse().unwrap();
        child.wait().unwrap();
        series.note((EVENTS * watchers) as u64, seconds, cpu_ticks() - ticks);
        series.print();
        server.finish().await;
    }
}
