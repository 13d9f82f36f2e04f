//! Scenarios of the sandbox: named in metadata or asked for by call, each ends as the status table
//! says, once, however often it is asked for and whenever the server dies. Nothing here drives the
//! chain but the scenarios.

use cryptopayment::domain::asset::Network;
use cryptopayment::domain::scenario::{SHORT_LIFETIME, Scenario};
use cryptopayment_sdk::sandbox_v1::{Scenario as Played, ScenarioState};
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use cryptopayment_sdk::{CreateInvoice, sandbox_v1};
use tonic::Code;

use crate::conformance::world::{World, asked};
use crate::support::rest::Rest;
use crate::support::server::eventually;

/// How a scenario ends: status, exception, events in order, payments, and what is credited of the
/// asked amount, in halves.
type End = (Status, Exception, &'static [&'static str], usize, u128);

fn end(scenario: Scenario) -> End {
    const PAID: &[&str] = &["payment.detected", "payment.confirmed"];
    match scenario {
        Scenario::Paid => (Status::Confirmed, Exception::None, PAID, 1, 2),
        Scenario::Underpaid => {
            let events = &["invoice.partially_paid", "invoice.expired"];
            (Status::Expired, Exception::Underpaid, events, 1, 1)
        }
        Scenario::Overpaid => (Status::Confirmed, Exception::Overpaid, PAID, 1, 3),
        Scenario::TwoParts => {
            let events = &["invoice.partially_paid", "payment.detected", "payment.confirmed"];
            (Status::Confirmed, Exception::None, events, 2, 2)
        }
        Scenario::Late => {
            let events = &["invoice.expired", "invoice.late_payment"];
            (Status::Expired, Exception::Late, events, 1, 2)
        }
        Scenario::Reorg => {
            let events = &[
                "payment.detected",
                "payment.confirmed",
                "invoice.reorged",
                "invoice.reconfirmed",
            ];
            (Status::Confirmed, Exception::None, events, 1, 2)
        }
        Scenario::DoubleSpend => {
            let events = &["payment.detected", "payment.confirmed", "invoice.reorged"];
            (Status::Pending, Exception::Reorged, events, 1, 0)
        }
        Scenario::Expire => (Status::Expired, Exception::None, &["invoice.expired"], 0, 0),
    }
}

fn by_call(scenario: Scenario) -> Played {
    let name = format!("SCENARIO_{}", scenario.as_str().to_uppercase());
    Played::from_str_name(&name).unwrap()
}

/// A new invoice whose metadata name a scenario.
async fn named(world: &World, scenario: Scenario) -> Invoice {
    let metadata = format!("{{\"cart\":7,\"sandbox\":\"{}\"}}", scenario.as_str());
    let request = CreateInvoice::new(world.network.as_str(), "50").metadata(metadata);
    world.client.create_invoice(request).await.unwrap().invoice.unwrap()
}

/// Waits until a scenario has taken its last step. Asking how far it is asks for it once more.
async fn wait_played(world: &World, invoice: &Invoice, scenario: Scenario, state: ScenarioState) {
    eventually(&format!("{scenario:?} is {state:?}"), || async {
        let played = world.client.sandbox().play(&invoice.id, by_call(scenario)).await.unwrap();
        (played.state() == state).then_some(())
    })
    .await;
}

async fn play_all(network: Network) {
    let world = World::sandbox(crate::ENGINE, network).await;
    let mut invoices = Vec::new();
    for scenario in Scenario::ALL {
        let invoice = named(&world, scenario).await;
        let seconds = |at: Option<prost_types::Timestamp>| at.unwrap().seconds;
        let lives = seconds(invoice.expires_at) - seconds(invoice.created_at);
        let short = i64::try_from(SHORT_LIFETIME.as_secs()).unwrap();
        assert_eq!(lives == short, scenario.needs_expiry(), "{scenario:?} lives {lives} s");
        if scenario == Scenario::Underpaid {
            // In time; how it stands then lasts as short as it lives. Judged, not only seen: from then
            // on it is told in two events, whenever its time is over.
            let is_judged = |now: &Invoice| now.exception() == Exception::Underpaid;
            world.wait_until(&invoice, "a part paid", is_judged).await;
        }
        invoices.push((scenario, invoice));
    }
    let past = u32::try_from(SHORT_LIFETIME.as_secs()).unwrap() + 1;
    world.client.sandbox().advance_clock(past).await.unwrap();

    let mut credited = 0;
    for (scenario, invoice) in &invoices {
        wait_played(&world, invoice, *scenario, ScenarioState::Done).await;
        let (status, exception, _, payments, halves) = end(*scenario);
        let last = world.wait(invoice, status, exception).await;
        assert_eq!(last.payments.len(), payments, "{scenario:?}");
        let half = asked(invoice) / 2;
        credited += match halves {
            3 => asked(invoice) + half,
            2 => asked(invoice),
            other => half * other,
        };
    }
    world.wait_available(credited).await;
    for (scenario, invoice) in &invoices {
        world.wait_told(invoice, end(*scenario).2).await;
    }

    // The one that waits for a payment again expires in its time.
    let double_spend = &invoices[6].1;
    world.expire().await;
    world.wait(double_spend, Status::Expired, Exception::Reorged).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_in_metadata_ends_as_documented_on_ltc() {
    play_all(Network::Ltc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_in_metadata_ends_as_documented_on_eth() {
    play_all(Network::Eth).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_in_metadata_ends_as_documented_on_trc20() {
    play_all(Network::Trc20).await;
}

/// Asked for again and again while the server dies between its steps: every payment is made once.
async fn restarted(network: Network) {
    let mut world = World::sandbox(crate::ENGINE, network).await;
    let mut played = Vec::new();
    for scenario in [Scenario::TwoParts, Scenario::Reorg] {
        let invoice = world.invoice().await;
        let sandbox = world.client.sandbox();
        let (one, two) = tokio::join!(
            sandbox.play(&invoice.id, by_call(scenario)),
            sandbox.play(&invoice.id, by_call(scenario))
        );
        assert_eq!(
            (one.unwrap().scenario(), two.unwrap().scenario()),
            (by_call(scenario), by_call(scenario))
        );
        played.push((scenario, invoice));
    }
    // Each start takes it from wherever it is; which step that is, is left to chance.
    for _ in 0..3 {
        world.server.restart().await;
        world.client = world.server.client();
        for (scenario, invoice) in &played {
            world.client.sandbox().play(&invoice.id, by_call(*scenario)).await.unwrap();
        }
    }
    let mut credited = 0;
    for (scenario, invoice) in &played {
        wait_played(&world, invoice, *scenario, ScenarioState::Done).await;
        let (status, exception, _, payments, _) = end(*scenario);
        let last = world.wait(invoice, status, exception).await;
        assert_eq!(last.payments.len(), payments, "{scenario:?}");
        credited += asked(invoice);
    }
    world.wait_available(credited).await;
    for (scenario, invoice) in &played {
        world.wait_told(invoice, end(*scenario).2).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_survives_restarts_and_repeats_on_btc() {
    restarted(Network::Btc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_survives_restarts_and_repeats_on_bep20() {
    restarted(Network::Bep20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenarios_leave_mining_to_the_miner_where_there_is_one() {
    let settings = "[networks.btc]\nblock_seconds = 1\npoll_milliseconds = 50";
    let world = World::sandbox_with(crate::ENGINE, Network::Btc, settings).await;
    let reorg = named(&world, Scenario::Reorg).await;
    let double_spend = named(&world, Scenario::DoubleSpend).await;
    for (scenario, invoice) in [(Scenario::Reorg, &reorg), (Scenario::DoubleSpend, &double_spend)] {
        wait_played(&world, invoice, scenario, ScenarioState::Done).await;
        let (status, exception, events, ..) = end(scenario);
        world.wait(invoice, status, exception).await;
        world.wait_told(invoice, events).await;
    }
    world.wait_available(asked(&reorg)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_by_call_waits_for_the_invoices_own_time() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let late = world.invoice().await;
    let path = format!("/sandbox/v1/invoices/{}/play", late.id);
    let answer = rest.post(&path, r#"{"scenario":"late"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let said = answer.json();
    assert_eq!((&said["scenario"], &said["state"]), (&"late".into(), &"playing".into()));
    let canceled = world.invoice().await;
    world.client.sandbox().play(&canceled.id, Played::Expire).await.unwrap();
    world.client.cancel_invoice(&canceled.id).await.unwrap();
    wait_played(&world, &canceled, Scenario::Expire, ScenarioState::Abandoned).await;

    world.expire().await;
    wait_played(&world, &late, Scenario::Late, ScenarioState::Done).await;
    world.wait(&late, Status::Expired, Exception::Late).await;
    world.wait_available(asked(&late)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_played_is_refused_by_name() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    for wrong in ["\"\"", "\"LATE\"", "\"reorged\"", "true", "{}"] {
        let body = format!(
            "{{\"network\":\"trc20\",\"amount_usd\":50,\"metadata\":{{\"sandbox\":{wrong}}}}}"
        );
        let answer = rest.post("/api/v1/invoices", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "UNKNOWN_SCENARIO"), "{body}");
        assert!(answer.body.contains("\"metadata.sandbox\""), "{}", answer.body);
        assert!(answer.body.contains("two_parts"), "the known names: {}", answer.body);
    }
    let none = CreateInvoice::new("trc20", "50").metadata("{\"sandbox\":null}");
    let plain = world.client.create_invoice(none).await.unwrap().invoice.unwrap();
    let listed = world.client.list_invoices(Default::default()).await.unwrap();
    assert_eq!(listed.invoices.len(), 1, "what was refused left nothing");

    let sandbox = world.client.sandbox();
    let error = sandbox.play(&plain.id, Played::Unspecified).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Some(Code::InvalidArgument), Some("FIELD_REQUIRED"))
    );
    let (key, secret) = world.server.second_merchant().await;
    let stranger = world.server.client_of(&key, &secret);
    let error = stranger.sandbox().play(&plain.id, Played::Paid).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Some(Code::NotFound), Some("INVOICE_NOT_FOUND")));

    let named = named(&world, Scenario::Paid).await;
    sandbox.play(&plain.id, Played::Overpaid).await.unwrap();
    for (invoice, other) in [(&plain, Played::Paid), (&named, Played::Late)] {
        let error = sandbox.play(&invoice.id, other).await.unwrap_err();
        assert_eq!(
            (error.code(), error.reason()),
            (Some(Code::FailedPrecondition), Some("SANDBOX_REFUSED"))
        );
    }
    let paid = world.invoice().await;
    let request =
        sandbox_v1::PayInvoiceRequest { invoice_id: paid.id.clone(), ..Default::default() };
    sandbox.pay(request).await.unwrap();
    // The scenarios mine meanwhile: it may be confirmed before anybody sees it confirming.
    world.wait_until(&paid, "paid in full", |now| now.status() != Status::Pending).await;
    let error = sandbox.play(&paid.id, Played::Late).await.unwrap_err();
    assert_eq!(error.reason(), Some("SANDBOX_REFUSED"), "something was paid already");
    for (invoice, scenario) in [(&plain, Scenario::Overpaid), (&named, Scenario::Paid)] {
        wait_played(&world, invoice, scenario, ScenarioState::Done).await;
    }
    world.finish().await;
}
