//! What only a real node can show: it stops, it is cut off, it changes its mind about blocks, it is
//! another one than before. Each story ends in the right books; `every_scenario!` makes the tests.

use cryptopayment::app::doctor::{self, Check, Examination, State};
use cryptopayment::chain::SandboxControl as _;
use cryptopayment::config::{Config, Flags};
use cryptopayment::env::Env;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{InvoiceException as Exception, InvoiceStatus as Status};
use serde_json::{Value, json};

use crate::conformance::world::{World, asked, share};
use crate::keys::{keys_of, spend};
use crate::outages;
use crate::world::NodeWorld;

/// Every scenario; `$world` is an async expression that gives a [`NodeWorld`].
#[macro_export]
macro_rules! every_scenario {
    ($world:expr) => {
        $crate::every_scenario! { $world;
            two_hundred_invoices_paid_in_one_block,
            a_node_that_stops_and_comes_back_loses_nothing,
            while_the_node_is_cut_off_nobody_is_late,
            a_reorganisation_while_down_is_found_at_the_next_start,
            deposits_spent_while_down_are_credited_once,
            blocks_invalidated_and_reconsidered_end_where_they_began,
            another_chain_under_the_same_database_refuses_to_start,
            a_node_that_is_too_old_is_refused_at_the_start,
        }
    };
    ($world:expr; $($scenario:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                $crate::scenarios::$scenario($world.await).await;
            }
        )*
    };
}

pub async fn two_hundred_invoices_paid_in_one_block(world: NodeWorld) {
    let NodeWorld { world, .. } = world;
    let invoices = outages::invoices(&world, 200).await;
    for chunk in invoices.chunks(50) {
        let outputs: Vec<_> = chunk.iter().map(|invoice| share(invoice, 1, 1)).collect();
        world.chain.pay(&outputs).await.unwrap();
    }
    outages::all_are_confirmed(world, &invoices).await;
}

pub async fn a_node_that_stops_and_comes_back_loses_nothing(world: NodeWorld) {
    let NodeWorld { world, node, .. } = world;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    world.chain.mine(1).await.unwrap();
    node.stop().await;
    let other = world.client.create_invoice(CreateInvoice::new(world.network.as_str(), "20"));
    let other = other.await.unwrap().invoice.unwrap();
    node.run().await;
    world.pay(&other, 1, 1).await;
    outages::all_are_confirmed(world, &[invoice, other]).await;
}

pub async fn while_the_node_is_cut_off_nobody_is_late(world: NodeWorld) {
    let NodeWorld { world, proxy, .. } = world;
    outages::while_the_node_is_cut_off_nobody_is_late(world, &[&proxy]).await;
}

pub async fn a_reorganisation_while_down_is_found_at_the_next_start(world: NodeWorld) {
    outages::a_reorganisation_while_down_is_found_at_the_next_start(world.world, 0).await;
}

/// Blocks tell what an address got, whatever is left of it when they are read.
pub async fn deposits_spent_while_down_are_credited_once(world: NodeWorld) {
    let NodeWorld { mut world, node, .. } = world;
    let (later, at_once) = (world.invoice().await, world.invoice().await);
    world.server.stop().await;
    let keys = keys_of(&world, &[&later, &at_once]);
    let paid = world.pay(&later, 1, 1).await;
    world.chain.mine(1).await.unwrap();
    spend(&node, &keys[0], &paid).await;
    // The other one comes and goes in one block.
    let paid = world.pay(&at_once, 1, 1).await;
    spend(&node, &keys[1], &paid).await;
    world.mine_deep(&at_once).await;
    for invoice in [&later, &at_once] {
        let of = json!(["start", [format!("addr({})", invoice.address)]]);
        let left: Value = node.call("scantxoutset", of).await.unwrap();
        assert_eq!(left["unspents"], json!([]), "it is gone");
    }

    world.server.run().await;
    world.client = world.server.client();
    for invoice in [&later, &at_once] {
        let now = world.wait(invoice, Status::Confirmed, Exception::None).await;
        assert_eq!((now.payments.len(), &now.paid_units), (1, &invoice.amount_units));
    }
    world.wait_available(asked(&later) + asked(&at_once)).await;
    for invoice in [&later, &at_once] {
        world.wait_told(invoice, &["payment.detected", "payment.confirmed"]).await;
    }
    world.finish().await;
}

pub async fn blocks_invalidated_and_reconsidered_end_where_they_began(world: NodeWorld) {
    let NodeWorld { world, node, .. } = world;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    let required = invoice.confirmations.unwrap().required;
    let before = world.chain.mine(required).await.unwrap();
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;

    let first: String =
        node.call("getblockhash", json!([before.height - u64::from(required) + 1])).await.unwrap();
    node.invalidate(&first).await.unwrap();
    // Another branch, longer than what is left, without the payment.
    let stranger = node.stranger().1;
    for _ in 0..=required {
        let _: Value = node.call("generateblock", json!([stranger, []])).await.unwrap();
    }
    world.wait(&invoice, Status::Confirming, Exception::Reorged).await;
    world.wait_available_and_pending(0, asked(&invoice)).await;

    // The first branch again, now the longer one.
    node.reconsider(&first).await.unwrap();
    node.mine(required).await.unwrap();
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    let events =
        ["payment.detected", "payment.confirmed", "invoice.reorged", "invoice.reconfirmed"];
    world.wait_told(&invoice, &events).await;
    world.finish().await;
}

pub async fn another_chain_under_the_same_database_refuses_to_start(world: NodeWorld) {
    let NodeWorld { mut world, .. } = world;
    world.server.stop().await;
    let table = format!("[networks.{}]", world.network);
    let sandbox = format!("{table}\nblock_seconds = 0\npoll_milliseconds = 50");
    let error = world.server.refuses_to_run_with(&sandbox).await;
    assert!(error.contains("another chain"), "{error}");
}

pub async fn a_node_that_is_too_old_is_refused_at_the_start(world: NodeWorld) {
    let NodeWorld { mut world, node, settings, .. } = world;
    let info: Value = node.call("getnetworkinfo", json!([])).await.unwrap();
    world.server.stop().await;
    let ours = settings.replace(&format!("= {}", node.kind().oldest_version()), "= 999999999");
    assert_ne!(ours, settings);
    let error = world.server.refuses_to_run_with(&ours).await;
    let version = format!("node version {} is older than 999999999", info["version"]);
    assert!(error.contains(&version), "{error}");
    assert!(error.contains(&format!("networks.{}", world.network)), "{error}");
    let found = doctor_says(&world, &format!("node {}", world.network)).await;
    assert_eq!(found.state, State::Fail, "{found:?}");
    assert!(found.cure.contains("update the node"), "{found:?}");
}

/// The check of this name, by the settings that the server refused last.
async fn doctor_says(world: &World, name: &str) -> Check {
    let directory = world.server.directory.path();
    let flags = Flags { data_dir: Some(directory.join("data")) };
    let config = Config::load(Some(&directory.join("refused.toml")), &flags).unwrap();
    let examination =
        Examination { config: &config, file: None, is_running: false, send_test: false };
    let checks = doctor::examine(examination, &Env::system(), |_| {}).await;
    checks.into_iter().find(|check| check.name == name).expect("it was looked at")
}
