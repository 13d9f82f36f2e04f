//! The one list of tests that runs on both databases: `sqlite.rs` and `postgres.rs` include it, and
//! their closing lines count the same tests.

mod applying;
mod bad_input;
mod catch_up;
mod checkout;
mod checkout_page;
mod concurrency;
mod cors;
mod damage;
mod deliveries;
mod dispatch;
mod endpoints;
mod failed_authentications;
mod golden;
mod groups;
mod grpc;
mod hardening;
mod journal;
mod ledger;
mod loading;
mod metrics;
mod pages;
mod policies;
mod rates;
mod recipes;
mod reconciliation;
mod rescans;
mod restored;
mod sandbox;
mod scanning;
mod scenarios;
mod scopes;
mod unexpected;
mod views;
mod waits;
mod webhook_keys;
mod webhook_verify;
mod webhooks;

mod networks {
    use cryptopayment::domain::asset::Network;

    use crate::conformance::world::World;

    mod btc {
        use super::*;
        crate::every_case!(World::sandbox(crate::ENGINE, Network::Btc));
    }

    mod ltc {
        use super::*;
        crate::every_case!(World::sandbox(crate::ENGINE, Network::Ltc));
    }

    mod eth {
        use super::*;
        crate::every_case!(World::sandbox(crate::ENGINE, Network::Eth));
    }

    mod bep20 {
        use super::*;
        crate::every_case!(World::sandbox(crate::ENGINE, Network::Bep20));
    }

    mod trc20 {
        use super::*;
        crate::every_case!(World::sandbox(crate::ENGINE, Network::Trc20));
    }
}
