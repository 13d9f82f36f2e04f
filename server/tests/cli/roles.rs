//! The roles as processes of their own, as the README's table of commands has them: a migration, one worker
//! and two APIs on one PostgreSQL. Not here: what each part of them does.

use std::path::{Path, PathBuf};

use cryptopayment::domain::quotes::Exchange;
use cryptopayment_sdk::sandbox_v1::PayInvoiceRequest;
use cryptopayment_sdk::v1::{Invoice, InvoiceStatus};
use cryptopayment_sdk::{Client, CreateInvoice, Credentials};
use tempfile::TempDir;

use crate::process::{Process, word};
use crate::program::{Said, run_with};
use crate::support::audit;
use crate::support::clock::MovedClock;
use crate::support::exchanges::{Act, Exchanges};
use crate::support::parts;
use crate::support::rest::answer;
use crate::support::server::{DEADLINE, Engine, eventually, fresh_database, install_tls};

/// Where a price comes from that all three exchanges agreed on.
const ALL: &str = "median(kraken,coinbase,binance)";

/// Processes that share a data directory and a database.
struct Deployment {
    directory: TempDir,
    database_url: String,
}

impl Deployment {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database_url = fresh_database(Engine::Postgres, directory.path()).await;
        Self { directory, database_url }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A configuration file of this name, with settings (TOML) of its process alone.
    fn file(&self, name: &str, listen: &str, own: &str) -> PathBuf {
        let mut toml = format!(
            "[http]\nlisten = \"{listen}\"\n[log]\nformat = \"json\"\n\
             [database]\nurl = \"{}\"\nconnections_max = 8\n\
             [pool]\naddresses_low = 20\naddresses_batch = 40\naddresses_leased = 10\n",
            self.database_url
        );
        for network in ["btc", "ltc", "eth", "bep20", "trc20"] {
            let settings = "block_seconds = 0\npoll_milliseconds = 50";
            toml.push_str(&format!("[networks.{network}]\n{settings}\n"));
        }
        let file = self.directory.path().join(format!("{name}.toml"));
        std::fs::write(&file, toml + own).unwrap();
        file
    }

    /// Runs a command to its end with the configuration of this name.
    async fn run(&self, name: &str, arguments: &[&str]) -> Said {
        let file = self.directory.path().join(format!("{name}.toml"));
        run_with(&file, &self.data(), arguments).await
    }

    /// Asks whether this address serves.
    async fn healthcheck(&self, address: &str) -> Said {
        run_with(&self.file("health", address, ""), &self.data(), &["healthcheck"]).await
    }

    /// Waits until this address serves: on a machine with much else to do the question may time out.
    async fn serves(&self, address: &str) {
        let said = eventually("it serves", || async {
            let said = self.healthcheck(address).await;
            (said.code == 0).then_some(said)
        })
        .await;
        assert_eq!(said.out.trim(), "SERVING");
    }

    /// Starts a role, up to the line that says that it is ready.
    async fn start(&self, role: &str, file: &Path, ready: &'static str) -> Role {
        let mut process = Process::start(file, &self.data(), Some(role));
        let banner = process.printed(ready).await;
        Role { process, banner }
    }

    /// Starts an API of this name, whose prices come from these exchanges.
    async fn api(&self, name: &str, public_key: &str, exchanges: &Exchanges) -> Role {
        let own = format!(
            "[admin]\nsocket = \"{name}.sock\"\n[signer]\npublic_key = \"{public_key}\"\n{}",
            exchanges.settings()
        );
        let file = self.file(name, "127.0.0.1:0", &own);
        self.start("api", &file, "export AUTH=").await
    }
}

/// A role that runs, and what it said when it was ready.
struct Role {
    process: Process,
    banner: String,
}

impl Role {
    fn address(&self) -> &str {
        word(&self.banner, "serves at http://")
    }

    /// The sandbox's merchant, calling this process.
    fn client(&self) -> Client {
        let (key, secret) = (word(&self.banner, "api key "), word(&self.banner, "api secret "));
        let credentials = Credentials::new(key, secret);
        Client::builder(format!("http://{}", self.address()), credentials).build().unwrap()
    }

    async fn stop(self) {
        self.process.stop().await;
    }
}

/// Exchanges that agree on what bitcoin costs.
async fn exchanges(bitcoin: &'static str) -> Exchanges {
    let exchanges = Exchanges::start(&MovedClock::new()).await;
    for exchange in Exchange::ALL {
        exchanges.act(exchange, Act::Price(bitcoin));
    }
    exchanges
}

/// An invoice in bitcoin, as soon as there are addresses and a price.
async fn created(client: &Client, order: &str) -> Invoice {
    eventually("an invoice", || async {
        let invoice = CreateInvoice::new("btc", "50").order_id(order).request_id(order);
        client.create_invoice(invoice).await.ok()?.invoice
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_and_two_apis_are_one_deployment() {
    install_tls();
    let of_worker = exchanges(r#""59000.00""#).await;
    let of_one = exchanges(r#""60000.00""#).await;
    let of_other = exchanges(r#""61000.00""#).await;
    let deployment = Deployment::new().await;
    let file = deployment.file("worker", "127.0.0.1:0", &of_worker.settings());

    let early = deployment.run("worker", &["worker"]).await;
    assert_eq!(early.code, 1, "{early:?}");
    assert!(early.err.contains("run `cryptopayment migrate`"), "{early:?}");
    for _ in ["the first", "a repeat"] {
        let migrated = deployment.run("worker", &["migrate"]).await.ok();
        assert!(migrated.out.contains("up to date"), "{migrated:?}");
    }

    let worker = deployment.start("worker", &file, "CryptoPayment works").await;
    let opened = worker.process.logged("wallet open");
    let public_key = opened[0]["public_key"].as_str().unwrap();
    let one = deployment.api("one", public_key, &of_one).await;
    let other = deployment.api("other", public_key, &of_other).await;
    assert_ne!(one.address(), other.address());
    for api in [&one, &other] {
        deployment.serves(api.address()).await;
    }
    let merchants = deployment.run("one", &["admin", "merchants", "list"]).await.ok();
    assert!(merchants.out.contains("Sandbox merchant"), "{merchants:?}");

    // Each asks exchanges for itself, and what one creates the other reads when the worker has seen it paid.
    let (through_one, through_other) = (one.client(), other.client());
    let invoice = created(&through_one, "order-1").await;
    assert_eq!((invoice.rate.as_str(), invoice.rate_source.as_str()), ("60000.00", ALL));
    let elsewhere = created(&through_other, "order-2").await;
    assert_eq!((elsewhere.rate.as_str(), elsewhere.rate_source.as_str()), ("61000.00", ALL));
    assert_ne!(invoice.address, elsewhere.address);
    let pay = PayInvoiceRequest { invoice_id: invoice.id.clone(), blocks: 6, ..Default::default() };
    through_one.sandbox().pay(pay).await.unwrap();
    let confirmed = eventually("confirmed", || async {
        let now = through_other.get_invoice(&invoice.id).await.ok()?;
        (now.status() == InvoiceStatus::Confirmed).then_some(now)
    })
    .await;
    assert_eq!(confirmed.paid_units, invoice.amount_units);
    let balances = through_other.balances().await.unwrap();
    assert_eq!(through_one.balances().await.unwrap(), balances);

    // The sandbox's clock is the deployment's: the other process goes by it too.
    let seconds = 86_400;
    through_one.sandbox().advance_clock(seconds).await.unwrap();
    let page = format!("http://{}/checkout/v1/invoices/{}", other.address(), invoice.id);
    let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build().unwrap();
    eventually("its clock is moved", || async {
        let seen = answer(http.get(&page)).await.json();
        (seen["checkout"]["clock_ahead_seconds"] == seconds).then_some(())
    })
    .await;

    let gone = one.address().to_owned();
    drop(through_one);
    one.stop().await;
    let refused = deployment.healthcheck(&gone).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    deployment.serves(other.address()).await;
    drop(through_other);
    other.stop().await;
    worker.stop().await;
    for exchange in Exchange::ALL {
        assert!(of_one.asked(exchange) > 0 && of_other.asked(exchange) > 0);
        assert_eq!(of_worker.asked(exchange), 0, "the worker prices nothing");
    }
    audit::check(&deployment.database_url, &balances).await;
}

/// Whoever adds a command to that table runs it, here or in a guide.
#[test]
fn every_command_of_the_readme_is_run() {
    let page = std::fs::read_to_string(parts::repository().join("README.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `cryptopayment"));
    let named: Vec<&str> = rows.filter_map(|row| row.split('`').next()).map(str::trim).collect();
    // The first is what guides run against.
    let run = ["", "migrate", "api", "worker", "healthcheck", "admin merchants list"];
    assert_eq!(named, run);
}
