//! The HTTP service: routes a request, has it read, calls the gRPC service behind, has the answer
//! written. Every path out of here is a complete HTTP answer; nothing is left hanging.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tower::Service;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::compile::{Compiled, Gateway, Route};
use crate::failure::{Failure, Frame, allow};
use crate::request::{self, Brought, Query};
use crate::router::{Found, PathSegments};
use crate::stream::MessageStream;
use crate::wait::{self, Known, Waiting};
use crate::{ResponseBody, View, grpc, reason};

/// Longest `x-request-id` that is taken from a caller, in characters.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Metadata of most calls: five of the gateway's own, and the caller's key.
const METADATA_MAX: usize = 6;

/// Headers of most answers: their type and identity, and three that every answer has.
const ANSWER_HEADERS_MAX: usize = 6;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Towards the upstream: `basic` or `full` as the caller chose, else `default`. Back: `full` if the
/// upstream wants the full view for a caller who did not choose.
const GATEWAY_VIEW: HeaderName = HeaderName::from_static("x-gateway-view");

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A gateway in front of one gRPC service; clone it per connection.
#[derive(Clone)]
pub struct GatewayService<S> {
    gateway: Arc<Compiled>,
    inner: S,
}

impl<S> std::fmt::Debug for GatewayService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayService").finish_non_exhaustive()
    }
}

impl Gateway {
    /// The HTTP service that answers REST requests by calling `inner`: tonic's `Routes` in this
    /// process, or a `Channel`. It answers every path; unknown ones with 404 in the error shape.
    #[must_use]
    pub fn into_service<S>(self, inner: S) -> GatewayService<S> {
        GatewayService { gateway: self.inner, inner }
    }
}

impl<S, B> Service<Request<B>> for GatewayService<S>
where
    S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    /// Always ready: each call takes its own clone of the inner service and waits for that one.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (gateway, inner) = (Arc::clone(&self.gateway), self.inner.clone());
        async move { Ok(gateway.answer(request, inner).await) }.boxed()
    }
}

/// A request that found its route.
struct Incoming<'r> {
    route: &'r Route,
    path: PathSegments<'r>,
    parts: &'r http::request::Parts,
    request_id: &'r HeaderValue,
}

/// A call of the upstream, for any of its methods that take this message.
#[derive(Clone)]
pub(crate) struct Call {
    headers: HeaderMap,
    extensions: http::Extensions,
    frame: Bytes,
}

/// What the upstream said when it did not fail.
pub(crate) struct Reply {
    pub headers: HeaderMap,
    pub message: Bytes,
}

/// A successful answer: its body and headers.
pub(crate) struct Answer {
    pub text: Vec<u8>,
    pub headers: HeaderMap,
}

impl Call {
    /// The request to one method.
    pub(crate) fn to(self, path: &PathAndQuery) -> Request<tonic::body::Body> {
        let mut call = Request::new(tonic::body::Body::new(Full::new(self.frame)));
        *call.method_mut() = Method::POST;
        *call.version_mut() = http::Version::HTTP_2;
        *call.uri_mut() = http::Uri::from(path.clone());
        *call.headers_mut() = self.headers;
        *call.extensions_mut() = self.extensions;
        call
    }
}

impl Compiled {
    async fn answer<S, B>(&self, request: Request<B>, inner: S) -> Response<ResponseBody>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>
            + Clone
            + Send,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let request_id = request_id(&parts.headers);
        let id_text = request_id.to_str().unwrap_or_default();
        let with_body = parts.method != Method::HEAD;
        let extensions = std::mem::take(&mut parts.extensions);
        let mut success_key = self.settings.default_success_key.as_deref();
        let result = match self.find(&parts.method, parts.uri.path()) {
            Err(failure) if failure.status == StatusCode::NOT_FOUND && is_grpc(&parts.headers) => {
                Err(Failure::grpc_elsewhere())
            }
            Err(failure) => Err(failure),
            Ok(Target::Options(response)) => Ok(response),
            Ok(Target::Route(route, path)) => {
                success_key = route.success_key.as_deref();
                let incoming = Incoming { route, path, parts: &parts, request_id: &request_id };
                // Whatever is logged on the way tells the id; also by the upstream, if it lives in here.
                let span = tracing::error_span!("request", request_id = id_text);
                self.serve(incoming, extensions, body, inner).instrument(span).await
            }
        };
        let frame =
            Frame { success_key, request_id: id_text, doc_url_base: &self.settings.doc_url_base };
        let mut response = match result {
            Ok(response) => response,
            Err(failure) => {
                tracing::debug!(
                    request_id = id_text,
                    status = failure.status.as_u16(),
                    code = failure.code.as_ref(),
                    "refused"
                );
                failure.response(&frame, with_body)
            }
        };
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, request_id);
        // An answer is one caller's, at one moment, and JSON whatever a browser makes of its bytes.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    fn find<'r>(&'r self, method: &Method, path: &'r str) -> Result<Target<'r>, Failure> {
        let mut found = self.router.find(method, path);
        if let (Found::OtherMethods(_), &Method::HEAD) = (&found, method) {
            found = self.router.find(&Method::GET, path);
        }
        match found {
            Found::Route { route, path } => Ok(Target::Route(&self.routes[route], path)),
            Found::Nothing => Err(Failure::route_not_found()),
            Found::OtherMethods(methods) if *method == Method::OPTIONS => {
                let mut response = Response::new(ResponseBody::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                if let Ok(value) = allow(&methods).parse() {
                    response.headers_mut().insert(header::ALLOW, value);
                }
                Ok(Target::Options(response))
            }
            Found::OtherMethods(methods) => Err(Failure::method_not_allowed(&methods)),
        }
    }

    async fn serve<S, B>(
        &self,
        incoming: Incoming<'_>,
        extensions: http::Extensions,
        body: B,
        inner: S,
    ) -> Result<Response<ResponseBody>, Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>
            + Clone
            + Send,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Incoming { route, path, parts, request_id } = incoming;
        if route.streams {
            let message = "this method streams and is served over gRPC only";
            let status = StatusCode::NOT_IMPLEMENTED;
            return Err(Failure::new(status, reason::STREAM_OVER_REST, message));
        }
        let query = Query::parse(parts.uri.query(), &self.settings)?;
        let view = match &route.request.view_parameter {
            Some(name) => query.view(name)?,
            None => None,
        };
        let time = match &route.wait {
            Some(rule) => query.seconds(&rule.parameter, rule.seconds_max)?.filter(|n| *n > 0),
            None => None,
        };
        let body = self.body(&parts.headers, body).await?;
        let message = {
            let headers = &parts.headers;
            let brought = Brought { path: &path, query: &query, headers, body: &body };
            request::read(&route.request, &self.shapes, &self.settings, &brought)?
        };
        let headers = self.metadata(&parts.headers, request_id, view);
        let call = Call { headers, extensions, frame: grpc::frame(&message) };
        let request_id = request_id.to_str().unwrap_or_default();
        let answer = match (&route.wait, time) {
            (Some(rule), Some(seconds)) => {
                let time = Duration::from_secs(u64::from(seconds));
                let known = Known::read(&parts.headers);
                let waiting = Waiting { route, rule, call, view, known, time, request_id };
                // Boxed: what waits is rare and large, and every call would carry its size.
                Box::pin(self.wait(waiting, inner)).await?
            }
            _ => {
                let reply = self.call(call.to(&route.grpc_path), inner).await?;
                self.written(route, view, &reply, request_id)?
            }
        };
        Ok(self.success(answer, parts.method != Method::HEAD))
    }

    /// A reply as the caller shall see it.
    pub(crate) fn written(
        &self,
        route: &Route,
        view: Option<View>,
        reply: &Reply,
        request_id: &str,
    ) -> Result<Answer, Failure> {
        let asked = reply.headers.get(GATEWAY_VIEW).is_some_and(|value| value == "full");
        let plan = match view {
            Some(View::Full) => &route.full,
            None if asked => &route.full,
            _ => &route.basic,
        };
        let text =
            plan.write(&reply.message, self.settings.response_bytes_max).map_err(|error| {
                let path = route.grpc_path.as_str();
                tracing::error!(request_id, path, %error, "an answer could not be written as JSON");
                Failure::internal()
            })?;
        let mut headers = HeaderMap::with_capacity(ANSWER_HEADERS_MAX);
        for name in &self.settings.return_headers {
            for value in reply.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if route.wait.is_some() {
            headers.insert(header::ETAG, wait::entity_tag(&text));
        }
        Ok(Answer { text, headers })
    }

    fn success(&self, answer: Answer, with_body: bool) -> Response<ResponseBody> {
        let Answer { text, mut headers } = answer;
        if !with_body {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        }
        let content = if with_body { Bytes::from(text) } else { Bytes::new() };
        let mut response = Response::new(ResponseBody::new(content));
        *response.headers_mut() = headers;
        response
    }

    /// The whole request body, within its limits and of the right type.
    async fn body<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, Failure>
    where
        B: Body + Send,
        B::Error: Into<BoxError>,
    {
        let max = self.settings.body_bytes_max;
        let too_large = || {
            let message = format!("the body is longer than {max} bytes");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, reason::BODY_TOO_LARGE, message)
        };
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        if body.size_hint().lower() > max as u64 {
            return Err(too_large());
        }
        let reading = Limited::new(body, max).collect();
        let body = match tokio::time::timeout(self.settings.body_seconds_max, reading).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(_)) => {
                let message = "the body broke off";
                return Err(Failure::bad_request(reason::MALFORMED_JSON, "", message));
            }
            Err(_) => {
                let message = "the body did not arrive in time";
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(Failure::new(status, reason::BODY_TIMEOUT, message));
            }
        };
        if !body.is_empty() && !is_json(headers) {
            let message = "a body must have `Content-Type: application/json`, in UTF-8, uncoded";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Failure::new(status, reason::UNSUPPORTED_MEDIA_TYPE, message));
        }
        Ok(body)
    }

    fn metadata(
        &self,
        headers: &HeaderMap,
        request_id: &HeaderValue,
        view: Option<View>,
    ) -> HeaderMap {
        let mut metadata = HeaderMap::with_capacity(METADATA_MAX);
        for name in &self.settings.forward_headers {
            for value in headers.get_all(name) {
                metadata.append(name.clone(), value.clone());
            }
        }
        metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        metadata.insert(header::TE, HeaderValue::from_static("trailers"));
        metadata.insert(REQUEST_ID, request_id.clone());
        let view = match view {
            Some(View::Basic) => "basic",
            Some(View::Full) => "full",
            None => "default",
        };
        metadata.insert(GATEWAY_VIEW, HeaderValue::from_static(view));
        if let Some(timeout) = &self.grpc_timeout {
            metadata.insert(GRPC_TIMEOUT, timeout.clone());
        }
        metadata
    }

    /// Calls the upstream. A panic in it, if it lives in this process, fails only this request.
    async fn call<S>(&self, call: Request<tonic::body::Body>, inner: S) -> Result<Reply, Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>> + Send,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let guarded = AssertUnwindSafe(self.exchange(call, inner)).catch_unwind();
        let outcome = match self.settings.upstream_timeout {
            None => guarded.await,
            Some(limit) => {
                tokio::time::timeout(limit, guarded).await.map_err(|_| Failure::deadline())?
            }
        };
        outcome.unwrap_or_else(|_| {
            tracing::error!("the upstream panicked");
            Err(Failure::internal())
        })
    }

    async fn exchange<S>(
        &self,
        call: Request<tonic::body::Body>,
        inner: S,
    ) -> Result<Reply, Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>,
        S::Error: Into<BoxError>,
    {
        let mut answer = self.open(call, inner).await?;
        let message = answer.only(&self.settings).await?;
        Ok(Reply { headers: answer.headers, message })
    }

    /// Calls a streaming method. How long it goes on is the business of who reads it.
    pub(crate) async fn stream<S>(
        &self,
        mut call: Request<tonic::body::Body>,
        inner: S,
    ) -> Result<MessageStream, Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>,
        S::Error: Into<BoxError>,
    {
        call.headers_mut().remove(GRPC_TIMEOUT);
        self.open(call, inner).await
    }

    /// Calls the upstream until it answers with headers that tell of no failure.
    async fn open<S>(
        &self,
        call: Request<tonic::body::Body>,
        mut inner: S,
    ) -> Result<MessageStream, Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>,
        S::Error: Into<BoxError>,
    {
        let unreachable = |error: S::Error| {
            tracing::warn!(error = error.into(), "the upstream cannot be reached");
            Failure::no_upstream()
        };
        poll_fn(|cx| inner.poll_ready(cx)).await.map_err(unreachable)?;
        let response = inner.call(call).await.map_err(unreachable)?;
        let (parts, body) = response.into_parts();
        if let Some(code) = grpc::code(&parts.headers).filter(|code| *code != 0) {
            return Err(grpc::failure(code, &parts.headers, &self.settings));
        }
        let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if parts.status != StatusCode::OK
            || !kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
        {
            tracing::error!(status = parts.status.as_u16(), "the upstream did not answer in gRPC");
            return Err(Failure::bad_upstream());
        }
        Ok(MessageStream::new(parts.headers, body))
    }
}

/// What a method and path lead to.
enum Target<'g> {
    Route(&'g Route, PathSegments<'g>),
    Options(Response<ResponseBody>),
}

/// The caller's own identity of the request if it is 1 to 128 visible ASCII characters.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let brought = headers.get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_CHARS_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    brought.cloned().unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// Whether a request means to call gRPC.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// `application/json`, with no parameter but `charset=utf-8`, and without content coding.
fn is_json(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter().map(text);
    let uncoded = codings.all(|coding| coding.eq_ignore_ascii_case("identity"));
    let Some(kind) = headers.get(header::CONTENT_TYPE).map(text) else { return false };
    let mut parts = kind.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.filter(|part| !part.is_empty()).all(|part| {
        let charset = part.split_once('=');
        charset.is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    uncoded && json && utf8 && headers.get_all(header::CONTENT_TYPE).iter().count() == 1
}
