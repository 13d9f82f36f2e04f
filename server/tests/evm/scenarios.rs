//! What only a real node can show: it stops, it is cut off, it changes its mind about blocks, it is
//! wiped, it includes a transaction that then fails. Each story ends in the right books.

use alloy::primitives::{Address, U256};
use cryptopayment::chain::evm::{EvmSettings, EvmWriter};
use cryptopayment::chain::{Broadcast, ChainWriter as _, ForkFate, SandboxControl as _};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1 as admin;
use cryptopayment_proto::admin::v1::network_service_client::NetworkServiceClient;
use cryptopayment_sdk::v1::{InvoiceException as Exception, InvoiceStatus as Status};

use crate::anvil::abi::transfer_data;
use crate::conformance::world::{World, asked, share};
use crate::outages;
use crate::program::beside;
use crate::support::server::{Engine, eventually};
use crate::world::NodeWorld;

/// Makes one test per story on the world that `$start` gives.
#[macro_export]
macro_rules! every_story {
    ($start:expr) => {
        $crate::every_story! { $start;
            two_hundred_invoices_paid_in_one_block,
            a_node_that_stops_and_comes_back_loses_nothing,
            while_the_node_is_cut_off_nobody_is_late,
            a_reorganisation_while_down_is_found_at_the_next_start,
            deposits_spent_while_down_are_credited_once,
            a_deep_fork_keeps_what_it_keeps,
            a_wiped_chain_refuses_to_start,
            a_node_that_is_too_old_is_refused_at_the_start,
            the_doctor_knows_the_node,
            broadcasts_say_what_became_of_them,
        }
    };
    ($start:expr; $($story:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                $crate::scenarios::$story($start.await).await;
            }
        )*
    };
}

pub async fn two_hundred_invoices_paid_in_one_block(start: NodeWorld) {
    let NodeWorld { world, .. } = start;
    let invoices = outages::invoices(&world, 200).await;
    // Half of them one by one, half of them through a contract.
    for invoice in &invoices[..100] {
        world.pay(invoice, 1, 1).await;
    }
    for chunk in invoices[100..].chunks(25) {
        let outputs: Vec<_> = chunk.iter().map(|invoice| share(invoice, 1, 1)).collect();
        world.chain.pay(&outputs).await.unwrap();
    }
    outages::all_are_confirmed(world, &invoices).await;
}

pub async fn a_node_that_stops_and_comes_back_loses_nothing(start: NodeWorld) {
    let NodeWorld { world, node, .. } = start;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    world.chain.mine(1).await.unwrap();
    node.stop().await;
    let other = world.invoice().await;
    node.run().await;
    world.pay(&other, 1, 1).await;
    outages::all_are_confirmed(world, &[invoice, other]).await;
}

pub async fn while_the_node_is_cut_off_nobody_is_late(start: NodeWorld) {
    let NodeWorld { world, proxy, .. } = start;
    outages::while_the_node_is_cut_off_nobody_is_late(world, &[&proxy]).await;
}

pub async fn a_reorganisation_while_down_is_found_at_the_next_start(start: NodeWorld) {
    outages::a_reorganisation_while_down_is_found_at_the_next_start(start.world, 0).await;
}

/// Blocks tell what an address got, whatever is left of it when they are read.
pub async fn deposits_spent_while_down_are_credited_once(start: NodeWorld) {
    let NodeWorld { mut world, node, .. } = start;
    let invoice = world.invoice().await;
    world.server.stop().await;
    world.pay(&invoice, 1, 1).await;
    world.chain.mine(1).await.unwrap();
    node.take_all(invoice.address.parse().unwrap()).await;
    world.mine_deep(&invoice).await;
    world.server.run().await;
    world.client = world.server.client();
    let now = world.wait(&invoice, Status::Confirmed, Exception::None).await;
    assert_eq!((now.payments.len(), &now.paid_units), (1, &invoice.amount_units));
    world.wait_available(asked(&invoice)).await;
    world.wait_told(&invoice, &["payment.detected", "payment.confirmed"]).await;
    world.finish().await;
}

/// Three times as deep as a payment must be; twice, and back in the other order.
pub async fn a_deep_fork_keeps_what_it_keeps(start: NodeWorld) {
    let NodeWorld { world, node, .. } = start;
    let (kept, freed) = (world.invoice().await, world.invoice().await);
    let good = world.pay(&kept, 1, 1).await;
    let loose = world.pay(&freed, 1, 1).await;
    world.wait_seen(&kept, &good).await;
    world.wait_seen(&freed, &loose).await;
    let depth = kept.confirmations.unwrap().required * 3;
    node.mine(depth).await.unwrap();
    for invoice in [&kept, &freed] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    node.fork(depth, &[(loose, ForkFate::Unconfirm)]).await.unwrap();
    world.wait(&freed, Status::Confirming, Exception::Reorged).await;
    let still = world.wait(&kept, Status::Confirmed, Exception::None).await;
    assert_eq!(still.paid_units, kept.amount_units);
    world.wait_available_and_pending(asked(&kept), asked(&freed)).await;
    node.fork(depth, &[]).await.unwrap();
    world.mine_deep(&freed).await;
    world.wait(&freed, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&kept) + asked(&freed)).await;
    world.finish().await;
}

pub async fn a_wiped_chain_refuses_to_start(start: NodeWorld) {
    let NodeWorld { mut world, node, settings, .. } = start;
    world.server.stop().await;
    node.stop().await;
    node.wipe();
    node.run().await;
    let error = world.server.refuses_to_run_with(&settings).await;
    // Without its token a chain is refused before anything else is said of it.
    let reason = if world.network == Network::Eth { "another chain" } else { "18 decimals" };
    assert!(error.contains(reason), "{error}");
}

/// Anvil is judged by nobody but an operator who says from which version on it is believed.
pub async fn a_node_that_is_too_old_is_refused_at_the_start(start: NodeWorld) {
    let NodeWorld { mut world, settings, .. } = start;
    world.server.stop().await;
    let from = |version: &str| {
        let told = settings.replace("chain_id", &format!("oldest_version = {version}, chain_id"));
        assert_ne!(told, settings);
        told
    };
    let error = world.server.refuses_to_run_with(&from("999999")).await;
    assert!(error.contains("is older than 99.99.99: update the node"), "{error}");
    assert!(error.contains(&format!("networks.{}.node.oldest_version", world.network)), "{error}");
    world.server.restart_with(&from("1")).await;
    world.client = world.server.client();
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.finish().await;
}

pub async fn the_doctor_knows_the_node(start: NodeWorld) {
    let NodeWorld { world, node, proxy, .. } = start;
    let name = format!("node {}", world.network);
    let row = async || {
        let said = beside(&world.server, &["doctor", "--json"]).await.json();
        let rows = said.as_array().unwrap().iter();
        rows.filter(|row| row["check"] == name).cloned().collect::<Vec<_>>()
    };
    let [sound] = row().await.try_into().unwrap();
    let text = sound["text"].as_str().unwrap();
    assert_eq!(sound["state"], "ok", "{sound}");
    assert!(text.contains("anvil") && text.contains("regtest, block"), "{text}");
    proxy.cut();
    let [gone] = row().await.try_into().unwrap();
    assert_eq!(gone["state"], "fail", "{gone}");
    assert!(gone["cure"].as_str().unwrap().contains("start the node"), "{gone}");
    proxy.mend();
    drop(node);
    world.finish().await;
}

pub async fn broadcasts_say_what_became_of_them(start: NodeWorld) {
    let NodeWorld { world, node, .. } = start;
    let settings = EvmSettings {
        network: world.network,
        chain: ChainKind::Regtest,
        private_chain_id: Some(node.chain_id()),
        contract: (world.network == Network::Bep20).then(|| node.token.to_string()),
        rpc: node.settings(),
    };
    let writer = EvmWriter::new(&settings).unwrap();
    let invoice = world.invoice().await;
    let to: Address = invoice.address.parse().unwrap();
    let raw = node.sign_payment(to, asked(&invoice));
    assert_eq!(writer.broadcast(&raw).await, Ok(Broadcast::Accepted));
    assert_eq!(writer.broadcast(&raw).await, Ok(Broadcast::AlreadyKnown), "it waits");
    world.mine_deep(&invoice).await;
    assert_eq!(writer.broadcast(&raw).await, Ok(Broadcast::AlreadyKnown), "it is in a block");
    world.wait(&invoice, Status::Confirmed, Exception::None).await;

    let elsewhere = node.sign_for_chain(node.chain_id() + 1, to, 1);
    let refused = writer.broadcast(&elsewhere).await.unwrap_err().to_string();
    assert!(refused.contains("chain"), "{refused}");
    let mut broken = node.sign_payment(to, 1);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let refused = writer.broadcast(&broken).await.unwrap();
    assert!(matches!(refused, Broadcast::Rejected(ref why) if !why.is_empty()), "{refused:?}");
    world.wait_available(asked(&invoice)).await;
    world.finish().await;
}

/// Deep enough comes first, and is not enough: the node calls a block final some blocks later.
pub async fn a_payment_waits_until_its_block_is_final(start: NodeWorld) {
    let NodeWorld { world, node, .. } = start;
    let invoice = world.invoice().await;
    assert!(invoice.requires_finality);
    let required = invoice.confirmations.unwrap().required;
    world.pay(&invoice, 1, 1).await;
    let mut tip = world.chain.mine(1).await.unwrap().height;
    let (paid_in, mut deepest_held) = (tip, 0);
    loop {
        let block = node.block("finalized").await.unwrap();
        let finalized = block["number"].as_str().unwrap().trim_start_matches("0x");
        let finalized = u64::from_str_radix(finalized, 16).unwrap();
        eventually("the newest block is read", || async {
            let networks = world.client.networks().await.unwrap();
            let own = networks.into_iter().find(|one| one.network == world.network.as_str())?;
            let stand = (own.scanned_height, own.finalized_height);
            (stand == (tip, Some(finalized))).then_some(())
        })
        .await;
        if finalized >= paid_in {
            break;
        }
        let held = world.wait(&invoice, Status::Confirming, Exception::None).await;
        assert!(held.confirmations.unwrap().received < required, "{held:?}");
        world.wait_available_and_pending(0, asked(&invoice)).await;
        deepest_held = tip - paid_in + 1;
        tip = world.chain.mine(1).await.unwrap().height;
    }
    assert!(deepest_held > u64::from(required), "it was deep enough and waited");
    let now = world.wait(&invoice, Status::Confirmed, Exception::None).await;
    assert_eq!(now.confirmations.unwrap().received, required);
    world.wait_available(asked(&invoice)).await;
    world.finish().await;
}

/// The nodes of a network as the operator sees them.
pub async fn endpoints(world: &World) -> Vec<admin::Endpoint> {
    let mut client = NetworkServiceClient::new(world.server.admin().await);
    let answer = client.list_networks(admin::ListNetworksRequest {}).await.unwrap().into_inner();
    let own = answer.networks.into_iter().find(|one| one.network == world.network.as_str());
    own.unwrap().endpoints
}

/// The token's contract and the chain's id are the first node's: the fallback's table has its URL alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_node_is_cut_off_the_fallback_is_read() {
    use admin::EndpointState::{Healthy, Unreachable};

    let start = NodeWorld::start_with_fallback(Network::Bep20, Engine::Postgres).await;
    let (NodeWorld { world, proxy, .. }, second) = start;
    let (early, late) = (world.invoice().await, world.invoice().await);
    let txid = world.pay(&early, 1, 1).await;
    world.wait_seen(&early, &txid).await;
    proxy.cut();
    world.pay(&late, 1, 1).await;
    world.mine_deep(&late).await;
    for invoice in [&early, &late] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    eventually("the operator sees which one serves", || async {
        let [node, fallback] = endpoints(&world).await.try_into().unwrap();
        assert_eq!((node.name.as_str(), fallback.name.as_str()), ("node", "fallback 1"));
        let stand = (node.state(), fallback.state(), fallback.is_serving);
        (stand == (Unreachable, Healthy, true) && !node.error.is_empty()).then_some(())
    })
    .await;
    proxy.mend();
    eventually("the first is read again", || async {
        let [node, fallback] = endpoints(&world).await.try_into().unwrap();
        let stand = (node.state(), fallback.state(), node.is_serving);
        (stand == (Healthy, Healthy, true)).then_some(())
    })
    .await;
    second.cut();
    let last = world.invoice().await;
    world.pay(&last, 1, 1).await;
    world.mine_deep(&last).await;
    world.wait(&last, Status::Confirmed, Exception::None).await;
    world.wait_available([&early, &late, &last].map(asked).iter().sum()).await;
    let doctor = beside(&world.server, &["doctor", "--json"]).await.json();
    let state = |check: &str| {
        let mut rows = doctor.as_array().unwrap().iter();
        rows.find(|row| row["check"] == check).unwrap()["state"].clone()
    };
    assert_eq!((state("node bep20"), state("fallback 1 bep20")), ("ok".into(), "fail".into()));
    world.finish().await;
}

/// A payer signs two transfers and owns enough for one: each would be carried out now, and both wait.
/// The second fails in its block; it consumed its nonce and paid nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_fails_in_its_block_goes_back() {
    let NodeWorld { world, node, .. } = NodeWorld::start(Network::Bep20, Engine::Postgres).await;
    let (first, second) = (world.invoice().await, world.invoice().await);
    let payer = node.turn();
    node.keep_tokens(payer, asked(&first)).await;
    for invoice in [&first, &second] {
        let to = invoice.address.parse().unwrap();
        let data = transfer_data(to, U256::from(asked(invoice)));
        node.invoke_from(payer, node.token, 0, data, 100_000).await;
    }
    for invoice in [&first, &second] {
        world.wait(invoice, Status::Confirming, Exception::None).await;
    }
    world.mine_deep(&first).await;
    world.wait(&first, Status::Confirmed, Exception::None).await;
    let back = world.wait(&second, Status::Pending, Exception::Reorged).await;
    assert_eq!(back.paid_units, "0");
    world.wait_available(asked(&first)).await;
    world.finish().await;
}
