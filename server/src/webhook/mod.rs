//! Telling merchants: the HTTP client that delivers events to addresses merchants choose, the
//! documented signature, the documented retry times. Not here: which event goes to which endpoint
//! (`store`), and the loop that delivers (`worker`).

mod address;
pub mod body;
pub mod client;
#[cfg(test)]
mod client_tests;
mod resolver;
pub mod schedule;
pub mod signing;
pub mod target;

pub use client::{ClientError, DeliveryError, Outcome, WebhookClient, WebhookLimits};
pub use resolver::Lookup;
pub use target::{TargetError, TargetPolicy, check_url};
