//! Blocks read again: what a node left out is found, counts once, and a second time changes nothing.

use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::failure::Reason;
use cryptopayment::env::Env;
use cryptopayment::usecase::rescan_blocks::{self, RESCANS_WAITING_MAX};
use cryptopayment_proto::admin::v1 as admin;
use cryptopayment_proto::admin::v1::RescanState;
use cryptopayment_proto::admin::v1::network_service_client::NetworkServiceClient;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus, NetworkState};
use sea_orm::{ConnectionTrait, Database};
use tonic::transport::Channel;

use crate::conformance::world::{World, asked};
use crate::support::core::{Core, NETWORK};
use crate::support::rest::Rest;
use crate::support::server::{eventually, fresh_database};

type Admin = NetworkServiceClient<Channel>;

/// Asks for blocks of `ltc` to be read again and waits until they were.
async fn rescan(client: &mut Admin, from: u64, to: u64) -> admin::Rescan {
    let network = "ltc".to_owned();
    let request = admin::RescanBlocksRequest { network, from_height: from, to_height: to };
    let id = client.rescan_blocks(request).await.unwrap().into_inner().rescan.unwrap().id;
    eventually("the rescan is done", || {
        let (mut client, id) = (client.clone(), id.clone());
        async move {
            let answer = client.get_rescan(admin::GetRescanRequest { id }).await.unwrap();
            answer.into_inner().rescan.filter(|one| one.state() == RescanState::Done)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_a_node_left_out_is_found_and_counts_once() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let file = world.server.directory.path().join("data/sandbox.sqlite");
    let chain = Sandbox::open(&file, Env::system()).await.unwrap();
    let chain = chain.chain(Network::Ltc).await.unwrap();
    let (invoice, other) = (world.invoice().await, world.invoice().await);
    world.pay(&other, 1, 1).await;
    // To the scanner it looks like a transfer of something else: that is how it is left out.
    let txid = chain.pay_foreign_token(&invoice.address, asked(&invoice)).await.unwrap();
    let first = world.chain.mine(1).await.unwrap().height;
    let tip = world.chain.mine(70).await.unwrap().height;
    world.wait(&other, InvoiceStatus::Confirmed, InvoiceException::None).await;
    eventually("everything is read", || async {
        let networks = world.client.networks().await.unwrap();
        let ltc = networks.into_iter().find(|one| one.network == "ltc").unwrap();
        let is_reading = ltc.state() == NetworkState::Reading;
        (is_reading && ltc.scanned_height == tip).then_some(())
    })
    .await;
    let rest = Rest::of(&world.server);
    let full = rest.get("/api/v1/networks?view=full").await.json();
    assert_eq!(full["networks"][0]["state"], "reading", "{full}");
    let basic = rest.get("/api/v1/networks").await.json();
    assert_eq!(basic["networks"][0].get("state"), None, "{basic}");
    let left_out = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((left_out.status(), left_out.paid_units.as_str()), (InvoiceStatus::Pending, "0"));

    let db = Database::connect(format!("sqlite://{}", file.display())).await.unwrap();
    let sql = format!("UPDATE payment SET own_asset = 1 WHERE txid = '{txid}'");
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();
    let mut client = NetworkServiceClient::new(world.server.admin().await);
    let missed = rescan(&mut client, first + 1, tip).await;
    assert_eq!(missed.deposits_changed, 0, "it is in the block before");
    let found = rescan(&mut client, 0, tip).await;
    assert_eq!((found.deposits_changed, found.next_height), (1, tip + 1));
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.wait_available(asked(&invoice) + asked(&other)).await;
    world.wait_told(&invoice, &["payment.detected", "payment.confirmed"]).await;

    let again = rescan(&mut client, 0, tip).await;
    assert_eq!(again.deposits_changed, 0);
    assert_ne!(again.id, found.id, "one that is done may be asked for again");
    world.wait_available(asked(&invoice) + asked(&other)).await;
    let listed = client.list_networks(admin::ListNetworksRequest {}).await.unwrap().into_inner();
    let ltc = listed.networks.into_iter().find(|one| one.network == "ltc").unwrap();
    assert_eq!(ltc.rescans.first().map(|one| one.id.as_str()), Some(again.id.as_str()));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rescan_that_makes_no_sense_is_refused() {
    let world =
        World::sandbox_with(crate::ENGINE, Network::Ltc, "[networks.eth]\nenabled = false\n").await;
    let mut client = NetworkServiceClient::new(world.server.admin().await);
    let cases = [
        ("", 0, 0, "network is required"),
        ("doge", 0, 0, "network is not one of the enabled networks: "),
        ("eth", 0, 0, "network is not one of the enabled networks: "),
        ("ltc", 1, 0, "from_height is above to_height"),
        ("ltc", 0, 9_999, "to_height is above block"),
    ];
    for (network, from, to, why) in cases {
        let network = network.to_owned();
        let request = admin::RescanBlocksRequest { network, from_height: from, to_height: to };
        let refused = client.rescan_blocks(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(why), "{refused}");
    }
    let id = "550e8400-e29b-41d4-a716-446655440000".to_owned();
    let missing = client.get_rescan(admin::GetRescanRequest { id }).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_waits_once_and_not_too_many_wait() {
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(crate::ENGINE, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    core.fill(1).await;
    core.execute("UPDATE chain_cursor SET height = 1000").await;
    let ask = |from: u64| {
        let (db, env) = (core.db.clone(), core.env.clone());
        async move { rescan_blocks::request(&db, &env, NETWORK, (from, 1_000), "operator").await }
    };
    let mut ids = Vec::new();
    for from in 0..RESCANS_WAITING_MAX {
        ids.push(ask(from).await.unwrap().id);
    }
    assert_eq!(ask(3).await.unwrap().id, ids[3], "the same range is the same rescan");
    let refused = ask(500).await.unwrap_err();
    assert_eq!(refused.reason, Reason::TooManyRescans);
    let waiting = "SELECT COUNT(*) FROM chain_rescan";
    assert_eq!(core.number(waiting).await.cast_unsigned(), RESCANS_WAITING_MAX);
}
