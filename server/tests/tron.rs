//! A whole server on TRON's HTTP API: the conformance cases, and what only a node can show. On
//! SQLite, with one case on PostgreSQL. The node is a simulator pinned to a live one's answers, or
//! the real one that TRON_FULL_URL, TRON_SOLIDITY_URL and TRON_KEY (hex) name.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

#[path = "tron/captures.rs"]
mod captures;
mod conformance;
#[path = "conformance/outages.rs"]
mod outages;
#[path = "tron/scenarios.rs"]
mod scenarios;
mod support;
#[path = "support/tcp_proxy.rs"]
mod tcp_proxy;
#[path = "support/tron_node/mod.rs"]
mod tron_node;
#[path = "tron/world.rs"]
mod tron_world;
#[path = "tron/unexpected.rs"]
mod unexpected;

use conformance::world::World;
use support::server::Engine;
use tron_world::NodeWorld;

/// Makes one test per case. On a real node a case that it cannot be made to play says so.
macro_rules! cases_on {
    ($engine:expr; every node: $($any:ident),*; simulator: $($simulated:ident),* $(,)?) => {
        $crate::conformance!(world($engine); $($any),*);
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $simulated() {
                let NodeWorld { mut world, driver, .. } = NodeWorld::start($engine).await;
                if driver.node.is_none() {
                    println!("TRON: {} was not played: no real node can be made to", stringify!($simulated));
                    return;
                }
                $crate::conformance::cases::$simulated(&mut world).await;
                world.finish().await;
                $crate::conformance::table::passed(module_path!(), stringify!($simulated));
            }
        )*
    };
}

async fn world(engine: Engine) -> World {
    NodeWorld::start(engine).await.world
}

/// Not here: `replaced_before_a_block_goes_back` and `eviction_changes_nothing`. Both are stories of
/// a payment that is seen while it waits, and the reader gives no view of what waits: a TRON node's
/// own is none of the network, and says SUCCESS of calls that will fail.
mod simulator {
    use super::*;
    cases_on! { Engine::Sqlite;
        every node:
            nothing_seen_expires,
            exact_payment_confirms,
            two_parts_confirm,
            a_part_expires_underpaid,
            more_than_asked_is_overpaid,
            late_payment_is_credited_and_stays_expired,
            canceled_invoice_still_credits,
            canceling_after_a_payment_is_refused,
            restart_in_between_loses_nothing,
            payment_while_down_is_found;
        simulator:
            one_transaction_pays_two_invoices_and_one_twice,
            reorganised_payment_confirms_again,
            double_spend_of_a_confirmed_payment_takes_the_credit_back,
    }
}

/// A node that stops and comes back in the middle of every story changes no outcome.
mod restless {
    use super::*;

    async fn restless() -> World {
        NodeWorld::restless(Engine::Sqlite).await.world
    }

    crate::conformance!(restless();
        nothing_seen_expires,
        exact_payment_confirms,
        two_parts_confirm,
        a_part_expires_underpaid,
        more_than_asked_is_overpaid,
        late_payment_is_credited_and_stays_expired,
        canceled_invoice_still_credits,
        canceling_after_a_payment_is_refused,
        one_transaction_pays_two_invoices_and_one_twice,
        reorganised_payment_confirms_again,
        double_spend_of_a_confirmed_payment_takes_the_credit_back,
        restart_in_between_loses_nothing,
        payment_while_down_is_found);
}

mod on_postgres {
    use super::*;
    crate::conformance!(world(Engine::Postgres); exact_payment_confirms);
}

/// What a real node of the environment is driven by, on a simulated one that makes its blocks itself.
mod as_real {
    use std::time::Duration;

    use super::*;
    use crate::tron_node::driver::Driver;

    const BLOCK_TIME: Duration = Duration::from_millis(300);

    async fn foreign() -> World {
        NodeWorld::on(Engine::Sqlite, Driver::foreign(BLOCK_TIME).await).await.world
    }

    crate::conformance!(foreign();
        late_payment_is_credited_and_stays_expired,
        restart_in_between_loses_nothing,
        payment_while_down_is_found);
}
