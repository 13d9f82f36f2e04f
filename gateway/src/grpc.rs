//! gRPC over HTTP/2 as far as a caller with one message needs it: the frame around a message, and the
//! status at the end with its details. Source: grpc.io PROTOCOL-HTTP2, google/rpc/{status,error_details}.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use prost::Message as _;

use crate::failure::{Detail, Failure};
use crate::settings::Settings;

/// Flag and length in front of each message.
const PREFIX_BYTES: usize = 5;
/// Most field violations passed on.
const DETAILS_MAX: usize = 100;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// google.rpc.Status.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// google.rpc.ErrorInfo.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// google.rpc.BadRequest.
#[derive(Clone, PartialEq, prost::Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

/// google.rpc.BadRequest.FieldViolation.
#[derive(Clone, PartialEq, prost::Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    reason: String,
}

/// google.rpc.RetryInfo.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// google.rpc.Help.
#[derive(Clone, PartialEq, prost::Message)]
struct Help {
    #[prost(message, repeated, tag = "1")]
    links: Vec<Link>,
}

/// google.rpc.Help.Link.
#[derive(Clone, PartialEq, prost::Message)]
struct Link {
    #[prost(string, tag = "2")]
    url: String,
}

/// One message in its frame, uncompressed.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    out.put_u8(0);
    // Requests are bounded by `body_bytes_max`, far below 4 GiB.
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

/// The one message of a unary answer; `None` if the bytes are anything else.
pub(crate) fn unframe(body: &Bytes) -> Option<Bytes> {
    let prefix = body.get(..PREFIX_BYTES)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    let message = body.slice(PREFIX_BYTES..);
    (prefix[0] == 0 && usize::try_from(length).is_ok_and(|n| n == message.len())).then_some(message)
}

/// Takes the first message off a buffer once it is there whole; refuses compressed and longer ones.
pub(crate) fn take_frame(
    buffer: &mut BytesMut,
    message_bytes_max: usize,
) -> Result<Option<Bytes>, &'static str> {
    let Some(prefix) = buffer.get(..PREFIX_BYTES) else { return Ok(None) };
    if prefix[0] != 0 {
        return Err("a message is compressed");
    }
    let length = prefix[1..].try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > message_bytes_max {
        return Err("a message is too long");
    }
    if buffer.len() - PREFIX_BYTES < length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(PREFIX_BYTES + length);
    Ok(Some(frame.split_off(PREFIX_BYTES).freeze()))
}

/// The `grpc-status` of headers or trailers; unreadable ones are UNKNOWN (2).
pub(crate) fn code(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get("grpc-status")?.to_str().ok();
    Some(text.and_then(|text| text.parse().ok()).filter(|code| *code <= 16).unwrap_or(2))
}

/// The name of a gRPC code, and the HTTP status grpc-gateway maps it to.
pub(crate) fn mapped(code: u32) -> (&'static str, StatusCode) {
    let (name, status) = match code {
        0 => ("OK", 200),
        1 => ("CANCELLED", 499),
        3 => ("INVALID_ARGUMENT", 400),
        4 => ("DEADLINE_EXCEEDED", 504),
        5 => ("NOT_FOUND", 404),
        6 => ("ALREADY_EXISTS", 409),
        7 => ("PERMISSION_DENIED", 403),
        8 => ("RESOURCE_EXHAUSTED", 429),
        9 => ("FAILED_PRECONDITION", 400),
        10 => ("ABORTED", 409),
        11 => ("OUT_OF_RANGE", 400),
        12 => ("UNIMPLEMENTED", 501),
        13 => ("INTERNAL", 500),
        14 => ("UNAVAILABLE", 503),
        15 => ("DATA_LOSS", 500),
        16 => ("UNAUTHENTICATED", 401),
        _ => ("UNKNOWN", 500),
    };
    (name, StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

/// The failure that headers or trailers with a status other than OK tell of.
pub(crate) fn failure(code: u32, headers: &HeaderMap, settings: &Settings) -> Failure {
    let (name, status) = mapped(code);
    let message = headers.get("grpc-message").map(|raw| percent_decode(raw.as_bytes()));
    let details = headers
        .get("grpc-status-details-bin")
        .and_then(|raw| BASE64.decode(raw.as_bytes()).ok())
        .and_then(|raw| RpcStatus::decode(raw.as_slice()).ok())
        .unwrap_or_default()
        .details;
    let mut failure = Failure::new(status, name, message.unwrap_or_default());
    if failure.message.is_empty() {
        failure.message = name.to_ascii_lowercase().replace('_', " ");
    }
    let mut retry = None;
    for any in &details {
        retry = apply(&mut failure, any, settings).or(retry);
    }
    failure.retry_after_seconds = match code {
        8 => Some(retry.unwrap_or(1).max(1)),
        14 => retry,
        _ => None,
    };
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(code = name, cause = failure.message, "the upstream failed");
        failure.message = Failure::internal().message;
        failure.details.clear();
        failure.doc_url = None;
    }
    failure
}

/// Takes over one detail; the result is the seconds to wait, if it names them.
fn apply(failure: &mut Failure, any: &prost_types::Any, settings: &Settings) -> Option<u32> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let bytes = any.value.as_slice();
    match name {
        "google.rpc.ErrorInfo" => {
            let info = ErrorInfo::decode(bytes).ok()?;
            let ours = settings.error_domain.as_ref().is_none_or(|domain| *domain == info.domain);
            if ours && is_reason(&info.reason) {
                failure.code = info.reason.into();
            }
        }
        "google.rpc.BadRequest" => {
            let violations = BadRequest::decode(bytes).ok()?.field_violations;
            failure.details.extend(violations.into_iter().take(DETAILS_MAX).map(|violation| {
                let FieldViolation { field, description, reason } = violation;
                Detail { field, reason, description }
            }));
        }
        "google.rpc.RetryInfo" => {
            let delay = RetryInfo::decode(bytes).ok()?.retry_delay?;
            let whole = u32::try_from(delay.seconds.max(0)).unwrap_or(u32::MAX);
            return Some(whole.saturating_add(u32::from(delay.nanos > 0)));
        }
        "google.rpc.Help" => {
            let link = Help::decode(bytes).ok()?.links.into_iter().next()?;
            failure.doc_url = (!link.url.is_empty()).then(|| link.url.into());
        }
        _ => {}
    }
    None
}

/// `UPPER_SNAKE_CASE`, at most 63 characters, as google.rpc.ErrorInfo asks.
fn is_reason(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(fits)
}

/// Decodes `grpc-message`; what is not valid stays as it is.
fn percent_decode(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let decoded = crate::percent::decode(&text, crate::percent::Mode::Segment);
    decoded.map_or_else(|| text.clone().into_owned(), |decoded| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_holds_what_was_put_in(message in prop::collection::vec(any::<u8>(), 0..50)) {
            let unframed = unframe(&frame(&message));
            prop_assert_eq!(unframed.as_deref(), Some(message.as_slice()));
        }

        #[test]
        fn frames_are_taken_off_whole_however_they_arrive(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5),
            at_once in 1..9_usize,
        ) {
            let sent: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
            let (mut buffer, mut taken) = (BytesMut::new(), Vec::new());
            for part in sent.chunks(at_once) {
                buffer.extend_from_slice(part);
                while let Ok(Some(message)) = take_frame(&mut buffer, 19) {
                    taken.push(message.to_vec());
                }
            }
            prop_assert_eq!(taken, messages);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn unframing_never_panics(body in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = unframe(&Bytes::from(body));
        }
    }

    #[test]
    fn two_messages_or_compressed_ones_are_refused() {
        assert_eq!(unframe(&Bytes::from_static(&[1, 0, 0, 0, 1, 7])), None);
        assert_eq!(unframe(&Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0])), None);
    }

    #[test]
    fn a_long_or_compressed_frame_is_refused_before_it_is_there() {
        let take = |bytes: &[u8]| take_frame(&mut BytesMut::from(bytes), 4);
        assert_eq!(take(&[0, 0, 0, 0, 4]), Ok(None));
        assert!(take(&[0, 0, 0, 0, 5]).is_err() && take(&[1, 0, 0, 0, 1]).is_err());
    }

    #[test]
    fn broken_details_do_no_harm() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-message", http::HeaderValue::from_static("50%25 off%"));
        headers.insert("grpc-status-details-bin", http::HeaderValue::from_static("!!"));
        let failure = failure(3, &headers, &Settings::default());
        assert_eq!((failure.code.as_ref(), failure.status.as_u16()), ("INVALID_ARGUMENT", 400));
        assert_eq!(failure.message, "50%25 off%");
    }
}
