//! The program killed while the operator settles unexpected deposits: asked again, each is settled once.

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment::failpoint::SETTLEMENTS;
use cryptopayment_proto::admin::v1::{UnexpectedDeposit, UnexpectedDepositState as State};
use cryptopayment_sdk::CreateInvoice;
use tonic::Status;

use crate::program::Story;
use crate::support::server::{Engine, admin_at};
use crate::support::unexpected::{Desk, To};

/// Deeper than is asked, and final.
const DEEP: u32 = 20;
const UNITS: u128 = 1_000;

async fn desk(story: &Story) -> Desk {
    Desk::on(admin_at(&story.data()).await)
}

async fn settle(
    desk: &Desk,
    unit: &str,
    one: &UnexpectedDeposit,
) -> Result<UnexpectedDeposit, Status> {
    match unit {
        "assign_unexpected" => {
            let to = To::Invoice(one.invoice_id.clone().unwrap());
            desk.assign(&one.id, &to, "by mistake").await
        }
        _ => desk.dismiss(&one.id, "sent back").await,
    }
}

async fn killed_in_settlements(engine: Engine) {
    let mut story = Story::begin_on(engine, &["eth", "bep20"]).await;
    story.run(None).await;
    let wanted = CreateInvoice::new("bep20", "10");
    let invoice = story.client().create_invoice(wanted).await.unwrap().invoice.unwrap();
    let sandbox = Sandbox::open(&story.data().join("sandbox.sqlite"), Env::system()).await.unwrap();
    let chain = sandbox.chain(Network::Eth).await.unwrap();
    let mut assigned = 0;
    for unit in SETTLEMENTS {
        for moment in ["before_commit", "after_commit"] {
            let txid = chain.pay(&[(invoice.address.clone(), UNITS)]).await.unwrap();
            chain.mine(DEEP).await.unwrap();
            let one = desk(&story).await.wait_final(&story.client(), &txid).await;
            story.kill().await;
            let name = format!("{unit}.{moment}");
            story.run(Some(&name)).await;
            let died = settle(&desk(&story).await, unit, &one).await;
            assert!(died.is_err(), "{name}: it answered {died:?}");
            story.wait_until_dead(&name).await;
            story.run(None).await;
            let again = settle(&desk(&story).await, unit, &one).await.unwrap();
            let is_credit = unit == "assign_unexpected";
            let expected = if is_credit { State::Assigned } else { State::Dismissed };
            assert_eq!(again.state(), expected, "{name}");
            assigned += u128::from(is_credit);
            let balances = story.client().balances().await.unwrap();
            let ether = balances.iter().find(|balance| balance.coin == "ETH").unwrap();
            assert_eq!(ether.available_units, (assigned * UNITS).to_string(), "{name}");
        }
    }
    story.check_books().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_settlements_on_sqlite() {
    killed_in_settlements(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_settlements_on_postgres() {
    killed_in_settlements(Engine::Postgres).await;
}
