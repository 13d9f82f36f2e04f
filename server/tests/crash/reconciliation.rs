//! The program killed while it holds balances against deposits, on a node that does not tell what was
//! called: started again, it finds each payment, once.

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::domain::asset::Network;
use cryptopayment::failpoint::RECONCILIATION;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{Invoice, InvoiceStatus};

use crate::anvil::Anvil;
use crate::program::Story;
use crate::support::server::{Engine, eventually};
use crate::untraced::Untraced;

/// Deeper than is asked, and final.
const DEEP: u32 = 20;

async fn invoice(story: &Story) -> Invoice {
    let created = eventually("an address", || async {
        story.client().create_invoice(CreateInvoice::new("eth", "10")).await.ok()
    });
    created.await.invoice.unwrap()
}

fn asked(invoice: &Invoice) -> u128 {
    invoice.amount_units.parse().unwrap()
}

/// Waits until it shows one payment, which its balance told of, in this state.
async fn shows(story: &Story, invoice: &Invoice, status: InvoiceStatus, name: &str) {
    let client = story.client();
    let what = format!("{name}: {status:?}");
    let found = eventually(&what, || async {
        let now = client.get_invoice(&invoice.id).await.ok()?;
        (now.status() == status).then_some(now)
    });
    let payments = found.await.payments;
    assert!(payments.len() == 1 && payments[0].ordinal.starts_with("d:"), "{name}: {payments:?}");
}

async fn killed_in_reconciliation(engine: Engine) {
    let node = Anvil::start(Network::Eth).await;
    let untraced = Untraced::before(node.port()).await;
    let mut story = Story::begin_with(engine, &node.table(untraced.port())).await;
    story.run(None).await;
    let mut credited = 0;
    for unit in RECONCILIATION {
        for moment in ["before_commit", "after_commit"] {
            let name = format!("{unit}.{moment}");
            let invoices = [invoice(&story).await, invoice(&story).await];
            story.kill().await;
            // Several payments of one transaction pass through a contract.
            let outputs = invoices.each_ref().map(|one| (one.address.clone(), asked(one)));
            node.pay(&outputs).await.unwrap();
            node.mine(DEEP).await.unwrap();
            story.run(Some(&name)).await;
            story.wait_until_dead(&name).await;
            story.run(None).await;
            for invoice in &invoices {
                shows(&story, invoice, InvoiceStatus::Confirming, &name).await;
            }
            // It counts as included where its balance was read.
            node.mine(DEEP).await.unwrap();
            for invoice in &invoices {
                shows(&story, invoice, InvoiceStatus::Confirmed, &name).await;
                credited += asked(invoice);
            }
        }
    }
    let balances = story.client().balances().await.unwrap();
    let ether = balances.iter().find(|balance| balance.coin == "ETH").unwrap();
    assert_eq!(ether.available_units, credited.to_string());
    story.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_reconciliation_on_sqlite() {
    killed_in_reconciliation(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_reconciliation_on_postgres() {
    killed_in_reconciliation(Engine::Postgres).await;
}
