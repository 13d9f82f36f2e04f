//! Every error as an HTTP answer in one shape, whoever found it: the gateway itself or the
//! upstream. Reading the upstream's status is in `grpc`.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::json::escape;
use crate::json::token::ReadError;
use crate::{ResponseBody, reason};

/// One field's part in an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    pub field: String,
    pub reason: String,
    pub description: String,
}

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub message: String,
    pub details: Vec<Detail>,
    pub retry_after_seconds: Option<u32>,
    pub allow: Option<Box<str>>,
    pub doc_url: Option<Box<str>>,
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            details: Vec::new(),
            retry_after_seconds: None,
            allow: None,
            doc_url: None,
        }
    }

    /// 400 about one field, or about the whole when `field` is empty.
    pub(crate) fn bad_request(
        code: &'static str,
        field: &str,
        description: impl Into<String>,
    ) -> Self {
        let description = description.into();
        let message = match field {
            "" => description.clone(),
            field => format!("{field}: {description}"),
        };
        let mut failure = Self::new(StatusCode::BAD_REQUEST, code, message);
        if !field.is_empty() {
            let (field, reason) = (field.to_owned(), code.to_owned());
            failure.details.push(Detail { field, reason, description });
        }
        failure
    }

    pub(crate) fn method_not_allowed(methods: &[Method]) -> Self {
        let allow = allow(methods);
        let mut failure = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            reason::METHOD_NOT_ALLOWED,
            format!("this path answers {allow}"),
        );
        failure.allow = Some(allow.into());
        failure
    }

    pub(crate) fn route_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, reason::ROUTE_NOT_FOUND, "no such path")
    }

    /// A gRPC call that came here, e.g. because a proxy in between made HTTP/1 of it.
    pub(crate) fn grpc_elsewhere() -> Self {
        let message = "gRPC is called by POST, over HTTP/2 or as gRPC-web; this request is neither";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, reason::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// Something that must not happen; the cause is logged, not told.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "internal error")
    }

    /// The upstream answered, but not in gRPC.
    pub(crate) fn bad_upstream() -> Self {
        let message = "the service behind this gateway gave no valid answer";
        Self::new(StatusCode::BAD_GATEWAY, reason::UPSTREAM_ERROR, message)
    }

    /// The upstream could not be reached.
    pub(crate) fn no_upstream() -> Self {
        let message = "the service behind this gateway cannot be reached";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason::UPSTREAM_ERROR, message)
    }

    /// There is no place for one more answer that waits.
    pub(crate) fn too_many_waiting() -> Self {
        let message = "too many answers wait already; ask again without waiting, or later";
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut failure = Self::new(status, reason::TOO_MANY_WAITING, message);
        failure.retry_after_seconds = Some(1);
        failure
    }

    /// Whether it says that the upstream went away or stopped, and nothing of what was asked for.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.status.as_u16(), 499 | 502 | 503 | 504)
    }

    pub(crate) fn deadline() -> Self {
        let message = "the service behind this gateway took too long";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", message)
    }

    /// The HTTP answer; without its body when `body` is false, as HEAD has it.
    pub(crate) fn response(&self, frame: &Frame<'_>, body: bool) -> Response<ResponseBody> {
        let text = self.json(frame);
        let length = text.len();
        let content = if body { Bytes::from(text) } else { Bytes::new() };
        let mut response = Response::new(ResponseBody::new(content));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if !body {
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|text| text.parse().ok()) {
            headers.insert(ALLOW, allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn json(&self, frame: &Frame<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(b'{');
        if let Some(key) = frame.success_key {
            entry(&mut out, key, b"false,");
        }
        text(&mut out, "message", &self.message, b",\"error\":{");
        text(&mut out, "code", &self.code, b",");
        text(&mut out, "message", &self.message, b",\"details\":[");
        for (n, detail) in self.details.iter().enumerate() {
            out.extend_from_slice(if n > 0 { b",{" } else { b"{" });
            text(&mut out, "field", &detail.field, b",");
            text(&mut out, "reason", &detail.reason, b",");
            text(&mut out, "description", &detail.description, b"}");
        }
        out.extend_from_slice(b"],");
        text(&mut out, "request_id", frame.request_id, b",");
        let own = (!frame.doc_url_base.is_empty())
            .then(|| format!("{}{}", frame.doc_url_base, self.code.to_ascii_lowercase()));
        match self.doc_url.as_deref().or(own.as_deref()) {
            Some(url) => text(&mut out, "doc_url", url, b"}}"),
            None => entry(&mut out, "doc_url", b"null}}"),
        }
        out
    }
}

/// What an error's body says besides the error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'f> {
    pub success_key: Option<&'f str>,
    pub request_id: &'f str,
    pub doc_url_base: &'f str,
}

fn text(out: &mut Vec<u8>, key: &str, value: &str, then: &[u8]) {
    entry(out, key, b"");
    escape::string(out, value);
    out.extend_from_slice(then);
}

fn entry(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    escape::string(out, key);
    out.push(b':');
    out.extend_from_slice(value);
}

/// The value of an `Allow` header: GET brings HEAD with it, and OPTIONS is always answered.
pub(crate) fn allow(methods: &[Method]) -> String {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
        names.push("HEAD");
    }
    if !methods.contains(&Method::OPTIONS) {
        names.push("OPTIONS");
    }
    names.join(", ")
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::bad_request(error.code, &error.path(), error.description)
    }
}
