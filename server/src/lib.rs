//! The CryptoPayment server as a library: the rooms that `main.rs` starts and the tests drive.
//! `ARCHITECTURE.md` draws the rooms and the arrows between them.
// `println!` panics when a pipe is closed: `cli::output` has what does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod chain;
pub mod cli;
pub mod config;
pub mod domain;
pub mod env;
pub mod failpoint;
pub mod held;
pub mod metrics;
pub mod private_file;
pub mod rates;
pub mod secret_box;
pub mod signals;
pub mod signer;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod usecase;
pub mod webhook;
pub mod worker;
