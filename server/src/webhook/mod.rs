//! Telling merchants: the HTTP client that delivers events to addresses merchants choose, the
//! signatures, the documented retry times, the search for a receiver's mistake. Not here: which event
//! goes to which endpoint (`store`), and the loop that delivers (`worker`).

mod address;
pub mod body;
pub mod client;
#[cfg(test)]
mod client_tests;
pub mod diagnosis;
#[cfg(test)]
mod diagnosis_tests;
pub mod request;
mod resolver;
pub mod schedule;
pub mod signing;
pub mod target;

pub use client::{ClientError, DeliveryError, Outcome, WebhookClient, WebhookLimits};
pub use request::{Message, SignedRequest};
pub use resolver::{Lookup, Unreachable, resolve};
pub use target::{TargetError, TargetPolicy, check_url};
