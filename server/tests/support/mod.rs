//! What the tests share: a whole server, its books recomputed, receivers of webhooks, foreign programs.

pub mod alarms;
pub mod audit;
pub mod clock;
pub mod core;
pub mod crowd;
pub mod distant;
pub mod exchanges;
pub mod parts;
pub mod receiver;
pub mod rest;
pub mod server;
pub mod unexpected;
pub mod wire;
