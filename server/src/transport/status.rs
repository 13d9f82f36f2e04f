//! The one mapping from a failure to a gRPC status with its details (AIP-193): ErrorInfo always,
//! BadRequest where fields are at fault, RetryInfo where waiting helps. The server's own faults are logged
//! and not told.

use cryptopayment_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::domain::failure::{Class, Failure};
use crate::store::StoreError;

/// What a caller is told of the server's own faults.
const INTERNAL_TEXT: &str = "the server failed; the request id finds the cause in its logs";

/// The status of a failure.
pub fn status(failure: Failure) -> Status {
    let code = match failure.class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::NotFound => Code::NotFound,
        Class::FailedPrecondition => Code::FailedPrecondition,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::OutOfRange => Code::OutOfRange,
        Class::ResourceExhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::Unimplemented => Code::Unimplemented,
        Class::Internal => Code::Internal,
    };
    let message = if failure.class == Class::Internal {
        tracing::error!(error = failure.message, "call failed");
        INTERNAL_TEXT.to_owned()
    } else {
        failure.message
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(failure.reason.as_str(), ERROR_DOMAIN, [] as [(String, String); 0]);
    if let Some(time) = failure.retry_after {
        details.set_retry_info(Some(time));
    }
    if !failure.violations.is_empty() {
        let violations = failure.violations.into_iter().map(|violation| FieldViolation {
            field: violation.field,
            description: violation.description,
            reason: violation.reason.as_str().to_owned(),
            ..Default::default()
        });
        details.set_bad_request(violations.collect::<Vec<_>>());
    }
    Status::with_error_details(code, message, details)
}

/// The status of a database error met by a read.
pub fn store_status(error: StoreError) -> Status {
    status(error.into())
}
