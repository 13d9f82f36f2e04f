//! Calls over the wire: reading through gRPC and REST beside a handler written by hand, creating beside
//! handlers that do nothing and a raw driver on the same rows. The caller is another process. Not here: a call without a wire (`transcoder`).

use std::collections::BTreeSet;

use cryptopayment_sdk::CreateInvoice;
use tokio_util::sync::CancellationToken;

use super::handler;
use super::load::Load;
use super::measure::{Series, figure, goal, heading};
use super::raw::Raw;
use crate::support::server::{Engine, TestServer, eventually};

/// Rounds of reads, short and many: neighbours of the machine come and go within seconds.
const READ_ROUNDS: usize = 15;
/// Reads of a round.
const READS: usize = 6_400;
/// Rounds of creations.
const CREATION_ROUNDS: usize = 3;
/// Creations of a round.
const CREATIONS: usize = 2_000;
/// What a call may cost of what a handler by hand costs.
const BY_HAND_GOAL: f64 = 1.3;
/// One network that is rarely read, so that nothing else runs; a pool that lasts.
const SETTINGS: &str = "
[pool]
addresses_low = 9000
addresses_batch = 5000
addresses_leased = 1000
[networks.btc]
enabled = false
[networks.eth]
enabled = false
[networks.bep20]
enabled = false
[networks.trc20]
enabled = false
[networks.ltc]
block_seconds = 0
poll_milliseconds = 5000
";

/// Runs it on one engine.
pub async fn run(engine: Engine) {
    let server = TestServer::with(engine, SETTINGS).await;
    let created = eventually("an address", || async {
        server.client().create_invoice(CreateInvoice::new("ltc", "5")).await.ok()
    });
    let invoice = created.await.invoice.unwrap();
    let stop = CancellationToken::new();
    let peers = handler::serve(invoice.clone(), &server.database_url, stop.clone()).await;
    let id = invoice.id.as_str();
    heading(&format!("Calls over loopback, {engine:?}; the caller is another process"));
    reads(&server, &peers, id).await;
    creations(&server, &peers, engine).await;
    stop.cancel();
    server.finish().await;
}

/// Reading one invoice.
async fn reads(server: &TestServer, peers: &str, id: &str) {
    let ours = server.url.as_str();
    let path = format!("/api/v1/invoices/{id}");
    let (hand, same) = (format!("/looked-up/{id}"), format!("/hand/{id}"));
    let urls = [(ours, &path), (peers, &hand), (peers, &path), (peers, &same)];
    assert_same(server, urls.map(|(url, path)| format!("{url}{path}"))).await;
    let load = |kind, url, extra| Load::new(kind, url, server, READS, extra);
    let rows = [
        ("GetInvoice, gRPC", load("grpc-get", ours, id)),
        ("GetInvoice, REST", load("get", ours, &path)),
        ("GetInvoice, REST by hand with serde", load("get", peers, &hand)),
        ("no look-up, gRPC", load("grpc-get", peers, id)),
        ("no look-up, REST through the transcoder", load("get", peers, &path)),
        ("no look-up, REST by hand with serde", load("get", peers, &same)),
    ];
    let [grpc, rest, by_hand, _, transcoded, same] = in_turn(READ_ROUNDS, rows).await;
    goal("CPU: GetInvoice REST / by hand", rest.cpu_beside(&by_hand), BY_HAND_GOAL, true);
    figure("CPU: GetInvoice REST / gRPC", rest.cpu_beside(&grpc), "");
    figure("CPU: no look-up, transcoder / by hand", transcoded.cpu_beside(&same), "");
}

/// Creating invoices.
async fn creations(server: &TestServer, peers: &str, engine: Engine) {
    let ours = server.url.as_str();
    let load = |kind, url, extra| Load::new(kind, url, server, CREATIONS, extra);
    let rows = [
        ("CreateInvoice, gRPC", load("grpc-create", ours, "")),
        ("CreateInvoice, REST", load("post", ours, "/api/v1/invoices")),
        ("empty handler, gRPC", load("grpc-create", peers, "")),
        ("empty handler, REST", load("post", peers, "/empty")),
    ];
    let [grpc, rest, empty_grpc, empty_rest] = in_turn(CREATION_ROUNDS, rows).await;
    figure("rate: CreateInvoice gRPC / empty handler", grpc.rate_beside(&empty_grpc), "");
    figure("rate: CreateInvoice REST / empty handler", rest.rate_beside(&empty_rest), "");
    // After them: it takes its addresses from the server's pool, which may lease none meanwhile.
    let raw = Raw::open(engine, &server.database_url).await;
    let owner = raw.owner().await;
    let mut single = Series::new("raw driver, the same rows, one transaction each", "invoices/s");
    let mut batched = Series::new("raw driver, the same rows, batches", "invoices/s");
    for _ in 0..CREATION_ROUNDS {
        let rows = raw.rows(CREATIONS).await;
        single.round(CREATIONS as u64, raw.one_by_one(owner, rows)).await;
        let rows = raw.rows(CREATIONS).await;
        batched.round(CREATIONS as u64, raw.batched(owner, rows)).await;
    }
    single.print();
    batched.print();
    for (name, ours) in [("gRPC", &grpc), ("REST", &rest)] {
        let what = |beside| format!("rate: CreateInvoice {name} / {beside}");
        figure(&what("raw, one transaction each"), ours.rate() / single.rate(), "");
        figure(&what("raw, batches"), ours.rate() / batched.rate(), "");
    }
}

/// Runs rounds of each alternately and prints them.
async fn in_turn<const N: usize>(rounds: usize, rows: [(&str, Load<'_>); N]) -> [Series; N] {
    let mut series = rows.each_ref().map(|(name, _)| Series::new(*name, "calls/s"));
    for _ in 0..rounds {
        for ((_, load), series) in rows.iter().zip(&mut series) {
            load.round(series).await;
        }
    }
    series.iter().for_each(Series::print);
    series
}

/// The answers must be the same, or the comparison says nothing.
async fn assert_same(server: &TestServer, urls: [String; 4]) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answers = Vec::new();
    for url in urls {
        let request = http.get(url).header("authorization", server.authorization());
        let answer = request.send().await.unwrap();
        let names: BTreeSet<String> = answer.headers().keys().map(ToString::to_string).collect();
        let tag = answer.headers()["etag"].clone();
        answers.push((names, tag, answer.text().await.unwrap()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}
