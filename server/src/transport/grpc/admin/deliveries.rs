//! The operator's DeliveryService: the delivery log of all merchants, and sending again.

use std::sync::Arc;

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::delivery_service_server::DeliveryService;
use cryptopayment_proto::v1 as merchant;
use tonic::{Request, Response, Status};

use super::{ACTOR, given, page_before, uuid};
use crate::domain::failure::{Failure, Reason};
use crate::signals::Signals;
use crate::store::delivery_log::OperatorFilter;
use crate::transport::convert;
use crate::transport::grpc::webhook_answers as answers;
use crate::transport::status::status;
use crate::usecase::list_deliveries::{self, not_found};
use crate::usecase::manage_keys::ManageKeys;
use crate::usecase::redeliver;

/// The service with what it needs.
#[derive(Clone)]
pub struct AdminDeliveryApi {
    /// Where the database and the outside world are.
    pub manage: Arc<ManageKeys>,
    /// Wakes the deliverer.
    pub signals: Signals,
}

#[tonic::async_trait]
impl DeliveryService for AdminDeliveryApi {
    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let message = request.get_ref();
        let filter = filter(message).map_err(status)?;
        let before = page_before(&message.page_token).map_err(status)?;
        let (deliveries, next) =
            list_deliveries::of_all(&self.manage.db, &filter, before).await.map_err(status)?;
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries: deliveries.iter().map(answers::delivery).collect(),
            next_page_token: next.map(|id| id.to_string()),
        }))
    }

    async fn get_delivery(
        &self,
        request: Request<v1::GetDeliveryRequest>,
    ) -> Result<Response<v1::GetDeliveryResponse>, Status> {
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let (delivery, attempts) =
            list_deliveries::get_any(&self.manage.db, id).await.map_err(status)?;
        Ok(Response::new(v1::GetDeliveryResponse {
            delivery: Some(answers::delivery(&delivery)),
            attempts: attempts.into_iter().map(answers::attempt).collect(),
        }))
    }

    async fn redeliver_delivery(
        &self,
        request: Request<v1::RedeliverDeliveryRequest>,
    ) -> Result<Response<v1::RedeliverDeliveryResponse>, Status> {
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let ManageKeys { db, env, .. } = &*self.manage;
        let delivery = redeliver::run_any(db, env, id, ACTOR).await.map_err(status)?;
        self.signals.deliveries.notify_one();
        let delivery = Some(answers::delivery(&delivery));
        Ok(Response::new(v1::RedeliverDeliveryResponse { delivery }))
    }
}

/// The filter that a request asks for.
fn filter(message: &v1::ListDeliveriesRequest) -> Result<OperatorFilter, Failure> {
    let of = merchant::ListDeliveriesRequest {
        page_token: None,
        invoice_id: message.invoice_id.clone(),
        event: message.event.clone(),
        state: message.state,
    };
    let merchant_id = given(&message.merchant_id)
        .map(|id| uuid("merchant_id", Reason::InvalidField, &id))
        .transpose()?;
    Ok(OperatorFilter { merchant_id, api_key: given(&message.api_key), of: answers::filter(&of)? })
}
