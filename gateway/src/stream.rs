//! A server stream of the upstream, read message by message. Calling it is the business of `call`;
//! what its messages mean is not known here.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;

use crate::failure::Failure;
use crate::grpc;
use crate::settings::Settings;

/// A stream under way. Dropping it ends the call.
pub(crate) struct MessageStream {
    /// What the upstream said before its first message.
    pub headers: HeaderMap,
    body: tonic::body::Body,
    buffer: BytesMut,
}

impl MessageStream {
    pub(crate) fn new(headers: HeaderMap, body: tonic::body::Body) -> Self {
        Self { headers, body, buffer: BytesMut::new() }
    }

    /// The next message; nothing after an end without an error.
    pub(crate) async fn message(&mut self, settings: &Settings) -> Result<Option<Bytes>, Failure> {
        loop {
            let taken = grpc::take_frame(&mut self.buffer, settings.response_bytes_max);
            if let Some(message) = taken.map_err(bad)? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return self.end(&HeaderMap::new(), settings);
            };
            let frame = frame.map_err(|error| bad(&error.to_string()))?;
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return self.end(&trailers, settings);
                    }
                }
            }
        }
    }

    fn end(&self, trailers: &HeaderMap, settings: &Settings) -> Result<Option<Bytes>, Failure> {
        if !self.buffer.is_empty() {
            return Err(bad("it ended within a message"));
        }
        match grpc::code(trailers).or_else(|| grpc::code(&self.headers)) {
            Some(0) => Ok(None),
            Some(code) => Err(grpc::failure(code, trailers, settings)),
            None => Err(bad("it has no status")),
        }
    }
}

fn bad(what: &str) -> Failure {
    tracing::warn!(what, "the upstream's stream broke off");
    Failure::bad_upstream()
}
