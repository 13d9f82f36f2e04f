//! Many at once: writers beside a reader of the event stream, allocation at full speed while blocks
//! arrive, twins of one request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus};
use cryptopayment_sdk::{Client, CreateInvoice, From};
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::conformance::world::{World, asked, share};
use crate::support::rest::Rest;
use crate::support::server::{DEADLINE, TestServer, eventually};

/// Writers at once.
const WRITERS: usize = 16;
/// Invoices of each.
const INVOICES_EACH: usize = 6;
/// How long a creation waits for the pool.
const POOL_WAIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_stream_misses_and_reorders_nothing() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let expected = WRITERS * INVOICES_EACH;
    let reader = world.client.stream_events(From::Earliest).take(expected);
    let reader = tokio::spawn(reader.map(|event| event.unwrap()).collect::<Vec<_>>());
    // Another one is cut off in the middle and goes on from what it has.
    let first_half = world.client.stream_events(From::Earliest).take(expected / 2);
    let first_half =
        tokio::spawn(first_half.map(|event| event.unwrap().sequence).collect::<Vec<_>>());
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let client = world.client.clone();
        writers.spawn(async move {
            for _ in 0..INVOICES_EACH {
                let created = client.create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
                client.cancel_invoice(&created.invoice.unwrap().id).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let events = reader.await.unwrap();
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    let all: Vec<u64> = (1..=expected as u64).collect();
    assert_eq!(sequences, all, "each event once, in the log's order");
    let invoices: HashSet<_> = events.iter().map(|event| event.invoice_id.clone()).collect();
    assert_eq!(invoices.len(), expected);

    let mut resumed = first_half.await.unwrap();
    let rest = world.client.stream_events(From::After(*resumed.last().unwrap()));
    let rest: Vec<u64> =
        rest.take(expected - resumed.len()).map(|event| event.unwrap().sequence).collect().await;
    resumed.extend(rest);
    assert_eq!(resumed, all, "neither a gap nor a repeat where it was cut");
    world.finish().await;
}

/// Whether the server has scanned Litecoin's block at `height`.
async fn scanned_up_to(client: &Client, height: u64) -> Option<()> {
    let networks = client.networks().await.unwrap();
    let ltc = networks.into_iter().find(|network| network.network == "ltc")?;
    (ltc.scanned_height >= height).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn allocating_at_full_speed_while_blocks_arrive_loses_no_payment() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let file = world.server.directory.path().join("data/sandbox.sqlite");
    let sandbox = Sandbox::open(&file, Env::system()).await.unwrap();
    let chain = Arc::new(sandbox.chain(Network::Ltc).await.unwrap());
    let stop = CancellationToken::new();
    let miner = tokio::spawn({
        let (chain, stop, client) = (Arc::clone(&chain), stop.clone(), world.client.clone());
        async move {
            while !stop.is_cancelled() {
                let tip = chain.mine(1).await.unwrap();
                // Blocks arrive as fast as they are scanned: a backlog would only grow.
                eventually("block scanned", || scanned_up_to(&client, tip.height)).await;
            }
        }
    });
    let mut payers = JoinSet::new();
    for _ in 0..8 {
        let (client, chain) = (world.client.clone(), Arc::clone(&chain));
        payers.spawn(async move {
            let mut invoices = Vec::new();
            while invoices.len() < 15 {
                let created = client.create_invoice(CreateInvoice::new("ltc", "5")).await;
                // The pool may be empty for a moment; nothing was handed out then.
                let Ok(created) = created else { continue };
                let invoice = created.invoice.unwrap();
                chain.pay(&[share(&invoice, 1, 1)]).await.unwrap();
                invoices.push(invoice);
            }
            invoices
        });
    }
    let mut paid = Vec::new();
    while let Some(invoices) = payers.join_next().await {
        paid.extend(invoices.unwrap());
    }
    let addresses: HashSet<_> = paid.iter().map(|invoice| invoice.address.clone()).collect();
    assert_eq!(addresses.len(), paid.len(), "no address was handed out twice");
    stop.cancel();
    miner.await.unwrap();
    world.mine_deep(&paid[0]).await;
    for invoice in &paid {
        world.wait(invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    }
    world.wait_available(paid.iter().map(asked).sum()).await;
    world.finish().await;
}

/// A process that finds its own addresses used up takes one block of new ones, not one for each
/// caller, and its callers wait the moment that filling a small pool takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_callers_does_not_exhaust_a_small_pool() {
    let settings = "[pool]\naddresses_low = 20\naddresses_batch = 40\naddresses_leased = 40";
    let server = TestServer::with(crate::ENGINE, settings).await;
    let mut callers = JoinSet::new();
    for _ in 0..24 {
        let rest = Rest::of(&server);
        callers.spawn(async move {
            let mut refused = Vec::new();
            for _ in 0..4 {
                let body = r#"{"network":"ltc","amount_usd":5}"#;
                let began = Instant::now();
                let mut got = rest.post("/api/v1/invoices", body).await;
                // On a busy machine filling may take longer than a caller waits, which is refused then
                // as documented; not before.
                while got.code() == "ADDRESS_POOL_EMPTY"
                    && (POOL_WAIT..DEADLINE).contains(&began.elapsed())
                {
                    got = rest.post("/api/v1/invoices", body).await;
                }
                refused.extend((got.status != 200).then_some(got.body));
            }
            refused
        });
    }
    let mut refused = Vec::new();
    while let Some(answers) = callers.join_next().await {
        refused.extend(answers.unwrap());
    }
    assert!(refused.is_empty(), "{} of 96 refused: {}", refused.len(), refused[0]);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_of_one_request_get_one_invoice() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let mut twins = JoinSet::new();
    for _ in 0..20 {
        let client = world.client.clone();
        twins.spawn(async move {
            let request = CreateInvoice::new("ltc", "5").request_id("the same");
            client.create_invoice(request).await.unwrap().invoice.unwrap().id
        });
    }
    let mut ids = HashSet::new();
    while let Some(id) = twins.join_next().await {
        ids.insert(id.unwrap());
    }
    assert_eq!(ids.len(), 1);
    let listed = world.client.list_invoices(Default::default()).await.unwrap();
    assert_eq!(listed.pagination.unwrap().total, 1);
    world.finish().await;
}
