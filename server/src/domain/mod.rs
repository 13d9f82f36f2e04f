//! Pure rules of the money: no async, no I/O, no clock. Every other room may name this one; this
//! one names none.

pub mod address;
pub mod address_text;
pub mod amount;
pub mod asset;
pub mod books;
pub mod deposit;
pub mod endpoint;
pub mod event;
pub mod failure;
pub mod invoice;
pub mod ledger;
pub mod metadata;
pub mod payment_request;
pub mod policy;
pub mod price;
pub mod quotes;
pub mod scenario;
pub mod time;
pub mod timeline;
pub mod unexpected;
