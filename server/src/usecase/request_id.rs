//! The caller's own name for a request, by which a repeat is known: its bounds. Not here: the keys
//! that were used (`store::idempotency`).

use uuid::Uuid;

use crate::domain::failure::{Class, Failure, Reason};

/// Characters of a request id.
const CHARS_MAX: usize = 255;
/// Request ids that the gateway made up, this and a UUID, count as none.
const MADE_UP_PREFIX: &str = "auto-";

/// The request id, if the caller gave one of its own.
///
/// # Errors
/// When it is too long or holds U+0000.
pub fn read(text: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.contains('\0') {
        return Err(Failure::field("request_id", Reason::InvalidField, "holds U+0000"));
    }
    if text.chars().count() > CHARS_MAX {
        let hint = format!("is longer than {CHARS_MAX} characters");
        return Err(Failure::field("request_id", Reason::InvalidField, hint));
    }
    let made_up = text.strip_prefix(MADE_UP_PREFIX).is_some_and(|id| Uuid::try_parse(id).is_ok());
    Ok((!made_up).then(|| text.to_owned()))
}

/// The request id stands for another request.
pub fn conflict() -> Failure {
    let text = "request_id was used with other parameters";
    Failure::new(Class::AlreadyExists, Reason::IdempotencyConflict, text)
}
