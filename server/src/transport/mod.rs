//! The edge: what a caller's bytes meet first, from the accept loop to the services: connections,
//! authentication, conversion, one error mapping. Not here: rules of the money (`domain`,
//! `usecase`), SQL (`store`).

pub mod access;
mod admission;
mod arrival;
pub mod auth;
pub mod calls;
pub mod convert;
pub mod failed_authentications;
pub mod grpc;
mod known_keys;
pub mod listener;
pub mod metrics;
pub mod pages;
pub mod server;
pub mod status;
