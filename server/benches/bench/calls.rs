//! Calls over the wire: creating through gRPC and REST beside handlers that do nothing, and reading
//! through the transcoder beside gRPC and a handler written by hand. The caller is another process.

use cryptopayment_sdk::CreateInvoice;
use tokio_util::sync::CancellationToken;

use super::handler;
use super::load::Load;
use super::measure::{Series, figure, goal, heading};
use crate::support::server::{Engine, TestServer, eventually};

/// Rounds of each.
const ROUNDS: usize = 3;
/// Reads of a round.
const READS: usize = 16_000;
/// Creations of a round.
const CREATIONS: usize = 2_000;
/// Callers at once.
const CALLERS: usize = 64;
/// What the transcoder may cost of what a handler by hand costs.
const TRANSCODER_GOAL: f64 = 1.3;
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
    let peers = handler::serve(invoice.clone(), stop.clone()).await;
    let (path, hand) =
        (format!("/api/v1/invoices/{}", invoice.id), format!("/hand/{}", invoice.id));
    assert_same(&server, &peers, &path, &hand).await;

    heading(&format!("Calls over loopback, {engine:?}; the caller is another process"));
    let load = |kind, url, extra: &str| Load {
        kind,
        url,
        credentials: &server.credentials,
        count: if kind == "get" || kind == "grpc-get" { READS } else { CREATIONS },
        callers: CALLERS,
        extra: extra.to_owned(),
    };
    let (ours, peers) = (server.url.as_str(), peers.as_str());
    let rows = [
        ("GetInvoice, gRPC", load("grpc-get", ours, &invoice.id)),
        ("GetInvoice, REST", load("get", ours, &path)),
        ("no look-up, gRPC", load("grpc-get", peers, &invoice.id)),
        ("no look-up, REST through the transcoder", load("get", peers, &path)),
        ("no look-up, REST by hand with serde", load("get", peers, &hand)),
        ("CreateInvoice, gRPC", load("grpc-create", ours, "")),
        ("CreateInvoice, REST", load("post", ours, "/api/v1/invoices")),
        ("empty handler, gRPC", load("grpc-create", peers, "")),
        ("empty handler, REST", load("post", peers, "/empty")),
    ];
    let mut series: Vec<Series> =
        rows.iter().map(|(name, _)| Series::new(*name, "calls/s")).collect();
    for _ in 0..ROUNDS {
        for ((_, load), series) in rows.iter().zip(&mut series) {
            load.round(series).await;
        }
    }
    series.iter().for_each(Series::print);
    let ratio = series[3].cpu() / series[4].cpu();
    goal("CPU: transcoder / by hand", ratio, TRANSCODER_GOAL, true);
    figure("CPU: GetInvoice REST / gRPC", series[1].cpu() / series[0].cpu(), "");
    figure("rate: CreateInvoice gRPC / empty handler", series[5].rate() / series[7].rate(), "");
    figure("rate: CreateInvoice REST / empty handler", series[6].rate() / series[8].rate(), "");
    stop.cancel();
    server.finish().await;
}

/// The three answers must be the same, or the comparison says nothing.
async fn assert_same(server: &TestServer, peers: &str, path: &str, hand: &str) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answers = Vec::new();
    for url in [format!("{}{path}", server.url), format!("{peers}{path}"), format!("{peers}{hand}")]
    {
        let request = http.get(url).header("authorization", server.authorization());
        answers.push(request.send().await.unwrap().text().await.unwrap());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[1], answers[2]);
}
