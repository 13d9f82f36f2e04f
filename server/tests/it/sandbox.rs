//! `sandbox.v1` on every network, as a merchant calls it over REST: every way to pay, blocks, forks,
//! a mempool that forgets; and what the addresses of a sandbox look like.

use std::collections::BTreeSet;

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use serde_json::Value;

use crate::conformance::world::{World, asked};
use crate::support::rest::Rest;

async fn call(rest: &Rest, path: &str, body: &str) -> Value {
    let answer = rest.post(path, body).await;
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    answer.json()
}

/// Pays an invoice and returns the transactions.
async fn pay(rest: &Rest, invoice: &Invoice, body: &str) -> Vec<String> {
    let said = call(rest, &format!("/sandbox/v1/invoices/{}/pay", invoice.id), body).await;
    serde_json::from_value(said["txids"].clone()).unwrap()
}

async fn every_call(network: Network) {
    let world = World::sandbox(crate::ENGINE, network).await;
    let rest = Rest::of(&world.server);
    let chain = format!("/sandbox/v1/networks/{}", network.as_str());
    let required = world.invoice().await.confirmations.unwrap().required;

    let exact = world.invoice().await;
    assert_eq!(pay(&rest, &exact, "{}").await.len(), 1);
    let parts = world.invoice().await;
    assert_eq!(pay(&rest, &parts, r#"{"kind":"parts"}"#).await.len(), 2);
    let over = world.invoice().await;
    pay(&rest, &over, r#"{"kind":"over"}"#).await;
    for invoice in [&exact, &parts, &over] {
        world.wait(invoice, Status::Confirming, Exception::None).await;
    }
    let partial = world.invoice().await;
    pay(&rest, &partial, r#"{"kind":"partial"}"#).await;
    world.wait(&partial, Status::Pending, Exception::Underpaid).await;
    pay(&rest, &partial, r#"{"kind":"exact"}"#).await;
    let full = world.wait(&partial, Status::Confirming, Exception::None).await;
    assert_eq!(full.paid_units, partial.amount_units, "exact pays what is missing");
    let small = world.invoice().await;
    pay(&rest, &small, r#"{"amount":0.0001}"#).await;
    world.wait(&small, Status::Pending, Exception::Underpaid).await;
    let double = world.invoice().await;
    assert_eq!(pay(&rest, &double, r#"{"kind":"double_spend"}"#).await.len(), 2);

    call(&rest, &format!("{chain}/mine"), &format!("{{\"blocks\":{required}}}")).await;
    for (invoice, exception) in [
        (&exact, Exception::None),
        (&parts, Exception::None),
        (&partial, Exception::None),
        (&over, Exception::Overpaid),
    ] {
        world.wait(invoice, Status::Confirmed, exception).await;
    }
    world
        .wait_until(&double, "nothing paid", |now| {
            (now.status(), now.paid_units.as_str()) == (Status::Pending, "0")
        })
        .await;

    let lost = world.invoice().await;
    let txid = pay(&rest, &lost, r#"{"blocks":1}"#).await.remove(0);
    world
        .wait_until(&lost, "one confirmation", |now| now.confirmations.unwrap().received == 1)
        .await;
    let fork =
        format!("{{\"depth\":1,\"fates\":[{{\"txid\":\"{txid}\",\"fate\":\"unconfirm\"}}]}}");
    call(&rest, &format!("{chain}/fork"), &fork).await;
    world
        .wait_until(&lost, "back in the mempool", |now| now.confirmations.unwrap().received == 0)
        .await;
    let evict = format!("{{\"txid\":\"{txid}\"}}");
    call(&rest, &format!("{chain}/evict"), &evict).await;
    let again = rest.post(&format!("{chain}/evict"), &evict).await;
    assert_eq!(again.code(), "SANDBOX_REFUSED", "{}", again.body);
    let missing = rest.post(&format!("{chain}/evict"), "{}").await;
    assert_eq!((missing.status, missing.code().as_str()), (400, "FIELD_REQUIRED"));
    world.client.sandbox().evict("doge", "00").await.unwrap_err();

    let small = world.client.get_invoice(&small.id).await.unwrap();
    let part: u128 = small.paid_units.parse().unwrap();
    let whole = asked(&exact) + asked(&parts) + asked(&partial);
    let available = whole + asked(&over) + asked(&over) / 2 + part;
    // What a mempool forgets may still be included: it stays pending.
    world.wait_available_and_pending(available, asked(&lost)).await;
    world.finish().await;
}

macro_rules! on_every_network {
    ($($name:ident $network:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                every_call(Network::$network).await;
            }
        )*
    };
}

on_every_network! {
    every_call_of_the_sandbox_on_btc Btc
    every_call_of_the_sandbox_on_ltc Ltc
    every_call_of_the_sandbox_on_eth Eth
    every_call_of_the_sandbox_on_bep20 Bep20
    every_call_of_the_sandbox_on_trc20 Trc20
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_have_the_test_networks_form_and_are_never_shared() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let mut seen = BTreeSet::new();
    for (network, start, required) in [
        ("btc", "bcrt1q", 2),
        ("ltc", "rltc1q", 6),
        ("eth", "0x", 12),
        ("bep20", "0x", 15),
        ("trc20", "T", 19),
    ] {
        for _ in 0..25 {
            let request = CreateInvoice::new(network, "50");
            let invoice = world.client.create_invoice(request).await.unwrap().invoice.unwrap();
            assert!(invoice.address.starts_with(start), "{network}: {}", invoice.address);
            assert_eq!(invoice.confirmations.unwrap().required, required, "{network}");
            assert!(seen.insert(invoice.address.to_lowercase()), "shared: {}", invoice.address);
        }
    }
    world.finish().await;
}
