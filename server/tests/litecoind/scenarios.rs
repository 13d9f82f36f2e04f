//! What only a real node can show: it stops, it is cut off, it changes its mind about blocks, it is
//! wiped. Each story ends in the right books.

use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};

use crate::NodeWorld;
use crate::conformance::world::{asked, share};
use crate::support::server::{Engine, eventually};

async fn start() -> NodeWorld {
    NodeWorld::start(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_invoices_paid_in_one_block() {
    let NodeWorld { world, .. } = start().await;
    let mut invoices: Vec<Invoice> = Vec::new();
    for _ in 0..200 {
        invoices.push(world.invoice().await);
    }
    for chunk in invoices.chunks(50) {
        let outputs: Vec<_> = chunk.iter().map(|invoice| share(invoice, 1, 1)).collect();
        world.chain.pay(&outputs).await.unwrap();
    }
    world.mine_deep(&invoices[0]).await;
    for invoice in &invoices {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    world.wait_available(invoices.iter().map(asked).sum()).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_and_comes_back_loses_nothing() {
    let NodeWorld { world, node, .. } = start().await;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    world.chain.mine(1).await.unwrap();
    node.stop().await;
    let other = world.client.create_invoice(cryptopayment_sdk::CreateInvoice::new("ltc", "20"));
    let other = other.await.unwrap().invoice.unwrap();
    node.run().await;
    world.pay(&other, 1, 1).await;
    world.mine_deep(&invoice).await;
    for invoice in [&invoice, &other] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    world.wait_available(asked(&invoice) + asked(&other)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_node_is_cut_off_nobody_is_late() {
    let NodeWorld { world, proxy, .. } = start().await;
    let (paid, unpaid) = (world.invoice().await, world.invoice().await);
    proxy.cut();
    // Paid in time, on a chain that we can not read.
    world.pay(&paid, 1, 1).await;
    world.chain.mine(1).await.unwrap();
    world.expire().await;
    // Something that the server does in its own time happens, and the invoices still wait.
    let lag = eventually("the lag is told", || async {
        let networks = world.client.networks().await.unwrap();
        let ltc = networks.into_iter().find(|network| network.network == "ltc").unwrap();
        (ltc.lag_seconds >= 31 * 60).then_some(ltc.lag_seconds)
    })
    .await;
    assert!(lag >= 31 * 60);
    for invoice in [&paid, &unpaid] {
        let now = world.client.get_invoice(&invoice.id).await.unwrap();
        assert_eq!(now.status(), Status::Pending, "expiry waits for the watermark");
    }
    proxy.mend();
    world.wait(&unpaid, Status::Expired, Exception::None).await;
    world.mine_deep(&paid).await;
    world.wait(&paid, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&paid)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_while_down_is_found_at_the_next_start() {
    let NodeWorld { mut world, node, .. } = start().await;
    let (moved, lost) = (world.invoice().await, world.invoice().await);
    let good = world.pay(&moved, 1, 1).await;
    let bad = world.pay(&lost, 1, 1).await;
    world.wait_seen(&moved, &good).await;
    world.wait_seen(&lost, &bad).await;
    world.mine_deep(&moved).await;
    for invoice in [&moved, &lost] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    world.wait_available(asked(&moved) + asked(&lost)).await;

    world.server.stop().await;
    let required = moved.confirmations.unwrap().required;
    node.fork(required, &[(bad, ForkFate::DoubleSpend)]).await.unwrap();
    node.mine(2).await.unwrap();
    world.server.run().await;
    world.client = world.server.client();
    world.wait(&lost, Status::Pending, Exception::Reorged).await;
    let kept = world.client.get_invoice(&moved.id).await.unwrap();
    assert_eq!(kept.status(), Status::Confirmed);
    world.wait_available(asked(&moved)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_invalidated_and_reconsidered_end_where_they_began() {
    let NodeWorld { world, node, .. } = start().await;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    let required = invoice.confirmations.unwrap().required;
    let before = world.chain.mine(required).await.unwrap();
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;

    let first: String = node
        .call("getblockhash", serde_json::json!([before.height - u64::from(required) + 1]))
        .await
        .unwrap();
    node.invalidate(&first).await.unwrap();
    // Another branch, longer than what is left, without the payment.
    let stranger = node.stranger().await.unwrap().1;
    for _ in 0..=required {
        let _: serde_json::Value =
            node.call("generateblock", serde_json::json!([stranger, []])).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_under_the_same_database_refuses_to_start() {
    let NodeWorld { mut world, .. } = start().await;
    world.server.stop().await;
    let sandbox = "[networks.ltc]\nblock_seconds = 0\npoll_milliseconds = 50";
    let error = world.server.refuses_to_run_with(sandbox).await;
    assert!(error.contains("another chain"), "{error}");
}
