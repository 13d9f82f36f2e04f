//! A whole server on a real bitcoind in regtest: the conformance cases, and what only a real node can
//! show. On SQLite, with one case on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

mod conformance;
#[path = "utxo/keys.rs"]
mod keys;
#[path = "conformance/outages.rs"]
mod outages;
#[path = "utxo/scenarios.rs"]
mod scenarios;
mod support;
#[path = "support/tcp_proxy.rs"]
mod tcp_proxy;
#[path = "support/utxo_node/mod.rs"]
mod utxo_node;
#[path = "utxo/world.rs"]
mod world;

use support::server::Engine;
use utxo_node::Kind;
use world::NodeWorld;

mod on_sqlite {
    use super::*;
    crate::every_case!(async { NodeWorld::start(Kind::Bitcoin, Engine::Sqlite).await.world });
}

/// The node stops and starts again in the middle of every case.
mod restarted {
    use super::*;
    crate::every_case!(async {
        NodeWorld::start_restarting(Kind::Bitcoin, Engine::Sqlite).await.world
    });
}

mod stories {
    use super::*;
    crate::every_scenario!(NodeWorld::start(Kind::Bitcoin, Engine::Sqlite));
}

mod on_postgres {
    use super::*;
    crate::conformance!(
        async { NodeWorld::start(Kind::Bitcoin, Engine::Postgres).await.world };
        exact_payment_confirms
    );
}
