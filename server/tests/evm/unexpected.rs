//! Native BNB at an invoice's address on chain 56: recorded, shown, refused as a credit, dismissed. Not
//! here: the right coin on the wrong chain (`two_chains`, and on the sandbox `it/unexpected.rs`).

use alloy::primitives::Address;
use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1::UnexpectedDepositState as State;
use cryptopayment_sdk::v1::{InvoiceException as Exception, InvoiceStatus as Status};

use crate::conformance::world::asked;
use crate::support::server::Engine;
use crate::support::unexpected::{Desk, To, reason};
use crate::world::NodeWorld;

const PLAIN_GAS: u64 = 21_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bnb_at_an_address_for_tokens_is_recorded_and_credited_to_nobody() {
    let NodeWorld { world, node, .. } = NodeWorld::start(Network::Bep20, Engine::Postgres).await;
    let desk = Desk::of(&world.server).await;
    let invoice = world.invoice().await;
    let ours: Address = invoice.address.parse().unwrap();
    let units = asked(&invoice);
    // Nothing, and what goes back to its sender's own block later, beside what stays.
    node.invoke_from(node.turn(), ours, 0, Vec::new(), PLAIN_GAS).await;
    let txid = node.invoke_from(node.turn(), ours, units, Vec::new(), PLAIN_GAS).await;
    let lost = node.invoke_from(node.turn(), ours, 7, Vec::new(), PLAIN_GAS).await;
    node.mine(1).await.unwrap();
    let seen = desk.wait(&txid, State::Seen).await;
    assert_eq!((seen.coin.as_str(), seen.is_creditable), ("BNB", false));
    assert_eq!((seen.amount_units.as_str(), seen.ordinal.as_str()), (&*units.to_string(), "t:"));
    assert_eq!(seen.invoice_id.as_ref(), Some(&invoice.id));
    desk.wait(&lost, State::Seen).await;
    assert_eq!(desk.all().await.len(), 2, "nothing is not recorded");

    node.fork(1, &[(lost.clone(), ForkFate::DoubleSpend)]).await.unwrap();
    desk.wait(&lost, State::Orphaned).await;
    desk.wait(&txid, State::Seen).await;
    world.mine_deep(&invoice).await;
    let required = invoice.confirmations.unwrap().required;
    desk.wait_deep(&txid, u64::from(required)).await;
    let to = To::Invoice(invoice.id.clone());
    let refused = desk.assign(&seen.id, &to, "").await;
    assert_eq!(reason(refused), "UNEXPECTED_DEPOSIT_NOT_CREDITABLE");
    let gone = desk.dismiss(&seen.id, "sent back").await.unwrap();
    assert_eq!(gone.state(), State::Dismissed);

    // The invoice goes on as if nothing had come.
    let now = world.client.get_invoice(&invoice.id).await.unwrap();
    assert!(now.payments.is_empty(), "{now:?}");
    world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(units).await;
    world.finish().await;
}
