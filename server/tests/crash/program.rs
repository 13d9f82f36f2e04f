//! The real program as a child process, and the story that is told to it: invoices, payments, forks,
//! cancellations, while it dies and is started again.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::chain::sandbox::{Sandbox, SandboxChain};
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment_proto::admin::v1::RescanBlocksRequest;
use cryptopayment_proto::admin::v1::network_service_client::NetworkServiceClient;
use cryptopayment_sdk::v1::{Invoice, InvoiceStatus, UpdateWebhookEndpointRequest};
use cryptopayment_sdk::{Client, CreateInvoice, Credentials};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::support::audit;
use crate::support::receiver::Receiver;
use crate::support::server::{DEADLINE, Engine, eventually, fresh_database, install_tls};

/// What the program prints last when it is ready.
const READY: &str = "export AUTH=";

/// The longest that a payment is left in the mempool.
const LINGER_MAX: Duration = Duration::from_millis(300);
/// How often it is looked for there.
const LOOK: Duration = Duration::from_millis(10);
/// How long one call may take to a program with an armed failpoint.
const CALL_MAX: Duration = Duration::from_secs(2);
/// How long the program may live with an armed failpoint.
const LIFE_MAX: Duration = Duration::from_secs(120);

/// A deployment that dies and lives again.
pub struct Story {
    directory: TempDir,
    database_url: String,
    receiver: Receiver,
    child: Option<Child>,
    client: Option<Client>,
    chain: Option<SandboxChain>,
    /// Paid in full, each once.
    paid: Vec<Invoice>,
    created: u32,
}

impl Story {
    /// A deployment that was never started, of one network.
    pub async fn begin(engine: Engine) -> Self {
        Self::begin_on(engine, &["ltc"]).await
    }

    /// The same of these networks.
    pub async fn begin_on(engine: Engine, networks: &[&str]) -> Self {
        let mut tables = String::new();
        for network in networks {
            tables.push_str(&format!(
                "[networks.{network}]\nblock_seconds = 0\npoll_milliseconds = 50\nconfirmations = 2\n"
            ));
        }
        Self::begin_with(engine, &tables).await
    }

    /// The same of the networks that have a table of settings here.
    pub async fn begin_with(engine: Engine, tables: &str) -> Self {
        install_tls();
        let directory = tempfile::tempdir().unwrap();
        let database_url = fresh_database(engine, directory.path()).await;
        let receiver = Receiver::start().await;
        let mut toml = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"{database_url}\"\n\
             [pool]\naddresses_low = 6\naddresses_batch = 8\naddresses_leased = 3\n\
             [sandbox]\ndemo_webhook_url = \"{}\"\n{tables}\n",
            receiver.url
        );
        for network in Network::ALL {
            let heading = format!("[networks.{network}]\n");
            if !tables.contains(&heading) {
                toml.push_str(&format!("{heading}enabled = false\n"));
            }
        }
        std::fs::write(directory.path().join("settings.toml"), toml).unwrap();
        Self {
            directory,
            database_url,
            receiver,
            child: None,
            client: None,
            chain: None,
            paid: Vec::new(),
            created: 0,
        }
    }

    /// Where its sandbox and its admin socket are.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Starts the program. With a failpoint armed it may die before it is ready.
    pub async fn run(&mut self, failpoint: Option<&str>) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryptopayment"));
        command
            .arg("--config")
            .arg(self.directory.path().join("settings.toml"))
            .arg("--data-dir")
            .arg(self.data())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(name) = failpoint {
            command.env("CRYPTOPAYMENT_FAILPOINT", name);
        }
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let banner = tokio::task::spawn_blocking(move || {
            let mut banner = String::new();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                banner.push_str(&line);
                banner.push('\n');
                if line.contains(READY) {
                    break;
                }
            }
            banner
        });
        let banner = tokio::time::timeout(DEADLINE, banner).await.expect("it starts").unwrap();
        self.child = Some(child);
        if !banner.contains(READY) {
            assert!(failpoint.is_some(), "it did not start: {}", self.log());
            return;
        }
        let word = |label: &str| {
            let rest = banner.split(label).nth(1).unwrap();
            rest.split_whitespace().next().unwrap().to_owned()
        };
        let credentials = Credentials::new(word("api key "), word("api secret "));
        let url = word("serves at ");
        // A call to a program that is to die ends soon; one to a busy machine may take its time.
        let deadline = if failpoint.is_some() { CALL_MAX } else { DEADLINE };
        let client = Client::builder(url, credentials).deadline(deadline);
        self.client = Some(client.build().unwrap());
        if self.chain.is_none() {
            let file = self.data().join("sandbox.sqlite");
            let sandbox = Sandbox::open(&file, Env::system()).await.unwrap();
            self.chain = Some(sandbox.chain(Network::Ltc).await.unwrap());
        }
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }

    fn is_dead(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// One step of the story. Whatever fails because the program is dead is simply not done.
    async fn step(&mut self) {
        let (Some(client), Some(chain)) = (self.client.clone(), self.chain.clone()) else { return };
        self.created += 1;
        let order = format!("order-{}", self.created);
        // The shop's own key: a creation that was cut off is asked for again by a later step.
        for again in [false, true] {
            let invoice = CreateInvoice::new("ltc", "10").order_id(&order).request_id(&order);
            match client.create_invoice(invoice).await {
                Ok(created) => {
                    let invoice = created.invoice.unwrap();
                    let units = invoice.amount_units.parse().unwrap();
                    chain.pay(&[(invoice.address.clone(), units)]).await.unwrap();
                    self.linger(&client, &invoice, 0).await;
                    self.paid.push(invoice);
                    break;
                }
                Err(_) if again => return,
                Err(_) => {}
            }
        }
        chain.mine(1).await.unwrap();
        let other = client.create_invoice(CreateInvoice::new("ltc", "10")).await;
        if let Ok(other) = other {
            let _ = client.cancel_invoice(&other.invoice.unwrap().id).await;
        }
        if let Some(last) = self.paid.last() {
            self.linger(&client, last, 1).await;
        }
        chain.fork(1, &[]).await.unwrap();
        if self.created.is_multiple_of(2) {
            // Another one each time: what changes nothing is not written.
            let change = UpdateWebhookEndpointRequest {
                url: Some(format!("{}/{}", self.receiver.url, self.created)),
                events: Vec::new(),
            };
            let _ = client.update_webhook_endpoint(change).await;
        } else {
            rotate_and_redeliver(&client).await;
        }
        self.rescan().await;
        chain.mine(1).await.unwrap();
    }

    /// Lets the first blocks be read again: what is in them is known.
    async fn rescan(&self) {
        let socket = self.data().join("admin.sock");
        let connector = tower::service_fn(move |_: http::Uri| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost").timeout(CALL_MAX);
        let Ok(channel) = endpoint.connect_with_connector(connector).await else { return };
        let network = "ltc".to_owned();
        let request = RescanBlocksRequest { network, from_height: 0, to_height: 1 };
        let _ = NetworkServiceClient::new(channel).rescan_blocks(request).await;
    }

    /// Leaves a payment where it is until it was seen there so deep, or for a moment.
    async fn linger(&self, client: &Client, invoice: &Invoice, confirmations: u32) {
        let seen = async {
            while let Ok(now) = client.get_invoice(&invoice.id).await
                && now.payments.iter().all(|payment| payment.confirmations < confirmations)
            {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(LINGER_MAX, seen).await;
    }

    /// Lets the story go on and returns in the middle of it.
    pub async fn live(&mut self, pause: Duration) {
        self.step().await;
        // Not a wait for something: the moment of death is what is random here.
        tokio::time::sleep(pause).await;
    }

    /// Lets the story go on until the program has died by itself.
    pub async fn live_until_dead(&mut self, failpoint: &str) {
        let dying = async {
            while !self.is_dead() {
                self.step().await;
            }
        };
        let died = tokio::time::timeout(LIFE_MAX, dying).await;
        assert!(died.is_ok(), "{failpoint} was never hit: {}", self.log());
        self.died_of(failpoint);
    }

    /// Waits until the program has died of what somebody else asked of it.
    pub async fn wait_until_dead(&mut self, failpoint: &str) {
        let dying = async {
            while !self.is_dead() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let died = tokio::time::timeout(LIFE_MAX, dying).await;
        assert!(died.is_ok(), "{failpoint} was never hit: {}", self.log());
        self.died_of(failpoint);
    }

    fn died_of(&mut self, failpoint: &str) {
        let mut child = self.child.take().unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success(), "{failpoint}: it ended by itself");
        let marked = format!("failpoint {failpoint} hit");
        assert!(
            self.log().contains(&marked),
            "{failpoint}: it died of something else: {}",
            self.log()
        );
        self.client = None;
    }

    /// The merchant's client, while it runs.
    pub fn client(&self) -> Client {
        self.client.clone().expect("it runs")
    }

    /// Kills it and recomputes its books.
    pub async fn check_books(mut self) {
        let balances = self.client().balances().await.unwrap();
        self.kill().await;
        audit::check(&self.database_url, &balances).await;
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.client = None;
    }

    /// Lets everything come to its end, and checks it.
    pub async fn check(mut self) {
        self.run(None).await;
        let client = self.client.clone().unwrap();
        self.chain.as_ref().unwrap().mine(3).await.unwrap();
        for invoice in &self.paid {
            eventually(&format!("{} confirmed", invoice.id), || async {
                let now = client.get_invoice(&invoice.id).await.ok()?;
                (now.status() == InvoiceStatus::Confirmed).then_some(())
            })
            .await;
        }
        let mut promised = HashSet::new();
        let mut after = 0;
        loop {
            let page = client.list_events(after, 100).await.unwrap();
            if page.events.is_empty() {
                break;
            }
            after = page.next_after;
            let told = page.events.into_iter().filter(|event| event.r#type.starts_with("payment."));
            promised.extend(told.map(|event| (event.invoice_id, event.r#type)));
        }
        assert_eq!(promised.len(), 2 * self.paid.len(), "two events for each paid invoice");
        eventually("every event delivered", || async {
            let got: HashSet<_> = self
                .receiver
                .got()
                .iter()
                .map(|delivery| {
                    let id = delivery.json()["invoice_id"].as_str().unwrap().to_owned();
                    (id, delivery.event())
                })
                .collect();
            promised.is_subset(&got).then_some(())
        })
        .await;
        let balances = client.balances().await.unwrap();
        let paid: u128 = self.paid.iter().map(|i| i.amount_units.parse::<u128>().unwrap()).sum();
        assert_eq!(balances[0].available_units, paid.to_string(), "each paid once, credited once");
        println!("{} payments, {} events delivered", self.paid.len(), promised.len());
        self.kill().await;
        audit::check(&self.database_url, &balances).await;
    }
}

/// New keys for what is on its way, and the newest delivery once more.
async fn rotate_and_redeliver(client: &Client) {
    let _ = client.create_app_key().await;
    let _ = client.activate_app_key().await;
    let _ = client.rotate_signing_secret().await;
    if let Ok(page) = client.list_deliveries(Default::default()).await
        && let Some(newest) = page.deliveries.first()
    {
        let _ = client.redeliver(&newest.id).await;
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
