//! The right coin on the wrong chain: an invoice's address of one EVM network paid on the other. It is
//! recorded and never counted as a payment; the operator gives it to a merchant once, or notes how it was
//! settled. Not here: other coins, which only nodes have (`evm`, `tron`).

use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment_proto::admin::v1::{
    AssignUnexpectedDepositRequest as Assign, AuditLedgerRequest,
    ListUnexpectedDepositsRequest as List, UnexpectedDeposit, UnexpectedDepositState as State,
    audit_ledger_response, ledger_service_client::LedgerServiceClient,
};
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{Invoice, InvoiceStatus, LedgerEntryKind};

use crate::conformance::world::{World, asked};
use crate::support::server::eventually;
use crate::support::unexpected::{Desk, To, reason};

/// Deeper than any network of the sandbox asks, and final.
const DEEP: u32 = 40;

/// A world on one network's chain, and an invoice of the other one.
async fn astray(on: Network, meant: &str) -> (World, Desk, Invoice) {
    let world = World::sandbox(crate::ENGINE, on).await;
    let desk = Desk::of(&world.server).await;
    let created = world.client.create_invoice(CreateInvoice::new(meant, "50")).await.unwrap();
    (world, desk, created.invoice.unwrap())
}

async fn unpaid(world: &World, invoice: &Invoice) {
    let now = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((now.status(), now.paid_units.as_str()), (InvoiceStatus::Pending, "0"));
    assert!(now.payments.is_empty(), "it is no payment of the invoice");
}

async fn available(world: &World, coin: &str) -> u128 {
    let balances = world.client.balances().await.unwrap();
    let own = balances.iter().find(|balance| balance.coin == coin).unwrap();
    own.available_units.parse().unwrap()
}

/// Waits until everything that was mined is read, and is final where this is: nothing moves any more.
async fn deep(world: &World, desk: &Desk, txid: &str, depth: u32) -> UnexpectedDeposit {
    desk.wait_final(&world.client, txid).await;
    desk.wait_deep(txid, u64::from(depth)).await
}

/// What an audit of the books finds.
async fn findings(world: &World) -> Vec<String> {
    let mut ledger = LedgerServiceClient::new(world.server.admin().await);
    let mut steps = ledger.audit_ledger(AuditLedgerRequest {}).await.unwrap().into_inner();
    let mut found = Vec::new();
    while let Some(message) = steps.message().await.unwrap() {
        if let Some(audit_ledger_response::Step::Finding(finding)) = message.step {
            found.push(format!("{} {}", finding.subject, finding.description));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ether_at_an_address_for_bep20_is_given_to_its_merchant_once() {
    let (world, desk, invoice) = astray(Network::Eth, "bep20").await;
    let units = 1_234_567_890_123_456_789;
    let txid = world.chain.pay(&[(invoice.address.clone(), units)]).await.unwrap();
    world.chain.mine(1).await.unwrap();
    let seen = desk.wait(&txid, State::Seen).await;
    assert_eq!((seen.network.as_str(), seen.address_network.as_str()), ("eth", "bep20"));
    assert_eq!((seen.coin.as_str(), seen.contract.as_deref()), ("ETH", None));
    assert_eq!(seen.amount, "1.234567890123456789");
    assert_eq!((seen.address.as_str(), seen.is_creditable), (invoice.address.as_str(), true));
    assert_eq!(seen.invoice_id.as_ref(), Some(&invoice.id));
    unpaid(&world, &invoice).await;

    let to = To::Invoice(invoice.id.clone());
    let early = desk.assign(&seen.id, &to, "").await;
    assert_eq!(reason(early), "UNEXPECTED_DEPOSIT_STATE", "one block is not final");
    world.chain.mine(DEEP).await.unwrap();
    deep(&world, &desk, &txid, DEEP + 1).await;
    assert_eq!(available(&world, "ETH").await, 0);
    let given = desk.assign(&seen.id, &to, "sent on Ethereum by mistake").await.unwrap();
    assert_eq!(
        (given.state(), given.note.as_str()),
        (State::Assigned, "sent on Ethereum by mistake")
    );
    assert_eq!(given.assigned_invoice_id.as_ref(), Some(&invoice.id));
    assert_eq!(given.assigned_merchant_id, seen.merchant_id);
    assert_eq!(available(&world, "ETH").await, units);
    unpaid(&world, &invoice).await;

    // Again changes nothing; to somebody else, or not at all, is too late.
    assert_eq!(desk.assign(&seen.id, &to, "another note").await.unwrap(), given);
    let merchant = To::Merchant(seen.merchant_id.clone().unwrap());
    for late in
        [desk.assign(&seen.id, &merchant, "").await, desk.dismiss(&seen.id, "sent back").await]
    {
        assert_eq!(reason(late), "UNEXPECTED_DEPOSIT_STATE");
    }
    assert_eq!(available(&world, "ETH").await, units);
    let told = world.client.list_ledger_entries(Default::default()).await.unwrap().entries;
    let [entry] = told.as_slice() else { panic!("one entry: {told:?}") };
    assert_eq!((entry.kind(), entry.coin.as_str()), (LedgerEntryKind::UnexpectedDeposit, "ETH"));
    assert_eq!((entry.invoice_id.as_ref(), entry.txid.as_ref()), (Some(&invoice.id), Some(&txid)));
    assert_eq!(entry.amount_units, units.to_string());
    assert_eq!(findings(&world).await, [] as [&str; 0]);
    world.finish().await;
}

/// Both of a chain's blocks and a merchant's ledger entry are the same money: what was assigned is in no
/// deposit of any invoice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_at_an_address_for_eth_go_to_a_merchant_or_are_dismissed() {
    let (world, desk, invoice) = astray(Network::Bep20, "eth").await;
    let mut ids = Vec::new();
    for units in [7_u128, 11] {
        let txid = world.chain.pay(&[(invoice.address.clone(), units)]).await.unwrap();
        world.chain.mine(1).await.unwrap();
        ids.push(desk.wait(&txid, State::Seen).await.id);
    }
    world.chain.mine(DEEP).await.unwrap();
    let first = desk.get(&ids[0]).await.unwrap();
    deep(&world, &desk, &first.txid, DEEP + 2).await;
    assert_eq!((first.coin.as_str(), first.network.as_str()), ("USDT-BEP20", "bep20"));
    let merchant = To::Merchant(first.merchant_id.clone().unwrap());
    let given = desk.assign(&first.id, &merchant, "").await.unwrap();
    assert_eq!((given.state(), given.assigned_invoice_id), (State::Assigned, None));
    assert_eq!(available(&world, "USDT-BEP20").await, 7);

    assert_eq!(reason(desk.dismiss(&ids[1], " ").await), "FIELD_REQUIRED");
    let gone = desk.dismiss(&ids[1], "sent back, see ticket 12").await.unwrap();
    assert_eq!((gone.state(), gone.note.as_str()), (State::Dismissed, "sent back, see ticket 12"));
    assert_eq!(desk.dismiss(&ids[1], "another note").await.unwrap(), gone);
    assert_eq!(reason(desk.assign(&ids[1], &merchant, "").await), "UNEXPECTED_DEPOSIT_STATE");
    assert_eq!(available(&world, "USDT-BEP20").await, 7);

    // The coin that the address is for is a payment as ever, on its own chain.
    let (other, paid) = (Network::Eth, asked(&invoice));
    let file = world.server.directory.path().join("data/sandbox.sqlite");
    let sandbox = Sandbox::open(&file, Env::system()).await.unwrap();
    let chain = sandbox.chain(other).await.unwrap();
    chain.pay(&[(invoice.address.clone(), paid)]).await.unwrap();
    chain.mine(DEEP).await.unwrap();
    world.wait_until(&invoice, "it is paid", |now| now.status() == InvoiceStatus::Confirmed).await;
    assert_eq!(available(&world, "ETH").await, paid);
    assert_eq!(desk.all().await.len(), 2);
    assert_eq!(findings(&world).await, [] as [&str; 0]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_the_chain_is_orphaned_and_comes_back_once() {
    let (world, desk, invoice) = astray(Network::Eth, "bep20").await;
    let output = (invoice.address.clone(), 5_u128);
    let txid = world.chain.pay(std::slice::from_ref(&output)).await.unwrap();
    world.chain.mine(1).await.unwrap();
    let seen = desk.wait(&txid, State::Seen).await;
    world.fork(1, &txid, ForkFate::Unconfirm).await;
    let gone = desk.wait(&txid, State::Orphaned).await;
    assert_eq!((gone.id.as_str(), gone.block_height, gone.confirmations), (&*seen.id, None, 0));
    let to = To::Invoice(invoice.id.clone());
    assert_eq!(reason(desk.assign(&seen.id, &to, "").await), "UNEXPECTED_DEPOSIT_STATE");

    world.chain.mine(DEEP).await.unwrap();
    deep(&world, &desk, &txid, DEEP).await;
    let back = desk.wait(&txid, State::Seen).await;
    assert_eq!(back.id, seen.id, "the same one, in another block");
    desk.assign(&seen.id, &to, "").await.unwrap();
    assert_eq!(available(&world, "ETH").await, 5);

    let lost = world.chain.pay(&[output]).await.unwrap();
    world.chain.mine(1).await.unwrap();
    desk.wait(&lost, State::Seen).await;
    world.fork(1, &lost, ForkFate::DoubleSpend).await;
    desk.wait(&lost, State::Orphaned).await;
    world.chain.mine(DEEP).await.unwrap();
    let kept = desk.wait_deep(&txid, 2 * u64::from(DEEP)).await;
    assert_eq!(kept.state(), State::Assigned);
    assert_eq!(desk.wait(&lost, State::Orphaned).await.confirmations, 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_read_by_page_and_filter() {
    let (world, desk, invoice) = astray(Network::Eth, "bep20").await;
    let output = (invoice.address.clone(), 3_u128);
    world.chain.pay(&vec![output; 60]).await.unwrap();
    world.chain.mine(1).await.unwrap();
    let first = eventually("all are seen", || async {
        let (page, next) = desk.page(List::default()).await.unwrap();
        next.map(|next| (page, next))
    })
    .await;
    let (mut all, token) = first;
    assert_eq!(all.len(), 50);
    let request = List { page_token: Some(token), ..Default::default() };
    let (rest, next) = desk.page(request).await.unwrap();
    assert_eq!((rest.len(), next), (10, None));
    all.extend(rest);
    let mut ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "the newest first, each once");
    ids.dedup();
    assert_eq!(ids.len(), 60);

    desk.dismiss(&all[7].id, "noted").await.unwrap();
    let merchant = all[0].merchant_id.clone();
    let some = |text: &str| Some(text.to_owned());
    for (request, expected) in [
        (List { state: State::Dismissed.into(), ..Default::default() }, 1),
        (List { state: State::Assigned.into(), ..Default::default() }, 0),
        (List { network: some("eth"), ..Default::default() }, 50),
        (List { network: some("bep20"), ..Default::default() }, 0),
        (List { invoice_id: Some(invoice.id.clone()), ..Default::default() }, 50),
        (List { merchant_id: merchant, ..Default::default() }, 50),
        (List { merchant_id: Some(invoice.id.clone()), ..Default::default() }, 0),
    ] {
        let (found, _) = desk.page(request.clone()).await.unwrap();
        assert_eq!(found.len(), expected, "{request:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_and_changes_nothing() {
    let (world, desk, invoice) = astray(Network::Eth, "bep20").await;
    let txid = world.chain.pay(&[(invoice.address.clone(), 9)]).await.unwrap();
    world.chain.mine(DEEP).await.unwrap();
    let before = deep(&world, &desk, &txid, DEEP).await;
    let nobody = "550e8400-e29b-41d4-a716-446655440000";
    let some = |text: &str| Some(text.to_owned());
    let sound = Assign {
        id: before.id.clone(),
        invoice_id: Some(invoice.id.clone()),
        ..Default::default()
    };
    let merchant_id = before.merchant_id.clone();
    for (request, expected) in [
        (Assign { id: String::new(), ..sound.clone() }, "FIELD_REQUIRED"),
        (Assign { id: "x".to_owned(), ..sound.clone() }, "UNEXPECTED_DEPOSIT_NOT_FOUND"),
        (Assign { id: nobody.to_owned(), ..sound.clone() }, "UNEXPECTED_DEPOSIT_NOT_FOUND"),
        (Assign { invoice_id: None, ..sound.clone() }, "FIELD_REQUIRED"),
        (Assign { invoice_id: some(""), ..sound.clone() }, "FIELD_REQUIRED"),
        (Assign { invoice_id: some("x"), ..sound.clone() }, "INVOICE_NOT_FOUND"),
        (Assign { invoice_id: some(nobody), ..sound.clone() }, "INVOICE_NOT_FOUND"),
        (Assign { merchant_id, ..sound.clone() }, "INVALID_FIELD"),
        (
            Assign { invoice_id: None, merchant_id: some(nobody), ..sound.clone() },
            "MERCHANT_NOT_FOUND",
        ),
        (Assign { note: "n".repeat(501), ..sound.clone() }, "INVALID_FIELD"),
        (Assign { note: "a\0b".to_owned(), ..sound.clone() }, "INVALID_FIELD"),
    ] {
        assert_eq!(reason(desk.assign_as(request.clone()).await), expected, "{request:?}");
    }
    for (id, note, expected) in [
        (nobody, "noted", "UNEXPECTED_DEPOSIT_NOT_FOUND"),
        ("", "noted", "FIELD_REQUIRED"),
        (before.id.as_str(), "", "FIELD_REQUIRED"),
        (before.id.as_str(), "a\nb", "INVALID_FIELD"),
    ] {
        assert_eq!(reason(desk.dismiss(id, note).await), expected, "{id} {note:?}");
    }
    assert_eq!(reason(desk.get(nobody).await), "UNEXPECTED_DEPOSIT_NOT_FOUND");
    for request in [
        List { page_token: some("x"), ..Default::default() },
        List { network: some("doge"), ..Default::default() },
        List { state: 99, ..Default::default() },
        List { invoice_id: some("x"), ..Default::default() },
        List { merchant_id: some("x"), ..Default::default() },
    ] {
        let refused = desk.page(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{request:?}");
    }
    assert_eq!(desk.get(&before.id).await.unwrap(), before);
    assert_eq!(available(&world, "ETH").await, 0);
    world.finish().await;
}
