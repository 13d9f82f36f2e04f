//! Calls the application for one request: adds what the connection knows, and turns a panic into an
//! answer. Not here: the documented error mapping of errors that are no panic.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::peers::Peer;

/// Cancelled when the connection is asked to end, by age or by shutdown; a request extension. A
/// long stream should then end itself with UNAVAILABLE: if the deadline cuts it, clients see a
/// protocol error instead.
#[derive(Debug, Clone)]
pub struct ConnectionDrain(pub CancellationToken);

/// What REST callers get in place of an answer, in the documented shape of errors.
const PANIC_JSON: &str = concat!(
    r#"{"success":false,"message":"Internal error","error":{"code":"INTERNAL","#,
    r#""message":"Internal error","details":[],"request_id":null,"doc_url":null}}"#
);

/// gRPC's INTERNAL, as it stands in `grpc-status`.
const GRPC_INTERNAL: HeaderValue = HeaderValue::from_static("13");

/// Serves one request. Never fails: the application has no error of its own, and its panics are
/// answered here (status 500, or `grpc-status: 13` for gRPC) and logged without the request's data.
pub(super) async fn answer<S, B>(
    app: S,
    mut request: Request<Incoming>,
    peer: Peer,
    drain: ConnectionDrain,
) -> Result<Response<Either<B, Full<Bytes>>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    peer.insert_into(request.extensions_mut());
    request.extensions_mut().insert(drain);
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    // The application is a clone made for this request and is dropped with the panic, so no half
    // changed value of it is seen again.
    let outcome = AssertUnwindSafe(app.oneshot(request)).catch_unwind().await;
    Ok(match outcome {
        Ok(Ok(response)) => response.map(Either::Left),
        Ok(Err(never)) => match never {},
        Err(_) => {
            tracing::error!(?peer, "a request's handler panicked; the caller got INTERNAL");
            panic_answer(content_type).map(Either::Right)
        }
    })
}

/// The answer to a request whose handler panicked; gRPC callers get a trailers-only response.
fn panic_answer(content_type: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let grpc = content_type.filter(|value| value.as_bytes().starts_with(b"application/grpc"));
    let (status, content_type, body) = match &grpc {
        Some(value) => (StatusCode::OK, value.clone(), ""),
        None => (
            StatusCode::INTERNAL_SERVER_ERROR,
            HeaderValue::from_static("application/json"),
            PANIC_JSON,
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if grpc.is_some() {
        response.headers_mut().insert("grpc-status", GRPC_INTERNAL);
        response.headers_mut().insert("grpc-message", HeaderValue::from_static("Internal error"));
    }
    response
}
