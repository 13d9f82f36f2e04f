//! A server, one of its networks, and a hand on that network's chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::chain::{ForkFate, SandboxControl};
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment_sdk::v1::{
    Invoice, InvoiceException, InvoiceStatus, UpdateWebhookEndpointRequest,
};
use cryptopayment_sdk::{Client, CreateInvoice};

use crate::support::receiver::{Delivery, Receiver};
use crate::support::server::{Engine, TestServer, eventually};

/// Every event there is: the receiver of a world asks for all of them.
const EVENTS: [&str; 8] = [
    "payment.detected",
    "payment.confirmed",
    "invoice.partially_paid",
    "invoice.expired",
    "invoice.late_payment",
    "invoice.canceled",
    "invoice.reorged",
    "invoice.reconfirmed",
];

/// The world of one test.
pub struct World {
    pub server: TestServer,
    pub client: Client,
    pub network: Network,
    pub chain: Arc<dyn SandboxControl>,
    pub receiver: Receiver,
    /// What must live as long as the world: a node.
    pub kept: Box<dyn std::any::Any + Send + Sync>,
    /// Whether the network shows payments before they are in a block. Where it does not, a payment
    /// is put into a block of its own at once.
    pub shows_waiting: bool,
    /// Whether a block comes only when the test asks for one.
    pub blocks_on_demand: bool,
    /// Where the node is to go away in the middle: whether it did.
    pub went_away: Option<Arc<AtomicBool>>,
}

impl World {
    /// A world on a simulated chain.
    pub async fn sandbox(engine: Engine, network: Network) -> Self {
        Self::sandbox_with(engine, network, "").await
    }

    /// The same with settings (TOML) of the test's own.
    pub async fn sandbox_with(engine: Engine, network: Network, settings: &str) -> Self {
        let server = TestServer::with(engine, settings).await;
        let file = server.directory.path().join("data/sandbox.sqlite");
        let sandbox = Sandbox::open(&file, Env::system()).await.unwrap();
        let chain = Arc::new(sandbox.chain(network).await.unwrap());
        Self::new(server, network, chain, Box::new(())).await
    }

    /// A world on any chain that somebody drives.
    pub async fn new(
        server: TestServer,
        network: Network,
        chain: Arc<dyn SandboxControl>,
        kept: Box<dyn std::any::Any + Send + Sync>,
    ) -> Self {
        let client = server.client();
        let receiver = Receiver::start().await;
        let change = UpdateWebhookEndpointRequest {
            url: Some(receiver.url.clone()),
            events: EVENTS.map(str::to_owned).to_vec(),
        };
        client.update_webhook_endpoint(change).await.unwrap();
        Self {
            server,
            client,
            network,
            chain,
            receiver,
            kept,
            shows_waiting: true,
            blocks_on_demand: true,
            went_away: None,
        }
    }

    /// A new invoice over 50 dollars.
    pub async fn invoice(&self) -> Invoice {
        let created =
            self.client.create_invoice(CreateInvoice::new(self.network.as_str(), "50")).await;
        created.unwrap().invoice.unwrap()
    }

    /// The same on a network that shows payments in blocks alone.
    pub fn shown_in_blocks(self) -> Self {
        Self { shows_waiting: false, ..self }
    }

    /// Pays an invoice `numerator / denominator` of what it asks.
    pub async fn pay(&self, invoice: &Invoice, numerator: u128, denominator: u128) -> String {
        self.pay_all(&[share(invoice, numerator, denominator)]).await
    }

    /// Pays `(address, units)` by one transaction, so that the network shows it.
    pub async fn pay_all(&self, outputs: &[(String, u128)]) -> String {
        let txid = self.chain.pay(outputs).await.unwrap();
        if !self.shows_waiting {
            self.chain.mine(1).await.unwrap();
        }
        txid
    }

    /// How deep a payment is when it is first shown.
    pub const fn first_depth(&self) -> u32 {
        if self.shows_waiting { 0 } else { 1 }
    }

    /// Mines until the last payment is exactly this deep.
    pub async fn mine_until(&self, depth: u32) {
        let blocks = depth - self.first_depth();
        if blocks > 0 {
            self.chain.mine(blocks).await.unwrap();
        }
    }

    /// Mines until a payment in the next block is deep enough.
    pub async fn mine_deep(&self, invoice: &Invoice) {
        let required = invoice.confirmations.unwrap().required;
        self.chain.mine(required).await.unwrap();
    }

    /// Moves the business clock past every expiry.
    pub async fn expire(&self) {
        self.client.sandbox().advance_clock(31 * 60).await.unwrap();
    }

    /// Waits until the invoice stands like this.
    pub async fn wait(
        &self,
        invoice: &Invoice,
        status: InvoiceStatus,
        exception: InvoiceException,
    ) -> Invoice {
        let what = format!("{} {}", status.as_str_name(), exception.as_str_name());
        eventually(&what, || async {
            let now = self.client.get_invoice(&invoice.id).await.unwrap();
            (now.status() == status && now.exception() == exception).then_some(now)
        })
        .await
    }

    /// Waits until a condition on the invoice holds.
    pub async fn wait_until(
        &self,
        invoice: &Invoice,
        what: &str,
        holds: impl Fn(&Invoice) -> bool,
    ) -> Invoice {
        eventually(what, || async {
            let now = self.client.get_invoice(&invoice.id).await.unwrap();
            holds(&now).then_some(now)
        })
        .await
    }

    /// Waits until the scanner has read the chain up to this height.
    pub async fn wait_read(&self, height: u64) {
        let name = self.network.as_str();
        eventually(&format!("{name} is read up to {height}"), || async {
            let networks = self.client.networks().await.unwrap();
            let own = networks.into_iter().find(|network| network.network == name).unwrap();
            (own.scanned_height >= height).then_some(())
        })
        .await;
    }

    /// Waits until the merchant can withdraw exactly this, and nothing is pending.
    pub async fn wait_available(&self, units: u128) {
        self.wait_available_and_pending(units, 0).await;
    }

    /// Waits until exactly this can be withdrawn and exactly that is pending.
    pub async fn wait_available_and_pending(&self, units: u128, pending: u128) {
        let coin = self.network.asset().as_str();
        let what = format!("{units} units of {coin} available, {pending} pending");
        eventually(&what, || async {
            let balances = self.client.balances().await.unwrap();
            let balance = balances.into_iter().find(|balance| balance.coin == coin).unwrap();
            let wanted = (units.to_string(), pending.to_string());
            ((balance.available_units, balance.pending_units) == wanted).then_some(())
        })
        .await;
    }

    /// The names of the events of an invoice so far, in the log's order.
    pub async fn events(&self, invoice: &Invoice) -> Vec<String> {
        let mut names = Vec::new();
        let mut after = 0;
        loop {
            let page = self.client.list_events(after, 100).await.unwrap();
            if page.events.is_empty() {
                return names;
            }
            after = page.next_after;
            let own = page.events.into_iter().filter(|event| event.invoice_id == invoice.id);
            names.extend(own.map(|event| event.r#type));
        }
    }

    /// Waits until the receiver has every event of the log about this invoice, in order.
    pub async fn wait_told(&self, invoice: &Invoice, expected: &[&str]) -> Vec<Delivery> {
        assert_eq!(self.events(invoice).await, expected);
        eventually("every event delivered", || async {
            let got: Vec<Delivery> = self
                .receiver
                .got()
                .into_iter()
                .filter(|delivery| delivery.json()["invoice_id"] == invoice.id)
                .collect();
            (got.len() >= expected.len()).then_some(got)
        })
        .await
    }

    /// Waits until the scanner has seen the transaction for this invoice.
    pub async fn wait_seen(&self, invoice: &Invoice, txid: &str) {
        self.wait_until(invoice, "transaction seen", |now| {
            now.payments.iter().any(|payment| payment.txid == txid)
        })
        .await;
    }

    /// Replaces blocks, with one transaction's fate.
    pub async fn fork(&self, depth: u32, txid: &str, fate: ForkFate) {
        self.chain.fork(depth, &[(txid.to_owned(), fate)]).await.unwrap();
    }

    /// Stops the server and recomputes its books. A node that was to go away in the middle must have.
    pub async fn finish(self) {
        let stayed = self.went_away.is_some_and(|went| !went.load(Ordering::SeqCst));
        assert!(!stayed, "the node was to go away in the middle, and never did");
        self.server.finish().await;
    }
}

/// `(address, units)` of a share of what an invoice asks.
pub fn share(invoice: &Invoice, numerator: u128, denominator: u128) -> (String, u128) {
    (invoice.address.clone(), asked(invoice) * numerator / denominator)
}

/// Base units that an invoice asks.
pub fn asked(invoice: &Invoice) -> u128 {
    invoice.amount_units.parse().unwrap()
}
