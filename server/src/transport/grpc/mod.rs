//! The gRPC services: convert, call, convert. Each takes its caller from the authenticated request
//! and never from the message.

pub mod admin;
pub mod balances;
pub mod checkout;
pub mod event_tails;
pub mod events;
pub mod invoices;
pub mod networks;
pub mod sandbox;
pub mod sandbox_checkout;
pub mod send_test;
pub mod watchers;
mod watching;
mod webhook_answers;
pub mod webhooks;
pub mod withdrawals;

use tonic::{Request, Status};

use super::admission::Admission;
use super::auth::SeesAll;
use super::status::status;
use crate::domain::failure::Failure;
use crate::usecase::Caller;

/// Who calls; attached by the authenticator.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| status(Failure::internal("call reached a service without its caller")))
}

/// By what the caller was let in, for what goes on for a while.
fn admission<T>(request: &Request<T>) -> Result<Admission, Status> {
    let admission = request.extensions().get::<Admission>().cloned();
    admission.ok_or_else(|| status(Failure::internal("call reached a service without its key")))
}

/// Whether the caller will see what only full answers have; what it will not see need not be read.
fn sees_all<T>(request: &Request<T>) -> bool {
    request.extensions().get::<SeesAll>().is_none_or(|sees| sees.0)
}
