//! TRX at an invoice's address: recorded, shown, refused as a credit, dismissed; gone with its block.

use cryptopayment::chain::ForkFate;
use cryptopayment::chain::tron::transaction::Raw;
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text;
use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1::UnexpectedDepositState as State;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};

use crate::conformance::world::asked;
use crate::support::server::Engine;
use crate::support::unexpected::{Desk, To, reason};
use crate::tron_node::driver::Driver;
use crate::tron_world::NodeWorld;

async fn send_trx(driver: &Driver, invoice: &Invoice, sun: i64) -> String {
    let key = address_text::parse(Network::Trc20, ChainKind::Regtest, &invoice.address).unwrap();
    let to = key.try_into().unwrap();
    let frame = driver.frame().await.unwrap();
    let tx = driver.signed(&Raw::transfer(&frame, driver.own(), to, sun));
    driver.send(tx).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trx_at_an_address_for_tokens_is_recorded_and_credited_to_nobody() {
    let NodeWorld { world, driver, .. } =
        NodeWorld::on(Engine::Sqlite, Driver::simulated().await).await;
    let desk = Desk::of(&world.server).await;
    let invoice = world.invoice().await;
    let txid = send_trx(&driver, &invoice, 12_345_678).await;
    world.chain.mine(1).await.unwrap();
    let seen = desk.wait(&txid, State::Seen).await;
    assert_eq!((seen.coin.as_str(), seen.amount.as_str()), ("TRX", "12.345678"));
    assert_eq!((seen.network.as_str(), seen.is_creditable), ("trc20", false));
    assert_eq!(seen.invoice_id.as_ref(), Some(&invoice.id));

    world.fork(1, &txid, ForkFate::Unconfirm).await;
    desk.wait(&txid, State::Orphaned).await;
    let again = send_trx(&driver, &invoice, 5).await;
    world.mine_deep(&invoice).await;
    let required = invoice.confirmations.unwrap().required;
    let second = desk.wait_deep(&again, u64::from(required)).await;
    let to = To::Invoice(invoice.id.clone());
    assert_eq!(reason(desk.assign(&second.id, &to, "").await), "UNEXPECTED_DEPOSIT_NOT_CREDITABLE");
    // The node still had the first one waiting, and it is back: the same one.
    let back = desk.wait(&txid, State::Seen).await;
    assert_eq!((&back.id, back.block_height > seen.block_height), (&seen.id, true));
    let gone = desk.dismiss(&second.id, "sent back").await.unwrap();
    assert_eq!(gone.state(), State::Dismissed);

    world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    world.finish().await;
}
