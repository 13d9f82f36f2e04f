//! The Rust client of CryptoPayment: typed calls over gRPC with deadlines, retries of what is safe,
//! and streams that resume by themselves.
//!
//! ```no_run
//! use cryptopayment_sdk::{Client, CreateInvoice};
//!
//! # async fn run() -> Result<(), cryptopayment_sdk::Error> {
//! let client = Client::from_env()?;
//! let created = client.create_invoice(CreateInvoice::new("ltc", "50.00").order_id("A-1")).await?;
//! println!("send your customer to {}", created.checkout_url);
//! # Ok(())
//! # }
//! ```

mod client;
mod error;
mod retry;
mod sandbox;
mod streams;
pub mod webhook;
mod webhooks;

pub use client::{Builder, Client, CreateInvoice, Credentials};
pub use cryptopayment_proto::sandbox::v1 as sandbox_v1;
pub use cryptopayment_proto::v1;
pub use error::{Error, FieldViolation};
pub use sandbox::Sandbox;
pub use streams::From;
