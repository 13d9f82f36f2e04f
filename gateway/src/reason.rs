//! The error codes the gateway itself gives, as constants, so that a server can check them against
//! its own list. Codes that come from the upstream's `ErrorInfo` do not live here.

/// 404: no route has this path.
pub const ROUTE_NOT_FOUND: &str = "ROUTE_NOT_FOUND";
/// 405: the path exists, but not with this HTTP method; `Allow` names those that do.
pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
/// 413: the request body is longer than `Settings::body_bytes_max`.
pub const BODY_TOO_LARGE: &str = "BODY_TOO_LARGE";
/// 408: the request body did not arrive within `Settings::body_seconds_max`.
pub const BODY_TIMEOUT: &str = "BODY_TIMEOUT";
/// 415: a body without `Content-Type: application/json`, or in another charset or encoding; gRPC that is
/// neither POST over HTTP/2 nor gRPC-web.
pub const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";
/// 400: the body is no valid JSON text (RFC 8259, strictly: one value, unique text, bounded depth).
pub const MALFORMED_JSON: &str = "MALFORMED_JSON";
/// 400: a body key or query parameter that the method does not have.
pub const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";
/// 400: the same key stands twice in one JSON object.
pub const DUPLICATE_FIELD: &str = "DUPLICATE_FIELD";
/// 400: a value in body, path or header that does not fit its field.
pub const INVALID_FIELD: &str = "INVALID_FIELD";
/// 400: a query string that cannot be read, or a query value that does not fit its field.
pub const INVALID_QUERY: &str = "INVALID_QUERY";
/// 501: the method streams; it is served over gRPC only.
pub const STREAM_OVER_REST: &str = "STREAM_OVER_REST";
/// 502 or 503: the upstream could not be reached or did not answer in gRPC.
pub const UPSTREAM_ERROR: &str = "UPSTREAM_ERROR";

/// 429: more answers of the method wait for a change than `Settings::waiting_max`.
pub const TOO_MANY_WAITING: &str = "TOO_MANY_WAITING";

/// Every code above, for servers that check them against their own enum.
pub const ALL: &[&str] = &[
    ROUTE_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    BODY_TOO_LARGE,
    BODY_TIMEOUT,
    UNSUPPORTED_MEDIA_TYPE,
    MALFORMED_JSON,
    UNKNOWN_FIELD,
    DUPLICATE_FIELD,
    INVALID_FIELD,
    INVALID_QUERY,
    STREAM_OVER_REST,
    UPSTREAM_ERROR,
    TOO_MANY_WAITING,
];
