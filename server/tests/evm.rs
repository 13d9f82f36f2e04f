//! A whole server on a real EVM node, as Ethereum's chain 1 and as BNB Smart Chain's 56: the
//! conformance cases, the same with a node that restarts in the middle and with one that tells no calls,
//! and what only a real node can show. On PostgreSQL, with one case each on SQLite.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

#[path = "support/anvil/mod.rs"]
mod anvil;
mod conformance;
#[path = "conformance/outages.rs"]
mod outages;
#[path = "cli/program.rs"]
mod program;
#[path = "evm/scenarios.rs"]
mod scenarios;
mod support;
#[path = "support/tcp_proxy.rs"]
mod tcp_proxy;
#[path = "evm/two_chains.rs"]
mod two_chains;
#[path = "evm/two_nodes.rs"]
mod two_nodes;
#[path = "evm/unexpected.rs"]
mod unexpected;
#[path = "evm/untold.rs"]
mod untold;
#[path = "support/untraced.rs"]
mod untraced;
#[path = "evm/world.rs"]
mod world;

use conformance::world::World;
use cryptopayment::domain::asset::Network;
use support::server::Engine;
use world::NodeWorld;

async fn on(network: Network, engine: Engine) -> World {
    NodeWorld::start(network, engine).await.world
}

async fn restarting(network: Network) -> World {
    NodeWorld::start_restarting(network, Engine::Postgres).await.world
}

async fn untraced_on(network: Network, engine: Engine) -> World {
    NodeWorld::start_untraced(network, engine).await.0.world
}

mod chain_1 {
    use super::*;
    crate::every_case!(on(Network::Eth, Engine::Postgres));
}

mod chain_56 {
    use super::*;
    crate::every_case!(on(Network::Bep20, Engine::Postgres));
}

mod restart_1 {
    use super::*;
    crate::every_case!(restarting(Network::Eth));
}

mod restart_56 {
    use super::*;
    crate::every_case!(restarting(Network::Bep20));
}

mod stories_1 {
    use super::*;
    crate::every_story!(NodeWorld::start(Network::Eth, Engine::Postgres));
}

mod stories_56 {
    use super::*;
    crate::every_story!(NodeWorld::start(Network::Bep20, Engine::Postgres));
}

mod final_1 {
    use super::*;
    crate::every_story! { NodeWorld::start_final(Network::Eth, Engine::Postgres);
        a_payment_waits_until_its_block_is_final,
    }
}

mod final_56 {
    use super::*;
    crate::every_story! { NodeWorld::start_final(Network::Bep20, Engine::Sqlite);
        a_payment_waits_until_its_block_is_final,
    }
}

/// On a node that tells no calls: what pays through none is no different.
mod untraced_1 {
    use super::*;
    crate::conformance! { untraced_on(Network::Eth, Engine::Postgres);
        nothing_seen_expires,
        exact_payment_confirms,
        two_parts_confirm,
        a_part_expires_underpaid,
        late_payment_is_credited_and_stays_expired,
        replaced_before_a_block_goes_back,
        reorganised_payment_confirms_again,
        double_spend_of_a_confirmed_payment_takes_the_credit_back,
        payment_while_down_is_found,
    }
}

mod sqlite_1 {
    use super::*;
    crate::conformance!(on(Network::Eth, Engine::Sqlite); exact_payment_confirms);
}

mod sqlite_56 {
    use super::*;
    crate::conformance!(on(Network::Bep20, Engine::Sqlite); exact_payment_confirms);
}
