//! Ethereum and BNB Smart Chain, each on a node of its own, under one server: an address of one paid on the
//! other is an unexpected deposit and no payment, and the operator gives it to its merchant once. Not here:
//! what is refused (`it/unexpected.rs`), other coins (`unexpected`).

use std::sync::Arc;

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1::UnexpectedDepositState as State;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{
    Invoice, InvoiceException as Exception, InvoiceStatus as Status, LedgerEntryKind,
};

use crate::anvil::Anvil;
use crate::conformance::world::{World, asked};
use crate::support::server::{Engine, TestServer, eventually};
use crate::support::unexpected::{Desk, To};

/// Deeper than either network asks, and final.
const DEEP_BLOCKS: u32 = 20;

/// An invoice, the chain that its address is paid on by mistake, and the chain that it is for.
struct Astray {
    invoice: Invoice,
    on: Network,
    wrong: Arc<Anvil>,
    right: Arc<Anvil>,
    txid: String,
}

impl Astray {
    /// Pays as many base units as the invoice asks, of the other chain's coin.
    async fn pay(world: &World, on: Network, wrong: &Arc<Anvil>, right: &Arc<Anvil>) -> Self {
        let meant = if on == Network::Eth { Network::Bep20 } else { Network::Eth };
        let created = world.client.create_invoice(CreateInvoice::new(meant.as_str(), "50")).await;
        let invoice = created.unwrap().invoice.unwrap();
        let txid = wrong.pay(&[(invoice.address.clone(), asked(&invoice))]).await.unwrap();
        wrong.mine(1).await.unwrap();
        let (wrong, right) = (Arc::clone(wrong), Arc::clone(right));
        Self { invoice, on, wrong, right, txid }
    }

    /// It is there for the operator, and the invoice knows nothing of it.
    async fn is_recorded(&self, world: &World, desk: &Desk) {
        let seen = desk.wait(&self.txid, State::Seen).await;
        let networks = (seen.network.as_str(), seen.address_network.as_str());
        assert_eq!(networks, (self.on.as_str(), self.invoice.network.as_str()));
        assert_eq!((seen.coin.as_str(), seen.is_creditable), (self.on.asset().as_str(), true));
        assert_eq!(
            (&seen.address, &seen.amount_units),
            (&self.invoice.address, &self.invoice.amount_units)
        );
        assert_eq!(seen.invoice_id.as_ref(), Some(&self.invoice.id));
        self.wrong.mine(DEEP_BLOCKS).await.unwrap();
        desk.wait_final(&world.client, &self.txid).await;
        desk.wait_deep(&self.txid, u64::from(DEEP_BLOCKS) + 1).await;
        self.is_unpaid(world).await;
        assert_eq!(available(world, self.on).await, 0);
    }

    async fn is_unpaid(&self, world: &World) {
        let now = world.client.get_invoice(&self.invoice.id).await.unwrap();
        assert_eq!((now.status(), now.paid_units.as_str()), (Status::Pending, "0"));
        assert!(now.payments.is_empty(), "it is no payment of the invoice");
    }

    async fn is_given_once(&self, world: &World, desk: &Desk) {
        let id = desk.wait(&self.txid, State::Seen).await.id;
        let to = To::Invoice(self.invoice.id.clone());
        let given = desk.assign(&id, &to, "sent on the wrong chain").await.unwrap();
        assert_eq!(given.state(), State::Assigned);
        assert_eq!(desk.assign(&id, &to, "again").await.unwrap(), given);
        assert_eq!(available(world, self.on).await, asked(&self.invoice));
        self.is_unpaid(world).await;
    }

    /// On its own chain the same address takes a payment as ever.
    async fn is_paid(&self, world: &World) {
        self.right.pay(&[(self.invoice.address.clone(), asked(&self.invoice))]).await.unwrap();
        self.right.mine(DEEP_BLOCKS).await.unwrap();
        let now = world.wait(&self.invoice, Status::Confirmed, Exception::None).await;
        assert_eq!((now.payments.len(), &now.paid_units), (1, &self.invoice.amount_units));
    }
}

async fn available(world: &World, network: Network) -> u128 {
    let balances = world.client.balances().await.unwrap();
    let own = balances.iter().find(|balance| balance.coin == network.asset().as_str()).unwrap();
    own.available_units.parse().unwrap()
}

async fn each_on_the_others_chain(engine: Engine) {
    let eth = Arc::new(Anvil::start(Network::Eth).await);
    let bsc = Arc::new(Anvil::start(Network::Bep20).await);
    let settings = [eth.table(eth.port()), bsc.table(bsc.port())].join("\n");
    let server = TestServer::with(engine, &settings).await;
    let desk = Desk::of(&server).await;
    let world = World::new(server, Network::Eth, Arc::clone(&eth) as _, Box::new(())).await;

    let token = Astray::pay(&world, Network::Bep20, &bsc, &eth).await;
    let ether = Astray::pay(&world, Network::Eth, &eth, &bsc).await;
    for one in [&token, &ether] {
        one.is_recorded(&world, &desk).await;
    }
    for one in [&token, &ether] {
        one.is_given_once(&world, &desk).await;
    }
    for one in [&token, &ether] {
        one.is_paid(&world).await;
    }
    let all = asked(&token.invoice) + asked(&ether.invoice);
    for network in [Network::Eth, Network::Bep20] {
        let what = format!("{all} units of {network} in all");
        let look = || async { (available(&world, network).await == all).then_some(()) };
        eventually(&what, look).await;
    }
    let entries = world.client.list_ledger_entries(Default::default()).await.unwrap().entries;
    let given = entries.iter().filter(|one| one.kind() == LedgerEntryKind::UnexpectedDeposit);
    let mut txids: Vec<&str> = given.filter_map(|one| one.txid.as_deref()).collect();
    txids.reverse();
    assert_eq!(txids, [token.txid.as_str(), ether.txid.as_str()]);
    assert_eq!(desk.all().await.len(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coin_on_the_wrong_chain_is_given_once_on_sqlite() {
    each_on_the_others_chain(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coin_on_the_wrong_chain_is_given_once_on_postgres() {
    each_on_the_others_chain(Engine::Postgres).await;
}
