//! `admin unexpected-deposits`: what reached addresses that are not for it, and settling it.

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::unexpected_deposit_service_client::UnexpectedDepositServiceClient;
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::Channel;

use super::moment;
use crate::cli::output::Answer;
use crate::cli::{UnexpectedDepositsCommand, UnexpectedStateName};

const COLUMNS: &[&str] =
    &["id", "created_at", "network", "coin", "amount", "state", "confirmations", "invoice_id"];
const ALL_COLUMNS: &[&str] = &[
    "id",
    "created_at",
    "network",
    "coin",
    "amount",
    "state",
    "confirmations",
    "is_creditable",
    "txid",
    "address",
    "address_network",
    "invoice_id",
    "merchant_id",
    "assigned_merchant_id",
    "assigned_invoice_id",
    "note",
];

type Client = UnexpectedDepositServiceClient<Channel>;

/// Runs one command.
pub async fn run(channel: Channel, command: UnexpectedDepositsCommand) -> Result<Answer, Status> {
    let mut client = UnexpectedDepositServiceClient::new(channel);
    let found = match command {
        UnexpectedDepositsCommand::List { network, state, invoice, merchant, limit } => {
            let request = v1::ListUnexpectedDepositsRequest {
                page_token: None,
                network,
                state: state.map_or(0, |state| on_the_wire(state).into()),
                invoice_id: invoice,
                merchant_id: merchant,
            };
            return Ok(Answer::table(COLUMNS, list(&mut client, request, limit).await?));
        }
        UnexpectedDepositsCommand::Show { id } => {
            let request = v1::GetUnexpectedDepositRequest { id };
            client.get_unexpected_deposit(request).await?.into_inner().unexpected_deposit
        }
        UnexpectedDepositsCommand::Assign { id, invoice, merchant, note } => {
            let (invoice_id, merchant_id) = (invoice, merchant);
            let request = v1::AssignUnexpectedDepositRequest { id, invoice_id, merchant_id, note };
            client.assign_unexpected_deposit(request).await?.into_inner().unexpected_deposit
        }
        UnexpectedDepositsCommand::Dismiss { id, note } => {
            let request = v1::DismissUnexpectedDepositRequest { id, note };
            client.dismiss_unexpected_deposit(request).await?.into_inner().unexpected_deposit
        }
    };
    Ok(Answer::table(ALL_COLUMNS, found.iter().map(row).collect()))
}

/// Reads page after page, up to `limit` rows.
async fn list(
    client: &mut Client,
    mut request: v1::ListUnexpectedDepositsRequest,
    limit: u32,
) -> Result<Vec<Value>, Status> {
    let limit = limit as usize;
    let mut rows = Vec::new();
    loop {
        let page = client.list_unexpected_deposits(request.clone()).await?.into_inner();
        rows.extend(page.unexpected_deposits.iter().map(row));
        request.page_token = page.next_page_token;
        if rows.len() >= limit || request.page_token.is_none() {
            rows.truncate(limit);
            return Ok(rows);
        }
    }
}

const fn on_the_wire(state: UnexpectedStateName) -> v1::UnexpectedDepositState {
    match state {
        UnexpectedStateName::Seen => v1::UnexpectedDepositState::Seen,
        UnexpectedStateName::Orphaned => v1::UnexpectedDepositState::Orphaned,
        UnexpectedStateName::Assigned => v1::UnexpectedDepositState::Assigned,
        UnexpectedStateName::Dismissed => v1::UnexpectedDepositState::Dismissed,
    }
}

fn row(one: &v1::UnexpectedDeposit) -> Value {
    let state = one.state().as_str_name().trim_start_matches("UNEXPECTED_DEPOSIT_STATE_");
    json!({
        "id": one.id,
        "created_at": moment(one.created_at),
        "network": one.network,
        "coin": one.coin,
        "contract": one.contract,
        "amount": one.amount,
        "amount_units": one.amount_units,
        "state": state.to_lowercase(),
        "confirmations": one.confirmations,
        "block_height": one.block_height,
        "is_creditable": one.is_creditable,
        "txid": one.txid,
        "ordinal": one.ordinal,
        "address": one.address,
        "address_network": one.address_network,
        "invoice_id": one.invoice_id,
        "merchant_id": one.merchant_id,
        "assigned_merchant_id": one.assigned_merchant_id,
        "assigned_invoice_id": one.assigned_invoice_id,
        "settled_at": moment(one.settled_at),
        "note": one.note,
    })
}
