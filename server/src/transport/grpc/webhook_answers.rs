//! What WebhookService answers, from the domain's types to the contract's messages: deliveries, their
//! attempts, checks of signatures; and the filter of its list. No rule is decided here.

use cryptopayment_proto::v1;
use uuid::Uuid;

use crate::domain::event::{EventKind, event_id};
use crate::domain::failure::{Failure, Reason};
use crate::store::delivery_log::{Attempt, Delivery, DeliveryFilter, DeliveryState};
use crate::transport::convert;
use crate::webhook::diagnosis::{Check, Finding, KeyUsed, Recipe};

/// The filter that a request asks for.
pub fn filter(message: &v1::ListDeliveriesRequest) -> Result<DeliveryFilter, Failure> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let invoice_id = given(&message.invoice_id).map(|text| {
        Uuid::try_parse(&text)
            .map_err(|_| Failure::field("invoice_id", Reason::InvalidField, "is no UUID"))
    });
    let kind = given(&message.event).map(|name| {
        EventKind::parse(&name).ok_or_else(|| {
            let known = EventKind::ALL.map(EventKind::as_str).join(", ");
            Failure::field("event", Reason::InvalidField, format!("is none of {known}"))
        })
    });
    let state = match v1::DeliveryState::try_from(message.state) {
        Ok(v1::DeliveryState::Unspecified) => None,
        Ok(v1::DeliveryState::Pending) => Some(DeliveryState::Pending),
        Ok(v1::DeliveryState::Delivered) => Some(DeliveryState::Delivered),
        Ok(v1::DeliveryState::Failed) => Some(DeliveryState::Failed),
        Ok(v1::DeliveryState::Dropped) => Some(DeliveryState::Dropped),
        Err(_) => return Err(Failure::field("state", Reason::InvalidField, "is no state")),
    };
    Ok(DeliveryFilter { invoice_id: invoice_id.transpose()?, kind: kind.transpose()?, state })
}

/// A delivery.
pub fn delivery(delivery: &Delivery) -> v1::Delivery {
    let state = match delivery.state {
        DeliveryState::Pending => v1::DeliveryState::Pending,
        DeliveryState::Delivered => v1::DeliveryState::Delivered,
        DeliveryState::Failed => v1::DeliveryState::Failed,
        DeliveryState::Dropped => v1::DeliveryState::Dropped,
    };
    v1::Delivery {
        id: delivery.id.to_string(),
        event_id: event_id(delivery.invoice_id, delivery.seq),
        sequence: delivery.seq,
        event: delivery.kind.as_str().to_owned(),
        invoice_id: delivery.invoice_id.to_string(),
        api_key: delivery.api_key.clone(),
        state: state.into(),
        attempts_made: delivery.attempts_made,
        next_attempt_at: delivery.next_attempt_at.map(convert::timestamp),
        redelivery_requested_at: delivery.redelivery_requested_at.map(convert::timestamp),
        created_at: Some(convert::timestamp(delivery.created_at)),
    }
}

/// An attempt.
pub fn attempt(attempt: Attempt) -> v1::DeliveryAttempt {
    v1::DeliveryAttempt {
        number: attempt.number,
        is_redelivery: attempt.is_redelivery,
        started_at: Some(convert::timestamp(attempt.started_at)),
        duration_ms: u32::try_from(attempt.duration_ms).unwrap_or(u32::MAX),
        url: attempt.url,
        request_headers: headers(attempt.request_headers),
        request_body: attempt.request_body,
        status_code: attempt.status_code,
        error: attempt.error,
        response_headers: headers(attempt.response_headers),
        response_body: attempt.response_body,
        is_response_cut: attempt.is_response_cut,
    }
}

fn headers(pairs: Vec<(String, String)>) -> Vec<v1::HttpHeader> {
    pairs.into_iter().map(|(name, value)| v1::HttpHeader { name, value }).collect()
}

/// What a recipe says.
pub fn check(check: &Check) -> v1::WebhookRecipeCheck {
    let recipe = match check.recipe {
        Recipe::Documented => v1::WebhookRecipe::Documented,
        Recipe::Standard => v1::WebhookRecipe::Standard,
    };
    let key = check.key.map(|key| match key {
        KeyUsed::AppKey => v1::WebhookKey::AppKey,
        KeyUsed::AppKeyNext => v1::WebhookKey::AppKeyNext,
        KeyUsed::Secret => v1::WebhookKey::SigningSecret,
        KeyUsed::SecretPrevious => v1::WebhookKey::SigningSecretPrevious,
    });
    let findings = check.findings.iter().map(|(kind, text)| v1::WebhookFindingDetail {
        finding: finding(*kind).into(),
        description: text.clone(),
    });
    v1::WebhookRecipeCheck {
        recipe: recipe.into(),
        valid: check.is_valid,
        key: key.map(Into::into),
        signed_text: check.signed_text.clone(),
        findings: findings.collect(),
    }
}

const fn finding(finding: Finding) -> v1::WebhookFinding {
    match finding {
        Finding::BodyNotJson => v1::WebhookFinding::BodyNotJson,
        Finding::FieldMissing => v1::WebhookFinding::FieldMissing,
        Finding::SignatureMissing => v1::WebhookFinding::SignatureMissing,
        Finding::SignatureMalformed => v1::WebhookFinding::SignatureMalformed,
        Finding::UpperCaseHex => v1::WebhookFinding::UpperCaseHex,
        Finding::WrongEncoding => v1::WebhookFinding::WrongEncoding,
        Finding::KeyNotDecoded => v1::WebhookFinding::KeyNotDecoded,
        Finding::WholeBodySigned => v1::WebhookFinding::WholeBodySigned,
        Finding::WrongMessage => v1::WebhookFinding::WrongMessage,
        Finding::WrongKey => v1::WebhookFinding::WrongKey,
        Finding::OtherApiKey => v1::WebhookFinding::OtherApiKey,
        Finding::KeyReplaced => v1::WebhookFinding::KeyReplaced,
        Finding::BodyChanged => v1::WebhookFinding::BodyChanged,
        Finding::HeaderMissing => v1::WebhookFinding::HeaderMissing,
        Finding::TimestampMalformed => v1::WebhookFinding::TimestampMalformed,
        Finding::TimestampTooOld => v1::WebhookFinding::TimestampTooOld,
        Finding::TimestampTooNew => v1::WebhookFinding::TimestampTooNew,
        Finding::KeyNotActive => v1::WebhookFinding::KeyNotActive,
    }
}
