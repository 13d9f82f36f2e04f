//! WebhookService: the endpoint of the calling key.

use std::sync::Arc;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::webhook_service_server::WebhookService;
use tonic::{Request, Response, Status};

use super::caller;
use crate::domain::event::EventBody;
use crate::domain::failure::{Class, Failure, Reason};
use crate::store::keys::ApiKey;
use crate::transport::auth::Authenticator;
use crate::transport::status::status;
use crate::usecase::manage_keys::{EndpointChange, ManageKeys, default_events};
use crate::webhook::WebhookClient;
use crate::webhook::body::BodyWriter;

/// The event name of a test.
const TEST_EVENT: &str = "webhook.test";

/// The service with what it needs.
#[derive(Clone)]
pub struct WebhookApi {
    /// The use cases.
    pub manage: Arc<ManageKeys>,
    /// Forgets what changed.
    pub auth: Authenticator,
    /// Sends tests.
    pub client: WebhookClient,
    /// Writes and signs their bodies.
    pub bodies: BodyWriter,
}

#[tonic::async_trait]
impl WebhookService for WebhookApi {
    async fn get_webhook_endpoint(
        &self,
        request: Request<v1::GetWebhookEndpointRequest>,
    ) -> Result<Response<v1::GetWebhookEndpointResponse>, Status> {
        let caller = caller(&request)?;
        let key = self.manage.key(&caller.public_id).await.map_err(status)?;
        let endpoint = Some(self.shown(&key)?);
        Ok(Response::new(v1::GetWebhookEndpointResponse { endpoint }))
    }

    async fn update_webhook_endpoint(
        &self,
        request: Request<v1::UpdateWebhookEndpointRequest>,
    ) -> Result<Response<v1::UpdateWebhookEndpointResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let change = EndpointChange { url: message.url, events: message.events };
        let key = self
            .manage
            .set_endpoint(&caller.public_id, &change, &caller.public_id)
            .await
            .map_err(status)?;
        self.auth.forget(&caller.public_id);
        let endpoint = Some(self.shown(&key)?);
        Ok(Response::new(v1::UpdateWebhookEndpointResponse { endpoint }))
    }

    async fn send_test(
        &self,
        request: Request<v1::SendTestRequest>,
    ) -> Result<Response<v1::SendTestResponse>, Status> {
        let caller = caller(&request)?;
        let key = self.manage.key(&caller.public_id).await.map_err(status)?;
        let url = key.webhook_url.clone().ok_or_else(|| {
            status(Failure::new(
                Class::FailedPrecondition,
                Reason::WebhookEndpointMissing,
                "the key has no webhook endpoint",
            ))
        })?;
        let app_key = self.manage.open_app_key(&key).map_err(status)?;
        let body = self
            .bodies
            .write(&self.test_body(), &app_key)
            .map_err(|error| status(Failure::internal(error.to_string())))?;
        let outcome = self.client.post(&url, http::HeaderMap::new(), body).await;
        Ok(Response::new(v1::SendTestResponse {
            delivered: outcome.is_delivered(),
            status_code: outcome.status.map(u32::from),
            error: outcome.error.map(|error| error.as_str().to_owned()),
            duration_ms: u32::try_from(outcome.duration_ms).unwrap_or(u32::MAX),
        }))
    }
}

impl WebhookApi {
    fn shown(&self, key: &ApiKey) -> Result<v1::WebhookEndpoint, Status> {
        let events = key.webhook_events.clone().unwrap_or_else(default_events);
        Ok(v1::WebhookEndpoint {
            url: key.webhook_url.clone(),
            events: events.split(',').map(str::to_owned).collect(),
            app_key: self.manage.app_key(key).map_err(status)?,
        })
    }

    /// A body of the documented form about no invoice: a handler that ships on `confirmed` does not
    /// ship on this.
    fn test_body(&self) -> EventBody {
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
            timestamp: self.manage.env.now().0,
        }
    }
}
