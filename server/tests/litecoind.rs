//! A whole server on a real Litecoin Core in regtest: the conformance cases, what only a real node can
//! show, and what comes in and out of MWEB. On PostgreSQL, with one case on SQLite.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

mod conformance;
#[path = "utxo/keys.rs"]
mod keys;
#[path = "litecoind/mweb.rs"]
mod mweb;
#[path = "conformance/outages.rs"]
mod outages;
#[path = "utxo/scenarios.rs"]
mod scenarios;
mod support;
#[path = "fake_deposits/table.rs"]
mod table;
#[path = "support/tcp_proxy.rs"]
mod tcp_proxy;
#[path = "support/utxo_node/mod.rs"]
mod utxo_node;
#[path = "utxo/world.rs"]
mod world;

use support::server::Engine;
use utxo_node::Kind;
use world::NodeWorld;

mod on_postgres {
    use super::*;
    crate::every_case!(async { NodeWorld::start(Kind::Litecoin, Engine::Postgres).await.world });
}

/// The node stops and starts again in the middle of every case.
mod restarted {
    use super::*;
    crate::every_case!(async {
        NodeWorld::start_restarting(Kind::Litecoin, Engine::Postgres).await.world
    });
}

mod stories {
    use super::*;
    crate::every_scenario!(NodeWorld::start(Kind::Litecoin, Engine::Postgres));
}

mod on_sqlite {
    use super::*;
    crate::conformance!(
        async { NodeWorld::start(Kind::Litecoin, Engine::Sqlite).await.world };
        exact_payment_confirms
    );
}
