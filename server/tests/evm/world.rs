//! A world on a real EVM node, behind a proxy that can be cut. Not here: the node itself
//! (`support/anvil`), and what happens in the world (`scenarios`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use cryptopayment::domain::asset::Network;

use crate::anvil::Anvil;
use crate::conformance::world::World;
use crate::support::server::{Engine, TestServer};
use crate::tcp_proxy::TcpProxy;

/// The node as a chain that two owners drive: the world and its scenario.
struct Shared {
    node: Arc<Anvil>,
    /// Before which act, counted from one, the node is stopped and started again.
    restart_before: Option<usize>,
    restarted: Arc<AtomicBool>,
    acts: AtomicUsize,
}

impl Shared {
    async fn act(&self) -> &Anvil {
        let act = self.acts.fetch_add(1, Ordering::SeqCst) + 1;
        if self.restart_before == Some(act) {
            self.node.stop().await;
            self.node.run().await;
            self.restarted.store(true, Ordering::SeqCst);
        }
        &self.node
    }
}

#[async_trait]
impl SandboxControl for Shared {
    async fn pay(&self, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        self.act().await.pay(outputs).await
    }

    async fn replace(&self, txid: &str, outputs: &[(String, u128)]) -> Result<String, ChainError> {
        self.act().await.replace(txid, outputs).await
    }

    async fn evict(&self, txid: &str) -> Result<(), ChainError> {
        self.act().await.evict(txid).await
    }

    async fn mine(&self, blocks: u32) -> Result<BlockRef, ChainError> {
        self.act().await.mine(blocks).await
    }

    async fn fork(&self, depth: u32, fates: &[(String, ForkFate)]) -> Result<BlockRef, ChainError> {
        self.act().await.fork(depth, fates).await
    }
}

/// A world on a node, behind a proxy that can be cut.
pub struct NodeWorld {
    pub world: World,
    pub node: Arc<Anvil>,
    pub proxy: Arc<TcpProxy>,
    /// The server's own settings of the network.
    pub settings: String,
}

impl NodeWorld {
    pub async fn start(network: Network, engine: Engine) -> Self {
        Self::start_with(network, engine, "Token", None).await
    }

    /// A world whose node stops and starts again between the first act and the second.
    pub async fn start_restarting(network: Network, engine: Engine) -> Self {
        Self::start_with(network, engine, "Token", Some(2)).await
    }

    /// A world whose token is another contract of the fixtures.
    pub async fn start_with_token(token: &str, engine: Engine) -> Self {
        Self::start_with(Network::Bep20, engine, token, None).await
    }

    /// A world in which payments wait for their final block, which comes after they are deep enough.
    pub async fn start_final(network: Network, engine: Engine) -> Self {
        let node = Arc::new(Anvil::start(network).await);
        let port = node.port();
        let finality = "\nconfirmations = 1\nrequires_finality = true";
        Self::on(network, engine, node, port, finality, None).await
    }

    /// A world that knows its node by two addresses; the second one's proxy comes besides.
    pub async fn start_with_fallback(network: Network, engine: Engine) -> (Self, Arc<TcpProxy>) {
        let node = Arc::new(Anvil::start_with(network, "Token").await);
        let second = Arc::new(TcpProxy::to(node.port()).await);
        let fallbacks =
            format!("\nfallbacks = [{{ url = \"http://127.0.0.1:{}\" }}]", second.port());
        let port = node.port();
        (Self::on(network, engine, node, port, &fallbacks, None).await, second)
    }

    async fn start_with(
        network: Network,
        engine: Engine,
        token: &str,
        restart_before: Option<usize>,
    ) -> Self {
        let node = Arc::new(Anvil::start_with(network, token).await);
        let port = node.port();
        Self::on(network, engine, node, port, "", restart_before).await
    }

    /// A world on a node that is reached at `port`, with `more` in its network's table.
    pub async fn on(
        network: Network,
        engine: Engine,
        node: Arc<Anvil>,
        port: u16,
        more: &str,
        restart_before: Option<usize>,
    ) -> Self {
        let proxy = Arc::new(TcpProxy::to(port).await);
        let settings = node.table(proxy.port()) + more;
        let server = TestServer::with(engine, &settings).await;
        let restarted = Arc::new(AtomicBool::new(false));
        let chain = Arc::new(Shared {
            node: Arc::clone(&node),
            restart_before,
            restarted: Arc::clone(&restarted),
            acts: AtomicUsize::new(0),
        });
        let kept = Box::new((Arc::clone(&node), Arc::clone(&proxy)));
        let mut world = World::new(server, network, chain, kept).await;
        world.went_away = restart_before.map(|_| restarted);
        Self { world, node, proxy, settings }
    }
}
