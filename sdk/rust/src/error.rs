//! Why a call failed, with the details that the server sends along (AIP-193).

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Its name.
    pub field: String,
    /// Why, as one of the contract's reasons.
    pub reason: String,
    /// Why, in a sentence.
    pub description: String,
}

/// A failed call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The server answered with an error.
    #[error("{code:?} {}: {message}", reason.as_deref().unwrap_or("-"))]
    Api {
        /// The gRPC code.
        code: Code,
        /// The contract's reason, e.g. `UNKNOWN_NETWORK`.
        reason: Option<String>,
        /// A sentence for a developer.
        message: String,
        /// The fields at fault.
        violations: Vec<FieldViolation>,
        /// When to try again, if the server says so.
        retry_after: Option<Duration>,
    },
    /// The client was not set up right.
    #[error("{0}")]
    Setup(String),
}

impl Error {
    /// The contract's reason, e.g. `UNKNOWN_NETWORK`.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Api { reason, .. } => reason.as_deref(),
            Self::Setup(_) => None,
        }
    }

    /// The gRPC code.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Api { code, .. } => Some(*code),
            Self::Setup(_) => None,
        }
    }

    /// Whether calling again may help by itself: UNAVAILABLE alone (AIP-194).
    pub fn is_transient(&self) -> bool {
        self.code() == Some(Code::Unavailable)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| {
            let read = |violation: &tonic_types::FieldViolation| FieldViolation {
                field: violation.field.clone(),
                reason: violation.reason.clone(),
                description: violation.description.clone(),
            };
            bad.field_violations.iter().map(read).collect()
        });
        Self::Api {
            code: status.code(),
            reason: details.error_info().map(|info| info.reason.clone()),
            message: status.message().to_owned(),
            violations: violations.unwrap_or_default(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}
