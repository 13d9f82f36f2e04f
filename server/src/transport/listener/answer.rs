//! Calls the application for one request: adds what the connection knows and the request's id, and turns a
//! panic into an answer. Not here: the documented error mapping of errors that are no panic.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::peers::Peer;
use crate::env::Env;

/// Cancelled when the connection is asked to end, by age or by shutdown; a request extension. A
/// long stream should then end itself with UNAVAILABLE: if the deadline cuts it, clients see a
/// protocol error instead.
#[derive(Debug, Clone)]
pub struct ConnectionDrain(pub CancellationToken);

/// Longest `x-request-id` that is taken from a caller, bytes; the gateway's own limit.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// What a caller is told of a panic.
const PANIC_TEXT: &str = "internal error";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// gRPC's INTERNAL, as it stands in `grpc-status`.
const GRPC_INTERNAL: HeaderValue = HeaderValue::from_static("13");

/// What every request of a port is given: an id, by which it is found in the log, in the header
/// `x-request-id`. The application answers with it as it likes; here only a panic's answer has it.
#[derive(Debug, Clone)]
pub struct Requests {
    /// Makes the ids of those that bring none.
    pub env: Env,
    /// Where the error INTERNAL is explained.
    pub internal_url: String,
}

impl Requests {
    /// The id that a request brings, if it is visible ASCII and not too long, or else a new one.
    fn identify(&self, headers: &mut HeaderMap) -> HeaderValue {
        let brought = headers.get(REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
                && bytes.iter().all(u8::is_ascii_graphic)
        });
        let id = brought.cloned().unwrap_or_else(|| {
            let text = self.env.new_id().to_string();
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("-"))
        });
        headers.insert(REQUEST_ID, id.clone());
        id
    }
}

/// Serves one request. Never fails: the application has no error of its own, and its panics are
/// answered here (status 500, or `grpc-status: 13` for gRPC) and logged without the request's data.
pub(super) async fn answer<S, B>(
    app: S,
    mut request: Request<Incoming>,
    peer: Peer,
    drain: ConnectionDrain,
    requests: Option<Arc<Requests>>,
) -> Result<Response<Either<B, Full<Bytes>>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    peer.insert_into(request.extensions_mut());
    request.extensions_mut().insert(drain);
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let id = requests.as_ref().map(|requests| requests.identify(request.headers_mut()));
    // The application is a clone made for this request and is dropped with the panic, so no half
    // changed value of it is seen again.
    let outcome = AssertUnwindSafe(app.oneshot(request)).catch_unwind().await;
    Ok(match outcome {
        Ok(Ok(response)) => response.map(Either::Left),
        Ok(Err(never)) => match never {},
        Err(_) => {
            let request_id = id.as_ref().and_then(|id| id.to_str().ok());
            tracing::error!(
                request_id,
                ?peer,
                "a request's handler panicked; the caller got INTERNAL"
            );
            let internal_url = requests.as_ref().map(|requests| requests.internal_url.as_str());
            let mut response = panic_answer(content_type, request_id, internal_url);
            if let Some(id) = id.clone() {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            response.map(Either::Right)
        }
    })
}

/// The answer to a request whose handler panicked; gRPC callers get a trailers-only response.
fn panic_answer(
    content_type: Option<HeaderValue>,
    request_id: Option<&str>,
    internal_url: Option<&str>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let grpc = content_type.filter(|value| value.as_bytes().starts_with(b"application/grpc"));
    if let Some(content_type) = grpc {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response.headers_mut().insert("grpc-status", GRPC_INTERNAL);
        response.headers_mut().insert("grpc-message", HeaderValue::from_static(PANIC_TEXT));
        return response;
    }
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    *response.body_mut() = Full::from(panic_json(request_id, internal_url));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What REST callers get in place of an answer, in the documented shape of errors.
fn panic_json(request_id: Option<&str>, internal_url: Option<&str>) -> String {
    let text = |text: Option<&str>| serde_json::Value::from(text);
    let (message, id, url) = (text(Some(PANIC_TEXT)), text(request_id), text(internal_url));
    format!(
        "{{\"success\":false,\"message\":{message},\"error\":{{\"code\":\"INTERNAL\",\
         \"message\":{message},\"details\":[],\"request_id\":{id},\"doc_url\":{url}}}}}"
    )
}
