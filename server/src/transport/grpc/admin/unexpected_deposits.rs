//! The operator's UnexpectedDepositService: what reached addresses that are not for it, and settling it.

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::unexpected_deposit_service_server::UnexpectedDepositService;
use tonic::{Request, Response, Status};

use super::{ACTOR, given, no_merchant, page_before, uuid};
use crate::domain::amount::decimal;
use crate::domain::asset::Network;
use crate::domain::failure::{Failure, Reason};
use crate::domain::unexpected::{UnexpectedState, creditable};
use crate::store::unexpected_deposits::{UnexpectedDeposit, UnexpectedFilter};
use crate::transport::convert;
use crate::transport::status::status;
use crate::usecase::cancel_invoice;
use crate::usecase::list_unexpected::{self, not_found};
use crate::usecase::settle_unexpected::{SettleUnexpected, Target};

/// The service with what it needs.
#[derive(Clone)]
pub struct AdminUnexpectedDepositApi {
    /// The use cases.
    pub settle: SettleUnexpected,
}

#[tonic::async_trait]
impl UnexpectedDepositService for AdminUnexpectedDepositApi {
    async fn list_unexpected_deposits(
        &self,
        request: Request<v1::ListUnexpectedDepositsRequest>,
    ) -> Result<Response<v1::ListUnexpectedDepositsResponse>, Status> {
        let message = request.get_ref();
        let filter = filter(message).map_err(status)?;
        let before = page_before(&message.page_token).map_err(status)?;
        let db = &self.settle.apply.db;
        let (found, next) = list_unexpected::run(db, &filter, before).await.map_err(status)?;
        Ok(Response::new(v1::ListUnexpectedDepositsResponse {
            unexpected_deposits: found.into_iter().map(shown).collect(),
            next_page_token: next.map(|id| id.to_string()),
        }))
    }

    async fn get_unexpected_deposit(
        &self,
        request: Request<v1::GetUnexpectedDepositRequest>,
    ) -> Result<Response<v1::GetUnexpectedDepositResponse>, Status> {
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let found = list_unexpected::get(&self.settle.apply.db, id).await.map_err(status)?;
        let unexpected_deposit = Some(shown(found));
        Ok(Response::new(v1::GetUnexpectedDepositResponse { unexpected_deposit }))
    }

    async fn assign_unexpected_deposit(
        &self,
        request: Request<v1::AssignUnexpectedDepositRequest>,
    ) -> Result<Response<v1::AssignUnexpectedDepositResponse>, Status> {
        let message = request.get_ref();
        let id = convert::id(&message.id, not_found).map_err(status)?;
        let target = target(message).map_err(status)?;
        let assigned = self.settle.assign(id, target, &message.note, ACTOR).await;
        let unexpected_deposit = Some(shown(assigned.map_err(status)?));
        Ok(Response::new(v1::AssignUnexpectedDepositResponse { unexpected_deposit }))
    }

    async fn dismiss_unexpected_deposit(
        &self,
        request: Request<v1::DismissUnexpectedDepositRequest>,
    ) -> Result<Response<v1::DismissUnexpectedDepositResponse>, Status> {
        let message = request.get_ref();
        let id = convert::id(&message.id, not_found).map_err(status)?;
        let dismissed = self.settle.dismiss(id, &message.note, ACTOR).await.map_err(status)?;
        let unexpected_deposit = Some(shown(dismissed));
        Ok(Response::new(v1::DismissUnexpectedDepositResponse { unexpected_deposit }))
    }
}

/// The filter that a request asks for.
fn filter(message: &v1::ListUnexpectedDepositsRequest) -> Result<UnexpectedFilter, Failure> {
    let id = |field: &str, text: &Option<String>| {
        given(text).map(|text| uuid(field, Reason::InvalidField, &text)).transpose()
    };
    let network = given(&message.network).map(|name| {
        name.parse::<Network>().map_err(|_| {
            let known = Network::ALL.map(Network::as_str).join(", ");
            Failure::field("network", Reason::UnknownNetwork, format!("is not one of {known}"))
        })
    });
    Ok(UnexpectedFilter {
        network: network.transpose()?,
        state: state_filter(message.state)?,
        invoice_id: id("invoice_id", &message.invoice_id)?,
        merchant_id: id("merchant_id", &message.merchant_id)?,
    })
}

/// The state that a filter names; UNSPECIFIED filters nothing.
fn state_filter(number: i32) -> Result<Option<UnexpectedState>, Failure> {
    use v1::UnexpectedDepositState as State;
    Ok(match State::try_from(number) {
        Ok(State::Unspecified) => None,
        Ok(State::Seen) => Some(UnexpectedState::Seen),
        Ok(State::Orphaned) => Some(UnexpectedState::Orphaned),
        Ok(State::Assigned) => Some(UnexpectedState::Assigned),
        Ok(State::Dismissed) => Some(UnexpectedState::Dismissed),
        Err(_) => return Err(Failure::field("state", Reason::InvalidField, "is no state")),
    })
}

/// Whom a request names: one of the two.
fn target(message: &v1::AssignUnexpectedDepositRequest) -> Result<Target, Failure> {
    match (given(&message.invoice_id), given(&message.merchant_id)) {
        (Some(invoice), None) => {
            let id = convert::id_in("invoice_id", &invoice, cancel_invoice::not_found)?;
            Ok(Target::Invoice(id))
        }
        (None, Some(merchant)) => {
            Ok(Target::Merchant(convert::id_in("merchant_id", &merchant, no_merchant)?))
        }
        (None, None) => {
            let hint = "is required, or merchant_id";
            Err(Failure::field("invoice_id", Reason::FieldRequired, hint))
        }
        (Some(_), Some(_)) => {
            let hint = "is not taken beside invoice_id, which says whose it is";
            Err(Failure::field("merchant_id", Reason::InvalidField, hint))
        }
    }
}

fn shown(one: UnexpectedDeposit) -> v1::UnexpectedDeposit {
    let state = match one.state {
        UnexpectedState::Seen => v1::UnexpectedDepositState::Seen,
        UnexpectedState::Orphaned => v1::UnexpectedDepositState::Orphaned,
        UnexpectedState::Assigned => v1::UnexpectedDepositState::Assigned,
        UnexpectedState::Dismissed => v1::UnexpectedDepositState::Dismissed,
    };
    v1::UnexpectedDeposit {
        id: one.id.to_string(),
        state: state.into(),
        network: one.network.as_str().to_owned(),
        amount: decimal(one.units, one.decimals),
        amount_units: one.units.to_string(),
        is_creditable: creditable(&one.coin).is_some(),
        coin: one.coin,
        contract: one.contract,
        txid: one.txid,
        ordinal: one.ordinal,
        address: one.address,
        address_network: one.address_network.as_str().to_owned(),
        invoice_id: one.invoice_id.map(|id| id.to_string()),
        merchant_id: one.merchant_id.map(|id| id.to_string()),
        confirmations: one.progress.map_or(0, |at| at.confirmations(one.block_height)),
        block_height: one.block_height,
        created_at: Some(convert::timestamp(one.created_at)),
        assigned_merchant_id: one.assigned_merchant_id.map(|id| id.to_string()),
        assigned_invoice_id: one.assigned_invoice_id.map(|id| id.to_string()),
        settled_at: one.settled_at.map(convert::timestamp),
        note: one.note,
    }
}
