//! The common list of tests on PostgreSQL, and what it alone has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

mod conformance;
mod it;
#[path = "postgres/sessions.rs"]
mod sessions;
mod support;

use support::server::Engine;

/// The database that every test of this binary runs on.
const ENGINE: Engine = Engine::Postgres;
