//! An answer of the upstream, read message by message: a stream's, or a unary call's only one. Calling
//! is the business of `call`; what the messages mean is not known here.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;

use crate::failure::Failure;
use crate::grpc;
use crate::settings::Settings;

/// An answer under way. Dropping it ends the call.
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
        let message_bytes_max = settings.response_bytes_max;
        loop {
            let taken = grpc::take_frame(&mut self.buffer, message_bytes_max);
            if let Some(message) = taken.map_err(bad)? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return self.end(&HeaderMap::new(), settings);
            };
            let frame = frame.map_err(|error| bad(&error.to_string()))?;
            match frame.into_data() {
                Ok(data) if self.buffer.is_empty() => {
                    // Most often it is one whole message: nothing is copied.
                    match grpc::unframe(&data).filter(|one| one.len() <= message_bytes_max) {
                        Some(message) => return Ok(Some(message)),
                        None => self.buffer.extend_from_slice(&data),
                    }
                }
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return self.end(&trailers, settings);
                    }
                }
            }
        }
    }

    /// A unary call's message: the only one.
    pub(crate) async fn only(&mut self, settings: &Settings) -> Result<Bytes, Failure> {
        let message = self.message(settings).await?;
        match (message, self.message(settings).await?) {
            (Some(message), None) => Ok(message),
            _ => Err(bad("it is not one message")),
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
    tracing::error!(what, "the upstream's answer broke off or is none");
    Failure::bad_upstream()
}
