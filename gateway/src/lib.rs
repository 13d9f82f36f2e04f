//! REST/JSON in front of any annotated gRPC service, driven only by `google.api.http` and
//! `gateway.options.v1`, which are read by name from an encoded `FileDescriptorSet`.
//! There is no handler per endpoint, and nothing here knows what a service is about.
//!
//! [`Gateway::new`] compiles routes and message shapes; [`Gateway::into_service`] puts them in
//! front of any gRPC service: tonic's `Routes` in the same process, or a `Channel` to another one.
//! [`MessageWriter`] writes one message type as JSON on its own.

mod call;
mod compile;
mod failure;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod grpc;
pub mod json;
mod options;
mod percent;
pub mod reason;
mod request;
mod router;
mod settings;
mod shape;
mod stream;
mod template;
mod wait;
mod wire;

pub use call::GatewayService;
pub use compile::Gateway;
pub use json::{MessageWriter, View, WriteError};
pub use settings::{JSON_DEPTH_CEILING, ServiceFilter, Settings, UnknownFields};

/// The body of every answer: complete, in memory.
pub type ResponseBody = http_body_util::Full<bytes::Bytes>;

/// Why a gateway or writer could not be made from a descriptor set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The bytes are no complete `FileDescriptorSet`.
    #[error("the descriptor set cannot be read: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// An option does not fit what it stands on.
    #[error("{name}: {what}")]
    Option {
        /// Full name of the field, enum or method.
        name: String,
        /// What does not fit.
        what: String,
    },
    /// Something this gateway has no JSON form for.
    #[error("{name}: {what} has no JSON form here")]
    Unsupported {
        /// Full name of the field or message.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// A path template that cannot be read.
    #[error("{name}: path `{path}`: {what}")]
    Template {
        /// Full name of the method.
        name: String,
        /// The template.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Two bindings with the same HTTP method and path.
    #[error("{name}: {method} {path} is bound already")]
    RouteConflict {
        /// Full name of the second method.
        name: String,
        /// The HTTP method.
        method: String,
        /// The template.
        path: String,
    },
    /// No message of this name is in the descriptor set.
    #[error("the descriptor set has no message `{0}`")]
    UnknownMessage(String),
    /// No served method has an HTTP rule.
    #[error("no served method has an HTTP rule")]
    NoRoutes,
    /// A setting out of its range.
    #[error("setting {0}")]
    Setting(&'static str),
}

impl BuildError {
    fn option(name: &str, what: impl Into<String>) -> Self {
        Self::Option { name: name.to_owned(), what: what.into() }
    }
}
