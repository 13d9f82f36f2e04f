//! What the operator allows a merchant: late payments, a shortfall; and how long a request id stands
//! for its invoice.

use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1::{LatePolicy, UpdateMerchantRequest};
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use sea_orm::{ConnectionTrait, Database, Statement};

use crate::conformance::world::{World, asked};
use crate::support::rest::{Rest, metric};
use crate::support::server::eventually;

const DAY_SECONDS: u32 = 86_400;

fn allow(late: Option<LatePolicy>, shortfall: Option<u32>) -> UpdateMerchantRequest {
    UpdateMerchantRequest {
        id: String::new(),
        late_policy: late.map(Into::into),
        shortfall_basis_points: shortfall,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honoured_late_payment_goes_as_one_in_time() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let before = world.invoice().await;
    let merchant =
        world.server.update_merchant(allow(Some(LatePolicy::Honor), None)).await.unwrap();
    assert_eq!((merchant.late_policy(), merchant.shortfall_basis_points), (LatePolicy::Honor, 0));
    let honoured = world.invoice().await;
    let (key, secret) = world.server.second_merchant().await;
    let other = world.server.client_of(&key, &secret);
    let others = other.create_invoice(CreateInvoice::new("ltc", "50")).await.unwrap();
    let others = others.invoice.unwrap();
    world.expire().await;
    for invoice in [&before, &honoured] {
        world.wait(invoice, Status::Expired, Exception::None).await;
    }
    for invoice in [&before, &honoured, &others] {
        world.pay(invoice, 1, 1).await;
    }
    world.wait(&honoured, Status::Confirming, Exception::None).await;
    world.mine_deep(&honoured).await;
    world.wait(&honoured, Status::Confirmed, Exception::None).await;
    // Agreed on before the change, and somebody else's.
    world.wait(&before, Status::Expired, Exception::Late).await;
    eventually("the other merchant's is late", || async {
        let now = other.get_invoice(&others.id).await.unwrap();
        (now.exception() == Exception::Late && now.status() == Status::Expired).then_some(())
    })
    .await;
    world.wait_available(2 * asked(&before)).await;
    let events = ["invoice.expired", "payment.detected", "payment.confirmed"];
    world.wait_told(&honoured, &events).await;

    world.server.update_merchant(allow(Some(LatePolicy::Reject), None)).await.unwrap();
    let rejected = world.invoice().await;
    world.expire().await;
    world.wait(&rejected, Status::Expired, Exception::None).await;
    world.pay(&rejected, 1, 1).await;
    world.wait(&rejected, Status::Expired, Exception::Late).await;
    world.finish().await;
}

/// Pays all but so many units.
async fn pay_short(world: &World, invoice: &Invoice, missing: u128) {
    let units = asked(invoice) - missing;
    world.chain.pay(&[(invoice.address.clone(), units)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_shortfall_confirms_and_one_unit_more_does_not() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let before = world.invoice().await;
    let merchant = world.server.update_merchant(allow(None, Some(33))).await.unwrap();
    assert_eq!(merchant.shortfall_basis_points, 33);
    assert_eq!(merchant.late_policy(), LatePolicy::Reject, "what is not given stays");
    let request = CreateInvoice::new("ltc", "33.33");
    let create =
        async || world.client.create_invoice(request.clone()).await.unwrap().invoice.unwrap();
    let (enough, short) = (create().await, create().await);
    let allowed = asked(&enough) * 33 / 10_000;
    assert_ne!(asked(&enough) * 33 % 10_000, 0, "there is something to round");
    pay_short(&world, &enough, allowed).await;
    pay_short(&world, &short, allowed + 1).await;
    pay_short(&world, &before, 1).await;
    world.wait(&enough, Status::Confirming, Exception::None).await;
    world.wait(&short, Status::Pending, Exception::Underpaid).await;
    world.wait(&before, Status::Pending, Exception::Underpaid).await;
    world.mine_deep(&enough).await;
    let confirmed = world.wait(&enough, Status::Confirmed, Exception::None).await;
    assert_eq!(confirmed.paid_units, (asked(&enough) - allowed).to_string());
    assert_eq!(confirmed.amount_units, enough.amount_units, "what was asked stays");
    world.wait_told(&enough, &["payment.detected", "payment.confirmed"]).await;
    world.expire().await;
    world.wait(&short, Status::Expired, Exception::Underpaid).await;
    world.wait(&before, Status::Expired, Exception::Underpaid).await;
    let all = asked(&enough) - allowed + asked(&short) - allowed - 1 + asked(&before) - 1;
    world.wait_available(all).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_policies_are_refused_and_right_ones_stand_in_the_audit_log() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let refused = world.server.update_merchant(allow(None, Some(1_001))).await.unwrap_err();
    assert!(refused.message().contains("shortfall_basis_points"), "{refused:?}");
    let unspecified = allow(Some(LatePolicy::Unspecified), Some(5));
    let refused = world.server.update_merchant(unspecified).await.unwrap_err();
    assert!(refused.message().contains("late_policy"), "{refused:?}");
    let merchant = world.server.update_merchant(allow(None, None)).await.unwrap();
    assert_eq!(merchant.shortfall_basis_points, 0, "a refused change changes nothing");
    world.server.update_merchant(allow(Some(LatePolicy::Honor), Some(1_000))).await.unwrap();
    let db = Database::connect(&world.server.database_url).await.unwrap();
    let sql = "SELECT detail FROM audit_log WHERE action = 'merchant.update' ORDER BY seq";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    let details: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
    assert_eq!(details, ["honors_late=true shortfall_basis_points=1000"]);
    db.close().await.unwrap();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_stands_for_its_invoice_for_thirty_days_and_is_forgotten_after() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let create = async || {
        let request = CreateInvoice::new("ltc", "5").request_id("order 7");
        world.client.create_invoice(request).await.unwrap().invoice.unwrap().id
    };
    let first = create().await;
    world.client.sandbox().advance_clock(29 * DAY_SECONDS).await.unwrap();
    assert_eq!(create().await, first);
    world.client.sandbox().advance_clock(3 * DAY_SECONDS).await.unwrap();
    let second = eventually("the id is forgotten", || async {
        let id = create().await;
        (id != first).then_some(id)
    })
    .await;
    assert_eq!(create().await, second, "and stands for the next one");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_money_waits_for_more_confirmations_and_for_finality() {
    // Ethereum's simulated chain calls a block final when twelve are on top of it.
    let settings = "[networks.eth]\nblock_seconds = 0\npoll_milliseconds = 50\nconfirmations = 1\n\
        bands = [{ from_usd = \"100\", confirmations = 3 },\n\
        { from_usd = \"1000\", confirmations = 3, requires_finality = true }]\n\
        [metrics]\nlisten = \"127.0.0.1:0\"\n";
    let world = World::sandbox_with(crate::ENGINE, Network::Eth, settings).await;
    world.chain.mine(13).await.unwrap();
    let over = async |dollars: &str| {
        let created = world.client.create_invoice(CreateInvoice::new("eth", dollars)).await;
        created.unwrap().invoice.unwrap()
    };
    let (little, more, much) = (over("99.99").await, over("100").await, over("1000").await);
    let asks =
        |invoice: &Invoice| (invoice.confirmations.unwrap().required, invoice.requires_finality);
    assert_eq!([&little, &more, &much].map(asks), [(1, false), (3, false), (3, true)]);
    for invoice in [&little, &more, &much] {
        world.pay(invoice, 1, 1).await;
    }
    world.chain.mine(1).await.unwrap();
    world.wait(&little, Status::Confirmed, Exception::None).await;
    world.wait_until(&more, "one of three", |now| now.confirmations.unwrap().received == 1).await;
    world.chain.mine(2).await.unwrap();
    world.wait(&more, Status::Confirmed, Exception::None).await;
    // Deep enough, and not final: the last confirmation is not shown.
    let held = world
        .wait_until(&much, "two of three", |now| now.confirmations.unwrap().received == 2)
        .await;
    assert_eq!(held.status(), Status::Confirming);
    world.wait_available_and_pending(asked(&little) + asked(&more), asked(&much)).await;
    // More than was asked for is safe by what arrived, not by what was asked.
    let surplus = over("99.99").await;
    world.pay(&surplus, 11, 1).await;
    world.chain.mine(1).await.unwrap();
    world.wait(&surplus, Status::Confirming, Exception::None).await;
    let waiting = asked(&much) + 11 * asked(&surplus);
    world.wait_available_and_pending(asked(&little) + asked(&more), waiting).await;
    // The chain stands still, so that nothing becomes final: whoever waits for it is told.
    let payer = Rest::with(&world.server, None);
    let is_delayed = async |invoice: &Invoice| {
        let told = payer.get(&format!("/checkout/v1/invoices/{}", invoice.id)).await.json();
        told["checkout"]["finality_is_delayed"].as_bool().unwrap()
    };
    let eth = async || {
        let networks = world.client.networks().await.unwrap();
        networks.into_iter().find(|network| network.network == "eth").unwrap()
    };
    let stalled = "cryptopayment_network_finality_stalled{network=\"eth\"}";
    assert!(!is_delayed(&much).await && !eth().await.is_finality_stalled);
    assert_eq!(metric(&world.server, stalled).await, Some(0));
    world.client.sandbox().advance_clock(3_600).await.unwrap();
    eventually("finality is late", || async { is_delayed(&much).await.then_some(()) }).await;
    assert!(!is_delayed(&more).await, "that one waits for nothing");
    assert!(eth().await.is_finality_stalled);
    eventually("monitoring is told", || async {
        (metric(&world.server, stalled).await == Some(1)).then_some(())
    })
    .await;
    world.chain.mine(9).await.unwrap();
    let head = world.chain.mine(1).await.unwrap().height;
    world.wait(&much, Status::Confirmed, Exception::None).await;
    eventually("the network says how far it is final", || async {
        let eth = eth().await;
        assert!(!eth.is_finality_stalled && eth.confirmations_required == 1);
        (eth.finalized_height == Some(head - 12)).then_some(())
    })
    .await;
    world.chain.mine(3).await.unwrap();
    world.wait(&surplus, Status::Confirmed, Exception::Overpaid).await;
    world.finish().await;
}
