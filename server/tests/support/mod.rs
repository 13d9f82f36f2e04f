//! What the tests share: a whole server, its books recomputed, receivers of webhooks.

pub mod audit;
pub mod core;
pub mod receiver;
pub mod rest;
pub mod server;
