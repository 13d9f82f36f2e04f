//! Two nodes of one chain that know nothing of each other, as a fork of the whole network or a liar makes
//! them: nothing is credited and nobody's time is over while they contradict each other, and all goes on
//! when they agree again or one of them is taken out of the settings. Not here: votes of more nodes.

use std::sync::Arc;

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1::EndpointState;
use cryptopayment_sdk::v1::{
    Invoice, InvoiceException as Exception, InvoiceStatus as Status, NetworkState,
};

use crate::anvil::Anvil;
use crate::conformance::world::{World, asked};
use crate::scenarios::endpoints;
use crate::support::server::{Engine, eventually};
use crate::world::NodeWorld;

/// Blocks that part the nodes: more than two sound ones may differ by, fewer than a payment needs.
const PARTED_BLOCKS: u32 = 7;
/// More blocks than a payment needs.
const DEEP_BLOCKS: u32 = 20;

/// A payment that only the first node has, in a block of two chains with one past. What waits for time to
/// be over is the second invoice.
struct Parted {
    start: NodeWorld,
    second: Arc<Anvil>,
    paid: Invoice,
    unpaid: Invoice,
}

impl Parted {
    async fn begin(engine: Engine) -> Self {
        let first = Arc::new(Anvil::start(Network::Eth).await);
        let second = Arc::new(first.twin().await);
        let more = format!("\nfallbacks = [{{ url = \"http://127.0.0.1:{}\" }}]", second.port());
        let port = first.port();
        let start = NodeWorld::on(Network::Eth, engine, first, port, &more, None).await;
        let world = &start.world;
        let (paid, unpaid) = (world.invoice().await, world.invoice().await);
        let txid = world.pay(&paid, 1, 1).await;
        world.wait_seen(&paid, &txid).await;
        // Judged while the nodes still agree: later it is to stand as it does.
        world.wait(&paid, Status::Confirming, Exception::None).await;
        let parted = Self { start, second, paid, unpaid };
        parted.mine(PARTED_BLOCKS).await;
        parted.wait_looked("they contradict each other", EndpointState::Disagrees).await;
        parted
    }

    /// Mines so many blocks on both nodes, each its own.
    async fn mine(&self, blocks: u32) {
        self.start.node.mine(blocks).await.unwrap();
        self.second.mine(blocks).await.unwrap();
    }

    /// Waits until both nodes were looked at with the blocks that they have now, and stand so.
    async fn wait_looked(&self, what: &str, state: EndpointState) {
        let mut newest = Vec::new();
        for node in [&self.start.node, &self.second] {
            let height: String = node.call("eth_blockNumber", serde_json::json!([])).await.unwrap();
            newest.push(u64::from_str_radix(&height[2..], 16).ok());
        }
        eventually(what, || async {
            let stand = endpoints(&self.start.world).await;
            let seen: Vec<Option<u64>> = stand.iter().map(|one| one.height).collect();
            (seen == newest && stand.iter().all(|one| one.state() == state)).then_some(())
        })
        .await;
    }

    /// However deep the payment is on one node, and whatever the time is, nothing happens.
    async fn holds(&self) {
        let world = &self.start.world;
        self.mine(DEEP_BLOCKS).await;
        world.expire().await;
        self.wait_looked("they still do", EndpointState::Disagrees).await;
        let networks = world.client.networks().await.unwrap();
        let eth = networks.into_iter().find(|network| network.network == "eth").unwrap();
        assert_eq!(eth.state(), NetworkState::Held);
        let paid = world.client.get_invoice(&self.paid.id).await.unwrap();
        let unpaid = world.client.get_invoice(&self.unpaid.id).await.unwrap();
        assert_eq!((paid.status(), unpaid.status()), (Status::Confirming, Status::Pending));
        world.wait_available_and_pending(0, asked(&self.paid)).await;
    }
}

/// What was held up comes to its end, once.
async fn ends_well(world: World, paid: &Invoice, unpaid: &Invoice) {
    world.wait(paid, Status::Confirmed, Exception::None).await;
    world.wait(unpaid, Status::Expired, Exception::None).await;
    world.wait_told(paid, &["payment.detected", "payment.confirmed"]).await;
    world.wait_available(asked(paid)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_contradict_each_other_hold_until_they_agree() {
    let parted = Parted::begin(Engine::Sqlite).await;
    parted.holds().await;
    parted.second.follow(&parted.start.node).await;
    parted.wait_looked("they agree", EndpointState::Healthy).await;
    let Parted { start, paid, unpaid, .. } = parted;
    ends_well(start.world, &paid, &unpaid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_contradict_each_other_hold_until_one_is_taken_out() {
    let parted = Parted::begin(Engine::Postgres).await;
    parted.holds().await;
    // A restart alone forgets nothing.
    let Parted { mut start, second, paid, unpaid } = parted;
    start.world.server.restart().await;
    start.world.client = start.world.server.client();
    let parted = Parted { start, second, paid, unpaid };
    parted.holds().await;
    let Parted { mut start, paid, unpaid, .. } = parted;
    let alone = start.node.table(start.proxy.port());
    start.world.server.restart_with(&alone).await;
    start.world.client = start.world.server.client();
    ends_well(start.world, &paid, &unpaid).await;
}
