//! A world on a real node of a Bitcoin-like chain, behind a proxy that can be cut. Not here: the node
//! itself (`support/utxo_node`), and what happens in the world (`scenarios`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use tempfile::TempDir;

use crate::conformance::world::World;
use crate::support::server::{Engine, TestServer};
use crate::tcp_proxy::TcpProxy;
use crate::utxo_node::{Kind, Mode, UtxoNode};

/// The node as a chain that two owners drive: the world and its scenario.
struct Shared {
    node: Arc<UtxoNode>,
    /// Before which act, counted from one, the node is stopped and started again.
    restart_before: Option<usize>,
    restarted: Arc<AtomicBool>,
    acts: AtomicUsize,
}

impl Shared {
    async fn act(&self) -> &UtxoNode {
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
    pub node: Arc<UtxoNode>,
    pub proxy: Arc<TcpProxy>,
    /// The server's own settings of the network, for a test that changes one.
    pub settings: String,
}

impl NodeWorld {
    pub async fn start(kind: Kind, engine: Engine) -> Self {
        Self::start_in(kind, Mode::Plain, engine).await
    }

    pub async fn start_in(kind: Kind, mode: Mode, engine: Engine) -> Self {
        Self::start_with(kind, mode, engine, None).await
    }

    /// A world whose node stops and starts again between the first act and the second.
    pub async fn start_restarting(kind: Kind, engine: Engine) -> Self {
        Self::start_with(kind, Mode::Plain, engine, Some(2)).await
    }

    async fn start_with(
        kind: Kind,
        mode: Mode,
        engine: Engine,
        restart_before: Option<usize>,
    ) -> Self {
        let node = Arc::new(UtxoNode::start_in(kind, mode).await);
        let proxy = Arc::new(TcpProxy::to(node.rpc_port()).await);
        let secrets = tempfile::tempdir().unwrap();
        let settings = settings(&node, &proxy, &secrets, kind.oldest_version());
        let server = TestServer::with(engine, &settings).await;
        let restarted = Arc::new(AtomicBool::new(false));
        let chain = Arc::new(Shared {
            node: Arc::clone(&node),
            restart_before,
            restarted: Arc::clone(&restarted),
            acts: AtomicUsize::new(0),
        });
        let kept = Box::new((Arc::clone(&node), Arc::clone(&proxy), secrets));
        let mut world = World::new(server, kind.network(), chain, kept).await;
        world.went_away = restart_before.map(|_| restarted);
        Self { world, node, proxy, settings }
    }
}

/// The table of the node's network, in which nodes are believed from `oldest_version` on.
fn settings(node: &UtxoNode, proxy: &TcpProxy, secrets: &TempDir, oldest_version: u64) -> String {
    let password_file = secrets.path().join("password");
    std::fs::write(&password_file, node.password()).unwrap();
    format!(
        "[networks.{}]\nbackend = \"node\"\nchain = \"regtest\"\npoll_milliseconds = 50\n\
         node = {{ url = \"http://127.0.0.1:{}\", user = \"test\", password_file = \"{}\", \
         oldest_version = {oldest_version} }}",
        node.kind().network(),
        proxy.port(),
        password_file.display()
    )
}
