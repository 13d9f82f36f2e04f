//! The documented webhook body as bytes: the contract's message, signed, written as JSON by the
//! gateway's writer, so that keys, order and number tokens are those of every other answer.

use bytes::Bytes;
use cryptopayment_proto::v1;
use prost::Message as _;
use prost_types::Timestamp;
use rpc_gateway::{Gateway, MessageWriter, View};

use super::signing;
use crate::domain::event::EventBody;
use crate::domain::time::Micros;

/// The message whose JSON form is the body.
const MESSAGE: &str = "cryptopayment.v1.WebhookBody";

/// The event name of a test.
const TEST_EVENT: &str = "webhook.test";

/// Writes signed bodies.
#[derive(Clone)]
pub struct BodyWriter {
    writer: MessageWriter,
}

/// Why no body could be written.
#[derive(Debug, thiserror::Error)]
#[error("webhook body: {0}")]
pub struct BodyError(String);

impl BodyError {
    pub(super) fn header(name: &str) -> Self {
        Self(format!("header {name} can not be written"))
    }
}

impl BodyWriter {
    /// A writer with the plan that `gateway` compiled from the contract.
    pub fn new(gateway: &Gateway) -> Result<Self, BodyError> {
        let writer = gateway.message_writer(MESSAGE).map_err(|e| BodyError(e.to_string()))?;
        Ok(Self { writer })
    }

    /// The body of an event, signed with the 32 bytes of an APP_KEY.
    pub fn write(&self, body: &EventBody, app_key: &[u8; 32]) -> Result<Bytes, BodyError> {
        let mut message = message(body);
        message.signature = signing::sign(app_key, &message.invoice_id, &message.event);
        let json = self
            .writer
            .write(&message.encode_to_vec(), View::Basic)
            .map_err(|error| BodyError(error.to_string()))?;
        Ok(Bytes::from(json))
    }
}

/// The body of a test, about no invoice: a handler that ships on `confirmed` does not ship on this.
pub fn test_event(now: Micros) -> EventBody {
    EventBody {
        event: TEST_EVENT.to_owned(),
        invoice_id: uuid::Uuid::nil(),
        order_id: None,
        status: "pending".to_owned(),
        network: "trc20".to_owned(),
        coin: "USDT".to_owned(),
        amount_usd: "1.00".to_owned(),
        amount_crypto: "1.00".to_owned(),
        paid_amount: "0".to_owned(),
        txid: None,
        confirmations: 0,
        address: String::new(),
        timestamp: now.0,
    }
}

/// The event that a message of the event log tells: what its webhook was made of.
///
/// # Errors
/// When the message names no invoice.
pub fn event(message: &v1::WebhookBody) -> Result<EventBody, BodyError> {
    let at = message.timestamp.unwrap_or_default();
    let micros = at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos) / 1_000);
    let invoice_id = uuid::Uuid::try_parse(&message.invoice_id)
        .map_err(|_| BodyError("the event names no invoice".to_owned()))?;
    Ok(EventBody {
        event: message.event.clone(),
        invoice_id,
        order_id: message.order_id.clone(),
        status: message.status.clone(),
        network: message.network.clone(),
        coin: message.coin.clone(),
        amount_usd: message.amount_usd.clone(),
        amount_crypto: message.amount_crypto.clone(),
        paid_amount: message.paid_amount.clone(),
        txid: message.txid.clone(),
        confirmations: message.confirmations,
        address: message.address.clone(),
        timestamp: micros,
    })
}

/// The contract's message of an event, not yet signed.
pub fn message(body: &EventBody) -> v1::WebhookBody {
    let seconds = body.timestamp.div_euclid(1_000_000);
    let nanos = i32::try_from(body.timestamp.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    v1::WebhookBody {
        event: body.event.clone(),
        invoice_id: body.invoice_id.to_string(),
        order_id: body.order_id.clone(),
        status: body.status.clone(),
        network: body.network.clone(),
        coin: body.coin.clone(),
        amount_usd: body.amount_usd.clone(),
        amount_crypto: body.amount_crypto.clone(),
        paid_amount: body.paid_amount.clone(),
        txid: body.txid.clone(),
        confirmations: body.confirmations,
        address: body.address.clone(),
        timestamp: Some(Timestamp { seconds, nanos }),
        signature: String::new(),
    }
}
