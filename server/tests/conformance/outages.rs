//! Stories that are the same on every real node: it stops, it is cut off, it forks while the server is down.
//! Not here: how a chain's node is started and driven (`world`), what it alone can do (`scenarios`).

use cryptopayment::chain::ForkFate;
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};

use crate::conformance::world::{World, asked};
use crate::support::server::eventually;
use crate::tcp_proxy::TcpProxy;

/// As many invoices.
pub async fn invoices(world: &World, count: usize) -> Vec<Invoice> {
    let mut invoices = Vec::with_capacity(count);
    for _ in 0..count {
        invoices.push(world.invoice().await);
    }
    invoices
}

/// All of them were paid what they ask, and are confirmed once that is deep enough.
pub async fn all_are_confirmed(world: World, invoices: &[Invoice]) {
    world.mine_deep(&invoices[0]).await;
    for invoice in invoices {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    world.wait_available(invoices.iter().map(asked).sum()).await;
    world.finish().await;
}

pub async fn while_the_node_is_cut_off_nobody_is_late(world: World, node: &[&TcpProxy]) {
    let (paid, unpaid) = (world.invoice().await, world.invoice().await);
    let elsewhere = if world.network == Network::Ltc { "btc" } else { "ltc" };
    let elsewhere = world.client.create_invoice(CreateInvoice::new(elsewhere, "50")).await;
    let elsewhere = elsewhere.unwrap().invoice.unwrap();
    node.iter().for_each(|proxy| proxy.cut());
    // Paid in time, on a chain that we can not read.
    world.pay(&paid, 1, 1).await;
    world.chain.mine(1).await.unwrap();
    world.expire().await;
    // Where the chain is read time is over, and these still wait.
    world.wait(&elsewhere, Status::Expired, Exception::None).await;
    eventually("the lag is told", || async {
        let networks = world.client.networks().await.unwrap();
        let own = networks.into_iter().find(|told| told.network == world.network.as_str()).unwrap();
        (own.lag_seconds >= 31 * 60).then_some(())
    })
    .await;
    for invoice in [&paid, &unpaid] {
        let now = world.client.get_invoice(&invoice.id).await.unwrap();
        assert_eq!(now.status(), Status::Pending, "expiry waits for the watermark");
    }
    node.iter().for_each(|proxy| proxy.mend());
    world.wait(&unpaid, Status::Expired, Exception::None).await;
    all_are_confirmed(world, &[paid]).await;
}

/// The fork takes away `deeper` blocks more than payments must be deep.
pub async fn a_reorganisation_while_down_is_found_at_the_next_start(mut world: World, deeper: u32) {
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
    let depth = moved.confirmations.unwrap().required + deeper;
    world.chain.fork(depth, &[(bad, ForkFate::DoubleSpend)]).await.unwrap();
    world.chain.mine(2).await.unwrap();
    world.server.run().await;
    world.client = world.server.client();
    world.wait(&lost, Status::Pending, Exception::Reorged).await;
    let kept = world.client.get_invoice(&moved.id).await.unwrap();
    assert_eq!(kept.status(), Status::Confirmed);
    world.wait_available(asked(&moved)).await;
    world.finish().await;
}
