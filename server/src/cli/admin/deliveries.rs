//! `admin deliveries`: the delivery log of all merchants, and sending again.

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::delivery_service_client::DeliveryServiceClient;
use cryptopayment_proto::v1 as merchant;
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::Channel;

use super::moment;
use crate::cli::output::{Answer, Section};
use crate::cli::{DeliveriesCommand, DeliveryStateName};

const COLUMNS: &[&str] =
    &["id", "created_at", "event", "invoice_id", "api_key", "state", "attempts", "next_attempt_at"];
const ATTEMPT_COLUMNS: &[&str] =
    &["number", "started_at", "url", "status_code", "error", "duration_ms", "response_body"];

/// Runs one command.
pub async fn run(channel: Channel, command: DeliveriesCommand) -> Result<Answer, Status> {
    let mut client = DeliveryServiceClient::new(channel);
    match command {
        DeliveriesCommand::List { merchant, key, invoice, event, state, limit } => {
            let request = v1::ListDeliveriesRequest {
                page_token: None,
                merchant_id: merchant,
                api_key: key,
                invoice_id: invoice,
                event,
                state: state.map_or(0, |state| on_the_wire(state).into()),
            };
            let rows = list(&mut client, request, limit).await?;
            Ok(Answer::table(COLUMNS, rows))
        }
        DeliveriesCommand::Show { id } => {
            let request = v1::GetDeliveryRequest { id };
            let answer = client.get_delivery(request).await?.into_inner();
            let delivery = answer.delivery.iter().map(row).collect();
            let attempts = answer.attempts.iter().map(attempt).collect();
            Ok(Answer(vec![
                Section { title: "delivery", columns: COLUMNS, rows: delivery },
                Section { title: "attempts", columns: ATTEMPT_COLUMNS, rows: attempts },
            ]))
        }
        DeliveriesCommand::Redeliver { id } => {
            let request = v1::RedeliverDeliveryRequest { id };
            let answer = client.redeliver_delivery(request).await?.into_inner();
            Ok(Answer::table(COLUMNS, answer.delivery.iter().map(row).collect()))
        }
    }
}

/// Reads page after page, up to `limit` rows.
async fn list(
    client: &mut DeliveryServiceClient<Channel>,
    mut request: v1::ListDeliveriesRequest,
    limit: u32,
) -> Result<Vec<Value>, Status> {
    let limit = limit as usize;
    let mut rows = Vec::new();
    loop {
        let page = client.list_deliveries(request.clone()).await?.into_inner();
        rows.extend(page.deliveries.iter().map(row));
        request.page_token = page.next_page_token;
        if rows.len() >= limit || request.page_token.is_none() {
            rows.truncate(limit);
            return Ok(rows);
        }
    }
}

const fn on_the_wire(state: DeliveryStateName) -> merchant::DeliveryState {
    match state {
        DeliveryStateName::Pending => merchant::DeliveryState::Pending,
        DeliveryStateName::Delivered => merchant::DeliveryState::Delivered,
        DeliveryStateName::Failed => merchant::DeliveryState::Failed,
        DeliveryStateName::Dropped => merchant::DeliveryState::Dropped,
    }
}

fn row(delivery: &merchant::Delivery) -> Value {
    let state = delivery.state().as_str_name().trim_start_matches("DELIVERY_STATE_");
    json!({
        "id": delivery.id,
        "event_id": delivery.event_id,
        "sequence": delivery.sequence,
        "event": delivery.event,
        "invoice_id": delivery.invoice_id,
        "api_key": delivery.api_key,
        "state": state.to_lowercase(),
        "attempts": delivery.attempts_made,
        "next_attempt_at": moment(delivery.next_attempt_at),
        "redelivery_requested_at": moment(delivery.redelivery_requested_at),
        "created_at": moment(delivery.created_at),
    })
}

fn attempt(attempt: &merchant::DeliveryAttempt) -> Value {
    let headers = |headers: &[merchant::HttpHeader]| {
        headers.iter().map(|h| json!({ "name": h.name, "value": h.value })).collect::<Vec<_>>()
    };
    json!({
        "number": attempt.number,
        "is_redelivery": attempt.is_redelivery,
        "started_at": moment(attempt.started_at),
        "duration_ms": attempt.duration_ms,
        "url": attempt.url,
        "request_headers": headers(&attempt.request_headers),
        "request_body": attempt.request_body,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "response_headers": headers(&attempt.response_headers),
        "response_body": attempt.response_body,
        "is_response_cut": attempt.is_response_cut,
    })
}
