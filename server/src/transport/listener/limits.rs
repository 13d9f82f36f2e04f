//! The listener's limits, each with its unit in its name, and the HTTP builder made from them.
//! What breaks HTTP itself (400, 414, 431) is answered by hyper and h2 before there is a request: a status
//! alone, without the documented error's body, and the connection ends.
//! Not here: limits of message sizes and request times, which belong to the application.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use serde::Deserialize;
use tokio::sync::Semaphore;

/// The smallest buffer HTTP/1 can work with, bytes (hyper panics below it).
const HTTP1_BUFFER_BYTES_MIN: usize = 8_192;
/// The smallest HTTP/2 stream window that makes sense, bytes (RFC 9113, 6.9.2: the initial one).
const STREAM_WINDOW_BYTES_MIN: u32 = 65_535;
/// The largest HTTP/2 window, bytes (RFC 9113, 6.9.1).
const STREAM_WINDOW_BYTES_MAX: u32 = 2_147_483_647;

/// What one listener grants its callers. Every default is meant for production; tests shrink them.
///
/// hyper's own HTTP/2 defaults are lost as soon as a framework passes `None` over them, so each of
/// them is set here by number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerLimits {
    /// Connections open at once; the next ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections open at once from one address (IPv4) or one /64 (IPv6: a subscriber owns a whole
    /// /64), four times as many from one /48; the next ones are closed at once. Behind a reverse proxy
    /// all callers share the proxy's address: raise this to `connections_max` there.
    pub connections_per_ip_max: usize,
    /// Whether loopback is exempt from `connections_per_ip_max`: a reverse proxy on the same
    /// machine is one address for all its callers, and who connects from loopback is inside.
    pub connections_per_ip_loopback_exempt: bool,
    /// Time for a whole HTTP/1 request head; also how long a kept-alive connection may idle.
    pub header_read_timeout_seconds: u64,
    /// Bytes of an HTTP/1 request head, and of the read buffer; at least 8,192.
    pub http1_buffer_bytes_max: usize,
    /// Headers of an HTTP/1 request; more answer 431.
    pub http1_headers_max: usize,
    /// HTTP/2 streams open at once on a connection.
    pub streams_per_connection_max: u32,
    /// Streams this side may reset for the caller's errors before it sends GOAWAY
    /// (CVE-2019-9514 and CVE-2025-8671 classes).
    pub local_error_reset_streams_max: usize,
    /// Streams the caller may reset before they were accepted, then GOAWAY (CVE-2023-44487).
    pub pending_accept_reset_streams_max: usize,
    /// Bytes of an HTTP/2 header list, decoded; more answer 431.
    pub header_list_bytes_max: u32,
    /// Bytes a caller may send on an HTTP/2 stream before the application reads them.
    pub stream_window_bytes: u32,
    /// Bytes of answer buffered per HTTP/2 stream for a caller who reads slowly.
    pub stream_send_buffer_bytes_max: usize,
    /// How often an HTTP/2 caller is pinged.
    pub keep_alive_interval_seconds: u64,
    /// How long it may take to answer a ping.
    pub keep_alive_timeout_seconds: u64,
    /// Time to tell HTTP/1 from HTTP/2: 24 bytes of the HTTP/2 preface, or one byte that differs.
    pub preface_timeout_seconds: u64,
    /// Age at which a connection is asked to end, so that load spreads over replicas.
    pub connection_age_seconds_max: u64,
    /// Time its open requests then have before they are cut.
    pub connection_age_grace_seconds: u64,
    /// Time open requests have at shutdown before they are cut.
    pub drain_seconds_max: u64,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            connections_per_ip_max: 64,
            connections_per_ip_loopback_exempt: true,
            header_read_timeout_seconds: 30,
            http1_buffer_bytes_max: 65_536,
            http1_headers_max: 100,
            streams_per_connection_max: 100,
            local_error_reset_streams_max: 1_024,
            pending_accept_reset_streams_max: 20,
            header_list_bytes_max: 16_384,
            stream_window_bytes: 262_144,
            stream_send_buffer_bytes_max: 65_536,
            keep_alive_interval_seconds: 10,
            keep_alive_timeout_seconds: 5,
            preface_timeout_seconds: 5,
            connection_age_seconds_max: 900,
            connection_age_grace_seconds: 10,
            drain_seconds_max: 20,
        }
    }
}

/// Why a set of limits cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A zero here would let nobody in, or let them stay for ever.
    #[error("{0} must be at least {1}")]
    TooSmall(&'static str, u64),
    /// The runtime or the protocol has no room for so much.
    #[error("{0} must be at most {1}")]
    TooLarge(&'static str, u64),
}

impl ListenerLimits {
    /// Checks the numbers before a port opens.
    ///
    /// # Errors
    /// Names the first limit that is too small or too large, with its bound.
    pub fn check(&self) -> Result<(), LimitsError> {
        let connections_max = Semaphore::MAX_PERMITS as u64;
        let rows = [
            ("connections_max", self.connections_max as u64, 1, connections_max),
            ("connections_per_ip_max", self.connections_per_ip_max as u64, 1, u64::MAX),
            ("header_read_timeout_seconds", self.header_read_timeout_seconds, 1, 3_600),
            (
                "http1_buffer_bytes_max",
                self.http1_buffer_bytes_max as u64,
                HTTP1_BUFFER_BYTES_MIN as u64,
                16_777_216,
            ),
            ("http1_headers_max", self.http1_headers_max as u64, 1, 10_000),
            ("streams_per_connection_max", self.streams_per_connection_max.into(), 1, 1_000_000),
            (
                "local_error_reset_streams_max",
                self.local_error_reset_streams_max as u64,
                1,
                1_000_000,
            ),
            (
                "pending_accept_reset_streams_max",
                self.pending_accept_reset_streams_max as u64,
                1,
                1_000_000,
            ),
            ("header_list_bytes_max", self.header_list_bytes_max.into(), 1_024, 16_777_216),
            (
                "stream_window_bytes",
                self.stream_window_bytes.into(),
                STREAM_WINDOW_BYTES_MIN.into(),
                STREAM_WINDOW_BYTES_MAX.into(),
            ),
            (
                "stream_send_buffer_bytes_max",
                self.stream_send_buffer_bytes_max as u64,
                1_024,
                u64::from(u32::MAX),
            ),
            ("keep_alive_interval_seconds", self.keep_alive_interval_seconds, 1, 3_600),
            ("keep_alive_timeout_seconds", self.keep_alive_timeout_seconds, 1, 3_600),
            ("preface_timeout_seconds", self.preface_timeout_seconds, 1, 3_600),
            ("connection_age_seconds_max", self.connection_age_seconds_max, 1, 31_536_000),
            ("connection_age_grace_seconds", self.connection_age_grace_seconds, 0, 86_400),
            ("drain_seconds_max", self.drain_seconds_max, 0, 86_400),
        ];
        for (name, value, min, max) in rows {
            if value < min {
                return Err(LimitsError::TooSmall(name, min));
            }
            if value > max {
                return Err(LimitsError::TooLarge(name, max));
            }
        }
        Ok(())
    }

    /// The HTTP side of these limits. Both timers are set: without one hyper panics where a timeout
    /// is asked for.
    pub(super) fn http(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(seconds(self.header_read_timeout_seconds))
            .max_buf_size(self.http1_buffer_bytes_max)
            .max_headers(self.http1_headers_max);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams_per_connection_max)
            .max_local_error_reset_streams(self.local_error_reset_streams_max)
            .max_pending_accept_reset_streams(self.pending_accept_reset_streams_max)
            .max_header_list_size(self.header_list_bytes_max)
            .initial_stream_window_size(self.stream_window_bytes)
            .max_send_buf_size(self.stream_send_buffer_bytes_max)
            .keep_alive_interval(seconds(self.keep_alive_interval_seconds))
            .keep_alive_timeout(seconds(self.keep_alive_timeout_seconds));
        builder
    }
}

/// Whole seconds as a duration.
pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
