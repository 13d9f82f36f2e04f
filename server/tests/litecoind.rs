//! A whole server on a real Litecoin Core in regtest: the conformance cases, and what only a real
//! node can show. On PostgreSQL, with one case on SQLite.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

mod conformance;
#[path = "support/litecoind.rs"]
mod litecoind;
#[path = "litecoind/scenarios.rs"]
mod scenarios;
mod support;
#[path = "support/tcp_proxy.rs"]
mod tcp_proxy;

use std::sync::Arc;

use async_trait::async_trait;
use conformance::world::World;
use cryptopayment::chain::bitcoin::RpcAuth;
use cryptopayment::chain::{BlockRef, ChainError, ForkFate, SandboxControl};
use cryptopayment::domain::asset::Network;
use litecoind::Litecoind;
use support::server::{Engine, TestServer};
use tcp_proxy::TcpProxy;

/// The node as a chain that two owners drive: the world and its scenario.
struct Shared(Arc<Litecoind>);

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

/// A world on a node, behind a proxy that can be cut.
pub struct NodeWorld {
    pub world: World,
    pub node: Arc<Litecoind>,
    pub proxy: Arc<TcpProxy>,
}

impl NodeWorld {
    pub async fn start(engine: Engine) -> Self {
        let node = Arc::new(Litecoind::start().await);
        let proxy = Arc::new(TcpProxy::to(node.rpc_port()).await);
        let secrets = tempfile::tempdir().unwrap();
        let RpcAuth::Password { user, password } = node.settings().auth else {
            panic!("the node has a password")
        };
        let password_file = secrets.path().join("password");
        std::fs::write(&password_file, password).unwrap();
        let settings = format!(
            "[networks.ltc]\nbackend = \"node\"\nchain = \"regtest\"\npoll_milliseconds = 50\n\
             node = {{ url = \"http://127.0.0.1:{}\", user = \"{user}\", password_file = \"{}\" }}",
            proxy.port(),
            password_file.display()
        );
        let server = TestServer::with(engine, &settings).await;
        let chain = Arc::new(Shared(Arc::clone(&node)));
        let kept = Box::new((Arc::clone(&node), Arc::clone(&proxy), secrets));
        let world = World::new(server, Network::Ltc, chain, kept).await;
        Self { world, node, proxy }
    }
}

async fn world(engine: Engine) -> World {
    NodeWorld::start(engine).await.world
}

mod on_postgres {
    use super::*;
    crate::every_case!(world(Engine::Postgres));
}

mod on_sqlite {
    use super::*;
    crate::conformance!(world(Engine::Sqlite); exact_payment_confirms);
}
