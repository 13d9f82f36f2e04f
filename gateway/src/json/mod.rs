//! JSON: reading it strictly, and writing it straight from protobuf bytes.
//! Turning JSON into a request's bytes is in `request`, since only requests come that way.

pub(crate) mod decimal;
pub(crate) mod escape;
pub(crate) mod time;
pub(crate) mod token;
mod value;
pub(crate) mod write;
pub(crate) mod writer;

pub use write::WriteError;
pub use writer::{MessageWriter, View};
