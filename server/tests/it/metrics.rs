//! What monitoring is told: that it is off until it is asked for, that the figures follow what happens, and
//! that neither a key in a node's URL nor a database that hangs gets in the way. Not here: the table of all
//! metrics (`guides/metrics`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cryptopayment::app::{self, Role};
use cryptopayment::chain::SandboxControl as _;
use cryptopayment::config::{Config, Flags};
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment::metrics::{CallMeter, Meters};
use cryptopayment::transport::metrics::{Format, Scrapes};
use cryptopayment::usecase::take_figures::TakeFigures;
use cryptopayment::worker::endpoints::EndpointWatcher;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus, NetworkState};
use reqwest::Client;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, TransactionTrait as _};
use tokio_util::sync::CancellationToken;

use super::endpoints::{Bend, Story};
use crate::conformance::world::World;
use crate::support::clock::MovedClock;
use crate::support::core::NETWORK;
use crate::support::rest::{Answer, Rest, answer};
use crate::support::server::{Engine, TestServer, eventually};

const ON: &str = "[metrics]\nlisten = \"127.0.0.1:0\"";
const PAGE: &str = include_str!("../../../docs/operating/metrics.md");
/// Longer than a scrape may take, for a machine with much else to do.
const SCRAPE_MAX: Duration = Duration::from_secs(30);

/// What a server tells who asks for this form.
async fn scrape(server: &TestServer, accept: &str) -> Answer {
    scrape_at(server.metrics_address().expect("metrics are on"), accept).await
}

async fn scrape_at(address: SocketAddr, accept: &str) -> Answer {
    let http = Client::builder().timeout(SCRAPE_MAX).no_proxy().build().unwrap();
    answer(http.get(format!("http://{address}/metrics")).header("accept", accept)).await
}

/// What is told as text; `None` while the figures take longer than a scrape may.
async fn told_if_at_hand(server: &TestServer) -> Option<String> {
    let got = scrape(server, "text/plain").await;
    assert!(matches!(got.status, 200 | 503), "{}", got.body);
    (got.status == 200).then_some(got.body)
}

/// The value of a sample; `None` where it is not told.
fn value(text: &str, sample: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap_or_else(|_| panic!("{sample} {line}")))
}

/// Waits until a sample has a value that holds.
async fn until(server: &TestServer, sample: &str, holds: impl Fn(Option<u64>) -> bool) -> String {
    eventually(sample, || async {
        let text = told_if_at_hand(server).await?;
        holds(value(&text, sample)).then_some(text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_off_by_default_and_never_on_the_public_port() {
    let server = TestServer::start(crate::ENGINE).await;
    assert_eq!(server.metrics_address(), None);
    assert_eq!(Rest::of(&server).get("/metrics").await.status, 404);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_say_what_happened() {
    let world = World::sandbox_with(crate::ENGINE, Network::Ltc, ON).await;
    let server = &world.server;
    let own = format!("http://{}", server.metrics_address().unwrap());
    assert_ne!(own, server.url);
    assert_eq!(Rest::of(server).get("/metrics").await.status, 404, "not on the public port");

    world.receiver.answer([500]);
    let invoice = world.invoice().await;
    world.client.get_invoice("no such invoice").await.unwrap_err();
    let open = "cryptopayment_invoices_open{network=\"ltc\",status=\"pending\"}";
    let text = until(server, open, |open| open == Some(1)).await;
    let call = |method: &str, code: &str| {
        let method = format!("cryptopayment.v1.InvoiceService/{method}");
        format!("cryptopayment_rpc_calls_total{{method=\"{method}\",code=\"{code}\"}}")
    };
    assert_eq!(value(&text, &call("CreateInvoice", "OK")), Some(1));
    assert_eq!(value(&text, &call("CancelInvoice", "OK")), Some(0));
    assert_eq!(value(&text, &call("GetInvoice", "NOT_FOUND")), Some(1));
    let committed = |unit: &str| {
        format!("cryptopayment_units_of_work_total{{unit=\"{unit}\",outcome=\"committed\"}}")
    };
    assert_eq!(value(&text, &committed("create_invoice")), Some(1), "{text}");

    world.pay(&invoice, 1, 1).await;
    let written = committed("scan_mempool");
    let text = until(server, &written, |count| count == Some(1)).await;
    let looked = value(&text, &committed("mark_read"));
    let text = until(server, &committed("mark_read"), |n| n >= looked.map(|n| n + 3)).await;
    assert_eq!(value(&text, &written), Some(1), "what waits is written down once");
    let refused = "cryptopayment_webhook_attempts_total{outcome=\"refused\"}";
    until(server, refused, |count| count == Some(1)).await;
    until(server, "cryptopayment_webhook_deliveries_pending", |count| count == Some(1)).await;
    world.mine_deep(&invoice).await;
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.client.sandbox().advance_clock(61).await.unwrap();
    world.receiver.wait_for(3).await;
    until(server, "cryptopayment_webhook_deliveries_pending", |n| n == Some(0)).await;
    // The clock was moved: until the next read the last one was a minute ago.
    let reading = "cryptopayment_network_state{network=\"ltc\",state=\"reading\"}";
    let text = until(server, reading, |reading| reading == Some(1)).await;
    assert_eq!(value(&text, refused), Some(1));
    let delivered = "cryptopayment_webhook_attempts_total{outcome=\"delivered\"}";
    assert_eq!(value(&text, delivered), Some(2));
    assert_eq!(value(&text, open), Some(0));
    for (sample, expected) in [
        ("cryptopayment_database_up", 1),
        ("cryptopayment_events_undispatched", 0),
        ("cryptopayment_webhook_oldest_due_seconds", 0),
        ("cryptopayment_unexpected_deposits_open", 0),
        ("cryptopayment_network_lag_blocks{network=\"ltc\"}", 0),
        ("cryptopayment_network_state{network=\"ltc\",state=\"held\"}", 0),
        ("cryptopayment_rate_available{asset=\"LTC\"}", 1),
    ] {
        assert_eq!(value(&text, sample), Some(expected), "{sample}");
    }
    let scanned = value(&text, "cryptopayment_network_scanned_height{network=\"ltc\"}");
    let head = value(&text, "cryptopayment_network_head_height{network=\"ltc\"}");
    assert!(scanned.is_some() && scanned == head, "{scanned:?} of {head:?}");
    assert!(value(&text, "cryptopayment_network_addresses{network=\"ltc\"}") >= Some(20));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_in_the_form_that_was_asked_for_and_all_of_it_is_documented() {
    let server = TestServer::with(crate::ENGINE, ON).await;
    let open = scrape(&server, "application/openmetrics-text;version=1.0.0,text/plain;q=0.1").await;
    let of = |answer: &Answer| answer.headers["content-type"].to_str().unwrap().to_owned();
    assert_eq!(of(&open), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.body.ends_with("# EOF\n"));
    let plain = eventually("figures at hand", || async {
        let plain = scrape(&server, "*/*").await;
        (plain.status == 200).then_some(plain)
    })
    .await;
    assert_eq!(of(&plain), "text/plain; version=0.0.4; charset=utf-8");
    let names: Vec<&str> = plain
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(PAGE.contains(&format!("| `{name}` |")), "{name} is not on the page");
    }
    server.finish().await;
}

/// What is told of a network whose nodes a test bends, after a look at them.
async fn told_of(story: &Story) -> String {
    let env = story.clock.env();
    let (db, holder) = (story.core.db.clone(), story.core.caller.merchant_id);
    let endpoints = Arc::clone(&story.endpoints);
    EndpointWatcher::new(db.clone(), endpoints, holder).tick().await.unwrap();
    let meters = Meters::new(CallMeter::new(env.clone(), std::iter::empty()));
    let take = TakeFigures { db, env, networks: vec![NETWORK], rates: None };
    let told = Scrapes::new(take, meters).tell(Format::Prometheus).await;
    assert!(told.is_whole);
    told.text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_or_goes_away_shows() {
    let network = |name: &str| format!("cryptopayment_network_{name}{{network=\"{NETWORK}\"}}");
    let state = |state: &str| {
        format!("cryptopayment_network_state{{network=\"{NETWORK}\",state=\"{state}\"}}")
    };
    let node = |state: &str| {
        let labels = format!("network=\"{NETWORK}\",endpoint=\"node 0\",state=\"{state}\"");
        format!("cryptopayment_endpoint_state{{{labels}}}")
    };
    let mut story = Story::with(1).await;
    let scanned = story.read().await.unwrap().height;
    let text = told_of(&story).await;
    assert_eq!(value(&text, &network("scanned_height")), Some(scanned));
    assert_eq!(value(&text, &network("lag_blocks")), Some(0));
    assert_eq!(
        (value(&text, &state("reading")), value(&text, &node("healthy"))),
        (Some(1), Some(1))
    );

    // Blocks that the node has, and that nobody reads.
    story.chain.mine(5).await.unwrap();
    let text = told_of(&story).await;
    assert_eq!(value(&text, &network("scanned_height")), Some(scanned));
    assert_eq!(value(&text, &network("head_height")), Some(scanned + 5));
    assert_eq!(value(&text, &network("lag_blocks")), Some(5));

    // No new block for a day: the node answers, and is not believed to keep up.
    story.read().await.unwrap();
    story.clock.advance(24 * 3_600);
    let text = told_of(&story).await;
    assert_eq!(
        (value(&text, &node("healthy")), value(&text, &node("stalled"))),
        (Some(0), Some(1))
    );

    // It goes away.
    story.nodes[0].bend(Bend::Down);
    for _ in 0..3 {
        story.read().await.unwrap_err();
    }
    let text = told_of(&story).await;
    let lag = value(&text, &network("watermark_lag_seconds")).unwrap();
    assert!(lag >= 24 * 3_600, "{lag}");
    assert_eq!(
        (value(&text, &state("reading")), value(&text, &state("waiting"))),
        (Some(0), Some(1))
    );
    assert_eq!(value(&text, &node("unreachable")), Some(1));
    story.clock.advance(600);
    let text = told_of(&story).await;
    assert!(value(&text, &network("watermark_lag_seconds")).unwrap() >= lag + 600, "it grows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_a_node_is_told() {
    let node = "[networks.eth]\nbackend = \"node\"\nchain = \"regtest\"\n\
                node = { url = \"http://127.0.0.1:1/v2/SECRETKEY\" }";
    // The start waits for the first read of each network, which will not come, by this clock.
    let clock = MovedClock::new();
    let passing = clock.clone();
    let passing = tokio::spawn(async move {
        let mut moments = tokio::time::interval(Duration::from_millis(100));
        loop {
            moments.tick().await;
            passing.advance(60);
        }
    });
    let settings = format!("{ON}\n{node}");
    let server = TestServer::with_clock(crate::ENGINE, &settings, Some(clock)).await;
    passing.abort();
    let away =
        "cryptopayment_endpoint_state{network=\"eth\",endpoint=\"node\",state=\"unreachable\"}";
    let text = until(&server, away, |told| told == Some(1)).await;
    let waiting = "cryptopayment_network_state{network=\"eth\",state=\"waiting\"}";
    assert_eq!(value(&text, waiting), Some(1));
    assert_eq!(value(&text, "cryptopayment_network_scanned_height{network=\"eth\"}"), None);
    // What was never read is not called up to date.
    let networks = server.client().networks().await.unwrap();
    let eth = networks.into_iter().find(|one| one.network == "eth").unwrap();
    assert_eq!((eth.lag_seconds, eth.state()), (u32::MAX, NetworkState::Waiting));
    for secret in ["SECRETKEY", "/v2", "127.0.0.1:1"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let failed = "cryptopayment_node_reads_total{network=\"eth\",outcome=\"failed\"}";
    until(&server, failed, |count| count > Some(0)).await;
    server.finish().await;
}

/// Renames a table beside the server, which may be writing.
async fn renamed(db: &DatabaseConnection, from: &str, to: &str) {
    eventually("a table renamed", || async {
        db.execute_unprepared(&format!("ALTER TABLE {from} RENAME TO {to}")).await.ok()
    })
    .await;
}

/// PostgreSQL hangs on a lock that another holds; SQLite's readers wait for nobody, so there the table is
/// away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_told_and_not_waited_for() {
    let server = TestServer::with(crate::ENGINE, ON).await;
    eventually("figures at hand", || told_if_at_hand(&server)).await;
    let db = Database::connect(&server.database_url).await.unwrap();
    let held = match crate::ENGINE {
        Engine::Postgres => {
            let holder = db.begin().await.unwrap();
            let lock = "LOCK TABLE chain_endpoint IN ACCESS EXCLUSIVE MODE";
            holder.execute_unprepared(lock).await.unwrap();
            Some(holder)
        }
        Engine::Sqlite => {
            renamed(&db, "chain_endpoint", "chain_endpoint_away").await;
            None
        }
    };
    let got = eventually("503", || async {
        let got = scrape(&server, "text/plain").await;
        (got.status == 503).then_some(got)
    })
    .await;
    assert_eq!(value(&got.body, "cryptopayment_database_up"), Some(0));
    assert!(got.body.contains("cryptopayment_rpc_calls_total{"), "what the process counts is told");
    assert!(!got.body.contains("cryptopayment_network_"), "and nothing of before");
    match held {
        Some(holder) => holder.rollback().await.unwrap(),
        None => renamed(&db, "chain_endpoint_away", "chain_endpoint").await,
    }
    db.close().await.unwrap();
    eventually("200", || async { (scrape(&server, "*/*").await.status == 200).then_some(()) })
        .await;
    server.finish().await;
}

/// Only where a worker may run: SQLite has one process, in the role of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_tells_what_it_reads() {
    let mut server = TestServer::with(crate::ENGINE, ON).await;
    if crate::ENGINE == Engine::Postgres {
        server.stop().await;
        let directory = server.directory.path();
        let flags = Flags { data_dir: Some(directory.join("data")) };
        let config = Config::load(Some(&directory.join("test.toml")), &flags).unwrap();
        let stop = CancellationToken::new();
        let worker = app::start(&config, Role::Worker, Env::system(), stop.clone()).await.unwrap();
        let address = worker.metrics_address.unwrap();
        let scanned = "cryptopayment_network_scanned_height{network=\"ltc\"}";
        let unit = "cryptopayment_units_of_work_total{unit=\"mark_read\",outcome=\"committed\"}";
        let text = eventually("the worker reads", || async {
            let text = scrape_at(address, "*/*").await.body;
            (value(&text, unit) > Some(0) && value(&text, scanned).is_some()).then_some(text)
        })
        .await;
        assert!(!text.contains("CreateInvoice") && !text.contains("_rate_"), "{text}");
        stop.cancel();
        worker.wait().await;
        server.run().await;
    }
    server.finish().await;
}
