//! The settings of a gateway: every limit with its unit, and what cannot be read from descriptors.
//! No environment or file is read here; whoever builds the gateway fills this in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

/// The largest `json_depth_max` that is accepted. prost decodes at most 100 levels of messages, and
/// a level of `google.protobuf.Struct` takes three; see `STRUCT_DEPTH_MAX` in `request::body`.
pub const JSON_DEPTH_CEILING: u32 = 48;
/// Deepest nesting of JSON text that stands in a string field of an answer.
pub(crate) const TEXT_DEPTH_MAX: u32 = 128;

/// What happens to a body key or query parameter that the method does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFields {
    /// 400 `UNKNOWN_FIELD`, naming the nearest known field.
    #[default]
    Refuse,
    /// Skipped, but still checked to be strict JSON.
    Ignore,
}

/// Says whether a service, by its full name, is served.
pub type ServiceFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a gateway behaves beyond what the descriptors say.
#[derive(Clone)]
pub struct Settings {
    /// Longest request body, in bytes.
    pub body_bytes_max: usize,
    /// Longest time in which a request body must have arrived.
    pub body_seconds_max: Duration,
    /// Deepest nesting of arrays and objects in a request; at most [`JSON_DEPTH_CEILING`].
    pub json_depth_max: u32,
    /// Longest query string, in bytes as sent.
    pub query_bytes_max: usize,
    /// Most parameters in a query string.
    pub query_parameters_max: usize,
    /// Most digits of a number token that stands for an exact number.
    pub number_digits_max: usize,
    /// Largest absolute value of the exponent of such a number token.
    pub number_exponent_max: u32,
    /// Longest upstream message and longest JSON answer, in bytes.
    pub response_bytes_max: usize,
    /// Longest time an upstream call may take; sent on as `grpc-timeout`. `None`: no limit.
    pub upstream_timeout: Option<Duration>,
    /// Most answers of one method that wait for a change at once; more are refused with 429. It knows no
    /// callers: an upstream that shares the places of its watches out among them wants at least as many here.
    pub waiting_max: usize,
    /// How long after a watch ended by itself it is called again for an answer that still waits.
    pub watch_again_pause: Duration,
    /// What happens to unknown fields.
    pub unknown_fields: UnknownFields,
    /// `error.doc_url` is this followed by the code in lower case; empty: `doc_url` is `null`.
    pub doc_url_base: String,
    /// The success key of answers that belong to no service, such as those to unknown routes.
    pub default_success_key: Option<String>,
    /// When set, only an `ErrorInfo` of this domain gives an error its code.
    pub error_domain: Option<String>,
    /// Which services are served, by full name.
    pub services: ServiceFilter,
    /// Request headers that are passed on as metadata, besides `x-request-id`.
    pub forward_headers: Vec<HeaderName>,
    /// Response metadata that is passed back as headers.
    pub return_headers: Vec<HeaderName>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 * 1024,
            body_seconds_max: Duration::from_secs(30),
            json_depth_max: 32,
            query_bytes_max: 8 * 1024,
            query_parameters_max: 100,
            number_digits_max: 60,
            number_exponent_max: 40,
            response_bytes_max: 8 * 1024 * 1024,
            upstream_timeout: Some(Duration::from_secs(90)),
            waiting_max: 1_000,
            watch_again_pause: Duration::from_secs(1),
            unknown_fields: UnknownFields::Refuse,
            doc_url_base: String::new(),
            default_success_key: None,
            error_domain: None,
            services: Arc::new(|_| true),
            forward_headers: vec![
                http::header::AUTHORIZATION,
                http::header::USER_AGENT,
                HeaderName::from_static("traceparent"),
                HeaderName::from_static("tracestate"),
            ],
            return_headers: vec![http::header::ETAG],
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("body_bytes_max", &self.body_bytes_max)
            .field("body_seconds_max", &self.body_seconds_max)
            .field("json_depth_max", &self.json_depth_max)
            .field("query_bytes_max", &self.query_bytes_max)
            .field("query_parameters_max", &self.query_parameters_max)
            .field("number_digits_max", &self.number_digits_max)
            .field("number_exponent_max", &self.number_exponent_max)
            .field("response_bytes_max", &self.response_bytes_max)
            .field("upstream_timeout", &self.upstream_timeout)
            .field("waiting_max", &self.waiting_max)
            .field("watch_again_pause", &self.watch_again_pause)
            .field("unknown_fields", &self.unknown_fields)
            .field("doc_url_base", &self.doc_url_base)
            .field("default_success_key", &self.default_success_key)
            .field("error_domain", &self.error_domain)
            .field("forward_headers", &self.forward_headers)
            .field("return_headers", &self.return_headers)
            .finish_non_exhaustive()
    }
}
