//! gRPC services of one port by their names, and the authentication in front of them. A call finds its
//! service by one look-up: gRPC has no paths to match. Not here: what the services do (`grpc`), who may
//! call what (`auth`), REST (the gateway calls these same services).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response};
use tonic::Code;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};
use tracing::{Instrument as _, Span};

use super::arrival::{ARRIVAL_SECONDS_MAX, Arriving};
use super::auth::Authenticator;
use super::status::status;
use crate::domain::failure::{Class, Failure, Reason};
use crate::metrics::CallMeter;

/// What a call is found by in the log; the listener gives one to every request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

type Boxed = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
type Answer = Result<Response<Body>, Infallible>;

/// Services by their full names, for everybody; cheap to clone.
#[derive(Clone, Default)]
pub struct Services {
    by_name: Arc<HashMap<&'static str, Boxed>>,
}

/// Services behind authentication; cheap to clone.
#[derive(Clone)]
pub struct Guarded {
    services: Services,
    auth: Authenticator,
    callers: Callers,
    counted: CallMeter,
    arrival_max: Duration,
}

/// Who is let in.
#[derive(Debug, Clone, Copy)]
pub enum Callers {
    /// Whom the contract says, by API key.
    Public,
    /// The operator, by the socket that only its owner can open.
    Operator,
}

impl Services {
    /// Adds a service.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Arc::make_mut(&mut self.by_name).insert(S::NAME, BoxCloneSyncService::new(service));
        self
    }

    /// The same for those callers alone, with each call counted.
    pub fn guarded(self, callers: Callers, auth: Authenticator, counted: CallMeter) -> Guarded {
        let arrival_max = Duration::from_secs(ARRIVAL_SECONDS_MAX);
        Guarded { services: self, auth, callers, counted, arrival_max }
    }

    /// Calls the service that the path names. Those that tonic generates are always ready.
    pub fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Answer> {
        let name = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        match name.and_then(|(name, _)| self.by_name.get(name)) {
            Some(service) => service.clone().call(request),
            None => Box::pin(std::future::ready(Ok(unknown()))),
        }
    }
}

impl<B> Service<Request<B>> for Guarded
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { services, auth, callers, arrival_max, .. } = self.clone();
        let mut call = self.counted.begin(request.uri().path());
        let request = request.map(|body| Body::new(Arriving::new(Body::new(body), arrival_max)));
        let id = request.headers().get(REQUEST_ID).cloned();
        let span = span(id.as_ref());
        let answering = async move {
            let mut answer = match callers {
                Callers::Public => auth.public(request, &services).await,
                Callers::Operator => auth.operator(request, &services).await,
            }?;
            call.answered(code(&answer).into());
            if let Some(id) = id {
                answer.headers_mut().insert(REQUEST_ID, id);
            }
            Ok(answer)
        };
        Box::pin(answering.instrument(span))
    }
}

/// What a call logs has its request id: within this, if it does not come from the gateway, which has the
/// like for what it calls.
fn span(id: Option<&HeaderValue>) -> Span {
    if !Span::current().is_none() {
        return Span::none();
    }
    tracing::error_span!("call", request_id = id.and_then(|id| id.to_str().ok()))
}

/// How a call was answered. Failures are told in the headers; what has a body has begun well.
fn code(answer: &Response<Body>) -> Code {
    let told = answer.headers().get("grpc-status");
    told.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// The answer to a method of no service here, with the contract's error details.
fn unknown() -> Response<Body> {
    let text = "there is no such method";
    status(Failure::new(Class::Unimplemented, Reason::NotImplemented, text)).into_http()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use tower::ServiceExt as _;

    use super::super::access::AccessRules;
    use super::*;
    use crate::env::Env;
    use crate::store::Db;

    const HEALTH: &str = "/grpc.health.v1.Health/Check";
    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

    /// A body of these bytes, and then silence.
    fn unfinished(bytes: &'static [u8]) -> Body {
        let sent = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(bytes)))]);
        Body::new(StreamBody::new(sent.chain(stream::pending())))
    }

    #[tokio::test]
    async fn a_request_that_does_not_arrive_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("ledger.sqlite").display());
        let db = Db::open(&url, 1).await.unwrap();
        let rules = AccessRules::read(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
        let auth = Authenticator::new(db, Env::system(), rules, true, 60);
        let counted = CallMeter::new(Env::system(), std::iter::empty());
        let (_, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure().build_v1().unwrap();
        let mut guarded = Services::default().with(health).with(reflection).guarded(
            Callers::Public,
            auth,
            counted,
        );
        guarded.arrival_max = Duration::from_millis(50);
        let call = async |path: &str, body: Body| {
            let request = Request::builder().uri(path).body(body).unwrap();
            guarded.clone().oneshot(request).await.unwrap()
        };
        // Nothing, a part of a frame's head, a part of a message, a message without an end.
        for part in [&[][..], &[0, 0], &[0, 0, 0, 0, 9, 1], &[0; 5]] {
            let answer = call(HEALTH, unfinished(part)).await;
            assert_eq!(code(&answer), Code::DeadlineExceeded, "{part:?}");
            // Reflection ends without a word.
            call(REFLECTION, unfinished(part)).await.into_body().collect().await.unwrap();
        }
        let whole = call(HEALTH, Body::new(http_body_util::Full::from(&[0; 5][..]))).await;
        assert_eq!(code(&whole), Code::Ok);
    }
}
