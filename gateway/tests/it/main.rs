//! The gateway in front of a real tonic server of another domain: a library that lends books.
//! One file per question; `library` is the server, `support` sends requests and reads answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_arithmetic,
    missing_docs
)]

mod answers;
mod contract;
mod contracts;
mod failures;
mod library;
mod loans;
mod process;
mod refusals;
mod requests;
mod support;
mod waits;
mod writer;
