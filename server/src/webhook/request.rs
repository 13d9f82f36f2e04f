//! The request of one attempt: the documented body with its signature, and the headers beside it,
//! those of Standard Webhooks included. Deliveries and tests are made here alike. Not here: sending.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::body::{BodyError, BodyWriter};
use super::signing;
use crate::domain::event::EventBody;
use crate::domain::time::Micros;

/// What is told, and what it is signed with.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What to tell.
    pub body: &'a EventBody,
    /// The same in every attempt; receivers know a repeat by it.
    pub event_id: &'a str,
    /// The event's place in its merchant's log; a test has none.
    pub sequence: Option<u64>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When it is sent, by the system's clock: receivers compare it with their own.
    pub sent_at: Micros,
    /// The decoded APP_KEY.
    pub app_key: &'a [u8; 32],
    /// The endpoint's Standard Webhooks secrets; without one its headers are left out.
    pub secrets: &'a [[u8; 32]],
}

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    /// Its headers, but for those of every request.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl SignedRequest {
    /// Writes and signs a message.
    ///
    /// # Errors
    /// When it can not be written as JSON or as headers.
    pub fn new(bodies: &BodyWriter, message: &Message<'_>) -> Result<Self, BodyError> {
        let body = bodies.write(message.body, message.app_key)?;
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: String| -> Result<(), BodyError> {
            let value = HeaderValue::try_from(value).map_err(|_| BodyError::header(name))?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        set("x-cryptopayment-event-id", message.event_id.to_owned())?;
        if let Some(sequence) = message.sequence {
            set("x-cryptopayment-sequence", sequence.to_string())?;
        }
        set("x-cryptopayment-attempt", message.attempt.to_string())?;
        if !message.secrets.is_empty() {
            let seconds = message.sent_at.seconds();
            let signature =
                signing::sign_standard(message.secrets, message.event_id, seconds, &body);
            set("webhook-id", message.event_id.to_owned())?;
            set("webhook-timestamp", seconds.to_string())?;
            set("webhook-signature", signature)?;
        }
        Ok(Self { headers, body })
    }
}
