//! A whole server on a TRON chain that a driver has in hand. Not here: the node itself, assertions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use cryptopayment::domain::asset::Network;
use tokio::task::JoinHandle;

use crate::conformance::world::World;
use crate::support::server::{Engine, TestServer, eventually};
use crate::tcp_proxy::TcpProxy;
use crate::tron_node::driver::Driver;

/// How long a restless node is away.
const AWAY: Duration = Duration::from_millis(250);
/// How long it is there in between: enough for a turn of reading on a busy machine.
const THERE: Duration = Duration::from_secs(1);

/// The node as a chain that two owners drive: the world and its scenario.
struct Shared(Arc<Driver>);

#[async_trait]
impl SandboxControl for Shared {
    async fn pay(&self, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        self.0.pay(outputs).await
    }

    async fn replace(&self, txid: &str, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        self.0.replace(txid, outputs).await
    }

    async fn evict(&self, txid: &str) -> Result<(), ChainError> {
        self.0.evict(txid).await
    }

    async fn mine(&self, blocks: u32) -> Result<BlockRef, ChainError> {
        self.0.mine(blocks).await
    }

    async fn fork(&self, depth: u32, fates: &[(String, ForkFate)]) -> Result<BlockRef, ChainError> {
        self.0.fork(depth, fates).await
    }
}

/// A task that ends with its world.
struct Stopped(JoinHandle<()>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A world on a node; on the simulated one both ports are behind proxies that can be cut.
pub struct NodeWorld {
    pub world: World,
    pub driver: Arc<Driver>,
    pub proxies: Arc<Vec<TcpProxy>>,
}

impl NodeWorld {
    pub async fn start(engine: Engine) -> Self {
        Self::on(engine, Driver::start().await).await
    }

    pub async fn on(engine: Engine, driver: Driver) -> Self {
        Self::with(engine, driver, "").await
    }

    /// The same with more lines in the network's table.
    pub async fn with(engine: Engine, driver: Driver, lines: &str) -> Self {
        let driver = Arc::new(driver);
        let mut proxies = Vec::new();
        if let Some(node) = &driver.node {
            proxies.push(TcpProxy::to(node.full_port()).await);
            proxies.push(TcpProxy::to(node.solidity_port()).await);
        }
        let urls: Vec<String> =
            proxies.iter().map(|proxy| format!("http://127.0.0.1:{}", proxy.port())).collect();
        let settings = match urls.as_slice() {
            [full, solidity] => driver.settings(full, solidity, lines),
            _ => driver.settings(&driver.full_url, &driver.solidity_url, lines),
        };
        let settings = format!("{settings}\n[metrics]\nlisten = \"127.0.0.1:0\"\n");
        let server = TestServer::with(engine, &settings).await;
        let proxies = Arc::new(proxies);
        let kept = Box::new((Arc::clone(&driver), Arc::clone(&proxies)));
        let chain = Arc::new(Shared(Arc::clone(&driver)));
        let mut world = World::new(server, Network::Trc20, chain, kept).await.shown_in_blocks();
        world.blocks_on_demand = driver.node.is_some();
        Self { world, driver, proxies }
    }

    /// The same with a node that goes away and comes back all the time, in the middle of whatever is
    /// told of it.
    pub async fn restless(engine: Engine) -> Self {
        let mut here = Self::on(engine, Driver::simulated().await).await;
        let proxies = Arc::clone(&here.proxies);
        let went_away = Arc::new(AtomicBool::new(false));
        here.world.went_away = Some(Arc::clone(&went_away));
        let restless = tokio::spawn(async move {
            loop {
                proxies.iter().for_each(TcpProxy::cut);
                went_away.store(true, Ordering::SeqCst);
                tokio::time::sleep(AWAY).await;
                proxies.iter().for_each(TcpProxy::mend);
                tokio::time::sleep(THERE).await;
            }
        });
        let kept = std::mem::replace(&mut here.world.kept, Box::new(()));
        here.world.kept = Box::new((kept, Stopped(restless)));
        here
    }

    /// Waits until the server has read everything there is, and returns how far that is.
    pub async fn wait_read(&self) -> u64 {
        let tip = self.driver.simulator().unwrap().chain().tip().number();
        eventually("everything is read", || async {
            let networks = self.world.client.networks().await.unwrap();
            let own = networks.into_iter().find(|network| network.network == "trc20").unwrap();
            (own.scanned_height >= tip).then_some(tip)
        })
        .await
    }
}
