//! Answers that wait: a GET with its wait parameter is answered as soon as its body would differ from
//! what the caller knows. The method's watching twin tells of changes; an answer's identity is a hash
//! of its bytes. Not here: the twin's frames (`stream`), how answers are written (`json`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response};
use prost_reflect::{MessageDescriptor, MethodDescriptor};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tower::Service;

use crate::call::{Answer, BoxError, Call, Reply};
use crate::compile::{Compiled, Route};
use crate::failure::Failure;
use crate::options::{Binding, Options, ServiceOptions};
use crate::stream::MessageStream;
use crate::{BuildError, View};

/// Bytes of a body's hash that are its identity.
const TAG_BYTES: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// How a method waits.
#[derive(Debug, Clone)]
pub(crate) struct WaitRule {
    /// The query parameter.
    pub parameter: String,
    /// Its largest value.
    pub seconds_max: u32,
    /// `/package.Service/Method` of the watching twin.
    pub watch_path: PathAndQuery,
    /// Places for answers of this method that wait: whoever takes all of them takes nobody else's.
    places: Arc<Semaphore>,
}

impl WaitRule {
    /// The rule of a method's binding, if it has one.
    pub(crate) fn of(
        options: &Options,
        service: &ServiceOptions,
        method: &MethodDescriptor,
        binding: &Binding,
        waiting_max: usize,
    ) -> Result<Option<Self>, BuildError> {
        let Some(wait) = options.wait(method) else { return Ok(None) };
        let bad = |what: &str| BuildError::option(method.full_name(), what);
        if binding.method != Method::GET || method.is_server_streaming() {
            return Err(bad("`wait` stands on a method that is no unary GET"));
        }
        if wait.parameter.is_empty() || wait.seconds_max == 0 {
            return Err(bad("`wait` needs a parameter and a `seconds_max` above zero"));
        }
        if service.view_parameter.as_ref() == Some(&wait.parameter)
            || method.input().get_field_by_name(&wait.parameter).is_some()
        {
            return Err(bad("`wait.parameter` is the name of something else"));
        }
        let twin = method
            .parent_service()
            .methods()
            .find(|twin| twin.name() == wait.watch)
            .filter(|twin| twin.is_server_streaming() && !twin.is_client_streaming())
            .ok_or_else(|| bad("`wait.watch` names no server-streaming method of its service"))?;
        if !same_fields(&method.input(), &twin.input())
            || !same_fields(&method.output(), &twin.output())
        {
            return Err(bad("`wait.watch` has other fields than the method that waits"));
        }
        let path = format!("/{}/{}", twin.parent_service().full_name(), twin.name());
        Ok(Some(Self {
            parameter: wait.parameter,
            seconds_max: wait.seconds_max,
            watch_path: PathAndQuery::try_from(path)
                .map_err(|_| bad("the name of `wait.watch` is no path"))?,
            places: Arc::new(Semaphore::new(waiting_max.min(Semaphore::MAX_PERMITS))),
        }))
    }
}

/// Whether the bytes of one message mean the same as the other.
fn same_fields(one: &MessageDescriptor, other: &MessageDescriptor) -> bool {
    one.fields().len() == other.fields().len()
        && one.fields().all(|field| {
            other.get_field(field.number()).is_some_and(|twin| {
                twin.name() == field.name()
                    && twin.kind() == field.kind()
                    && twin.cardinality() == field.cardinality()
                    && twin.supports_presence() == field.supports_presence()
            })
        })
}

/// The identity of a body, as an `ETag`.
pub(crate) fn entity_tag(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let mut text = String::with_capacity(2 * TAG_BYTES + 2);
    text.push('"');
    for byte in digest.iter().take(TAG_BYTES) {
        text.extend([byte >> 4, byte & 0xf].map(|digit| char::from(HEX[usize::from(digit)])));
    }
    text.push('"');
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// What the caller knows already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// The answer as it is when the request arrives.
    AtArrival,
    /// Answers with one of these identities.
    Tags(Vec<String>),
}

impl Known {
    /// Reads `If-None-Match`; identities are compared weakly (RFC 9110, 8.8.3.2 and 13.1.2).
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut tags = Vec::new();
        let mut named = false;
        for value in headers.get_all(IF_NONE_MATCH) {
            named = true;
            for part in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if part == "*" {
                    return Self::AtArrival;
                }
                tags.push(part.strip_prefix("W/").unwrap_or(part).to_owned());
            }
        }
        if named { Self::Tags(tags) } else { Self::AtArrival }
    }

    fn holds(&self, answer: &Answer) -> bool {
        match self {
            Self::AtArrival => true,
            Self::Tags(tags) => tags.iter().any(|tag| answer.tag() == tag.as_bytes()),
        }
    }
}

impl Answer {
    fn tag(&self) -> &[u8] {
        self.headers.get(ETAG).map_or(&[], HeaderValue::as_bytes)
    }
}

/// A request that waits.
pub(crate) struct Waiting<'w> {
    pub route: &'w Route,
    pub rule: &'w WaitRule,
    pub call: Call,
    pub view: Option<View>,
    pub known: Known,
    /// How long the caller wants to wait, counted from when the present answer is known.
    pub time: Duration,
    pub request_id: &'w str,
}

impl Compiled {
    /// Waits until the answer differs from what the caller knows, or for as long as it asked. A
    /// watch that is cut off answers with what is known; one that refuses fails the request.
    pub(crate) async fn wait<S>(
        &self,
        mut waiting: Waiting<'_>,
        inner: S,
    ) -> Result<Answer, Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>
            + Clone
            + Send,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let waited = AssertUnwindSafe(self.waited(&mut waiting, inner)).catch_unwind().await;
        waited.unwrap_or_else(|_| {
            tracing::error!("the upstream panicked");
            Err(Failure::internal())
        })
    }

    async fn waited<S>(&self, waiting: &mut Waiting<'_>, inner: S) -> Result<Answer, Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>
            + Clone
            + Send,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let (stream, mut latest) = self.watched(waiting, inner.clone()).await?;
        if !waiting.known.holds(&latest) {
            return Ok(latest);
        }
        // Not before the upstream let the caller in: places are for those who may wait.
        let places = Arc::clone(&waiting.rule.places);
        let _place = places.try_acquire_owned().map_err(|_| Failure::too_many_waiting())?;
        if waiting.known == Known::AtArrival {
            let tag = String::from_utf8_lossy(latest.tag()).into_owned();
            waiting.known = Known::Tags(vec![tag]);
        }
        let differing = self.differing(waiting, &mut latest, stream, inner);
        match tokio::time::timeout(waiting.time, differing).await {
            Ok(Err(failure)) if !failure.is_passing() => Err(failure),
            _ => Ok(latest),
        }
    }

    /// Keeps `latest` at the newest answer, and returns when it differs from what is known.
    async fn differing<S>(
        &self,
        waiting: &Waiting<'_>,
        latest: &mut Answer,
        mut stream: MessageStream,
        inner: S,
    ) -> Result<(), Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>
            + Clone
            + Send,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        loop {
            while let Some(answer) = self.next(waiting, &mut stream).await? {
                *latest = answer;
                if !waiting.known.holds(latest) {
                    return Ok(());
                }
            }
            // The watch expects no more change. One may come all the same, and a caller who is
            // answered now would ask again at once. Meanwhile the ended watch is kept, so that its caller
            // still counts as one who watches.
            tokio::time::sleep(self.settings.watch_again_pause).await;
            drop(stream);
            (stream, *latest) = self.watched(waiting, inner.clone()).await?;
            if !waiting.known.holds(latest) {
                return Ok(());
            }
        }
    }

    /// Opens the watch and takes the present answer from it.
    async fn watched<S>(
        &self,
        waiting: &Waiting<'_>,
        inner: S,
    ) -> Result<(MessageStream, Answer), Failure>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>> + Send,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let opening = async {
            let mut stream =
                self.stream(waiting.call.clone().to(&waiting.rule.watch_path), inner).await?;
            match self.next(waiting, &mut stream).await? {
                Some(answer) => Ok((stream, answer)),
                None => {
                    tracing::error!("the watch ended without an answer");
                    Err(Failure::bad_upstream())
                }
            }
        };
        match self.settings.upstream_timeout {
            None => opening.await,
            Some(limit) => {
                tokio::time::timeout(limit, opening).await.map_err(|_| Failure::deadline())?
            }
        }
    }

    async fn next(
        &self,
        waiting: &Waiting<'_>,
        stream: &mut MessageStream,
    ) -> Result<Option<Answer>, Failure> {
        let Some(message) = stream.message(&self.settings).await? else { return Ok(None) };
        let reply = Reply { headers: stream.headers.clone(), message };
        self.written(waiting.route, waiting.view, &reply, waiting.request_id).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(values: &[&'static str]) -> Known {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
        }
        Known::read(&headers)
    }

    #[test]
    fn what_is_known_is_read_weakly_from_every_header_line() {
        assert_eq!(read(&[]), Known::AtArrival);
        assert_eq!(read(&["\"a\", *"]), Known::AtArrival);
        let three = ["\"a\"", "\"b\"", "\"c\""].map(str::to_owned).to_vec();
        assert_eq!(read(&["\"a\", W/\"b\"", "\"c\""]), Known::Tags(three));
    }

    #[test]
    fn an_identity_is_that_of_the_bytes() {
        let tag = entity_tag(b"{}");
        assert_eq!(tag, entity_tag(b"{}"));
        assert_ne!(tag, entity_tag(b"{} "));
        assert!(tag.to_str().unwrap().len() == 2 * TAG_BYTES + 2);
    }
}
