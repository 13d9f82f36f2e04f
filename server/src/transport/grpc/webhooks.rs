//! WebhookService: the endpoint of the calling key and what signs for it, the merchant's delivery log,
//! and help for whoever checks a signature.

use std::sync::Arc;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::webhook_service_server::WebhookService;
use tonic::{Request, Response, Status};

use super::send_test::{TestSender, duration_ms};
use super::{caller, webhook_answers as answers};
use crate::domain::failure::{Failure, Reason};
use crate::signals::Signals;
use crate::store::keys::ApiKey;
use crate::transport::auth::Authenticator;
use crate::transport::convert;
use crate::transport::status::status;
use crate::usecase::list_deliveries::{self, not_found};
use crate::usecase::manage_keys::{EndpointChange, ManageKeys, default_events};
use crate::usecase::webhook_secrets::{app_key_text, secret_text};
use crate::usecase::{Caller, redeliver};
use crate::webhook::diagnosis::{self, Evidence, Keys};

/// Bytes of a body that is verified: far more than any that is sent.
const VERIFIED_BYTES_MAX: usize = 65_536;
/// Bytes of a signature or header that is verified.
const VERIFIED_HEADER_BYTES_MAX: usize = 2_048;

/// The service with what it needs.
#[derive(Clone)]
pub struct WebhookApi {
    /// The use cases.
    pub manage: Arc<ManageKeys>,
    /// Forgets what changed.
    pub auth: Authenticator,
    /// Sends tests.
    pub tests: TestSender,
    /// Wakes the deliverer.
    pub signals: Signals,
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
        let changed = self.manage.set_endpoint(&caller.public_id, &change, &caller.public_id);
        let endpoint = Some(self.changed(&caller, changed.await)?);
        Ok(Response::new(v1::UpdateWebhookEndpointResponse { endpoint }))
    }

    async fn send_test(
        &self,
        request: Request<v1::SendTestRequest>,
    ) -> Result<Response<v1::SendTestResponse>, Status> {
        let caller = caller(&request)?;
        let with_next = request.get_ref().use_next_app_key;
        let outcome = self.tests.send(&caller.public_id, with_next).await.map_err(status)?;
        Ok(Response::new(v1::SendTestResponse {
            delivered: outcome.is_delivered(),
            status_code: outcome.status.map(u32::from),
            error: outcome.error.map(|error| error.as_str().to_owned()),
            duration_ms: duration_ms(&outcome),
        }))
    }

    async fn verify_webhook(
        &self,
        request: Request<v1::VerifyWebhookRequest>,
    ) -> Result<Response<v1::VerifyWebhookResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let evidence = evidence(message).map_err(status)?;
        let key = self.manage.key(&caller.public_id).await.map_err(status)?;
        let signers = self.manage.signers(&key).map_err(status)?;
        let app_key_next = self.manage.next_app_key(&key).map_err(status)?;
        let keys = Keys { app_key: signers.app_key, app_key_next, secrets: signers.secrets };
        let mut checks = vec![diagnosis::documented(&evidence, &keys)];
        if evidence.has_headers() {
            checks.push(diagnosis::standard(&evidence, &keys, self.manage.env.system_now()));
        }
        let subject = diagnosis::subject(evidence.body);
        let sent = match &subject {
            Some((invoice_id, event)) => {
                list_deliveries::sent(&self.manage.db, &caller, invoice_id, event)
                    .await
                    .map_err(status)?
            }
            None => None,
        };
        if let Some(sent) = &sent {
            let sent_for = Some(sent.delivery.api_key.as_str()).filter(|k| *k != key.public_id);
            diagnosis::compare(&mut checks, &evidence, &sent.bodies, sent_for);
        }
        Ok(Response::new(v1::VerifyWebhookResponse {
            valid: checks.iter().all(|check| check.is_valid),
            checks: checks.iter().map(answers::check).collect(),
            delivery_id: sent.map(|sent| sent.delivery.id.to_string()),
        }))
    }

    async fn create_app_key(
        &self,
        request: Request<v1::CreateAppKeyRequest>,
    ) -> Result<Response<v1::CreateAppKeyResponse>, Status> {
        let caller = caller(&request)?;
        let request_id = request.get_ref().request_id.as_deref();
        let id = &caller.public_id;
        let changed = self.manage.create_app_key(id, request_id, id).await;
        let endpoint = Some(self.changed(&caller, changed)?);
        Ok(Response::new(v1::CreateAppKeyResponse { endpoint }))
    }

    async fn activate_app_key(
        &self,
        request: Request<v1::ActivateAppKeyRequest>,
    ) -> Result<Response<v1::ActivateAppKeyResponse>, Status> {
        let caller = caller(&request)?;
        let request_id = request.get_ref().request_id.as_deref();
        let id = &caller.public_id;
        let changed = self.manage.activate_app_key(id, request_id, id).await;
        let endpoint = Some(self.changed(&caller, changed)?);
        Ok(Response::new(v1::ActivateAppKeyResponse { endpoint }))
    }

    async fn rotate_signing_secret(
        &self,
        request: Request<v1::RotateSigningSecretRequest>,
    ) -> Result<Response<v1::RotateSigningSecretResponse>, Status> {
        let caller = caller(&request)?;
        let request_id = request.get_ref().request_id.as_deref();
        let id = &caller.public_id;
        let changed = self.manage.rotate_signing_secret(id, request_id, id).await;
        let endpoint = Some(self.changed(&caller, changed)?);
        Ok(Response::new(v1::RotateSigningSecretResponse { endpoint }))
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let filter = answers::filter(message).map_err(status)?;
        let token = message.page_token.as_deref();
        let page =
            list_deliveries::run(&self.manage.db, &caller, &filter, token).await.map_err(status)?;
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries: page.deliveries.iter().map(answers::delivery).collect(),
            pagination: Some(v1::Pagination {
                page: None,
                per_page: list_deliveries::PER_PAGE,
                total: page.total,
                last_page: page.last_page,
                next_page_token: page.next_page_token,
            }),
        }))
    }

    async fn get_delivery(
        &self,
        request: Request<v1::GetDeliveryRequest>,
    ) -> Result<Response<v1::GetDeliveryResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id(&request.get_ref().id, not_found).map_err(status)?;
        let (delivery, attempts) =
            list_deliveries::get(&self.manage.db, &caller, id).await.map_err(status)?;
        Ok(Response::new(v1::GetDeliveryResponse {
            delivery: Some(answers::delivery(&delivery)),
            attempts: attempts.into_iter().map(answers::attempt).collect(),
        }))
    }

    async fn redeliver_delivery(
        &self,
        request: Request<v1::RedeliverDeliveryRequest>,
    ) -> Result<Response<v1::RedeliverDeliveryResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let id = convert::id(&message.id, not_found).map_err(status)?;
        let request_id = message.request_id.as_deref();
        let ManageKeys { db, env, .. } = &*self.manage;
        let delivery = redeliver::run(db, env, &caller, id, request_id).await.map_err(status)?;
        self.signals.deliveries.notify_one();
        let delivery = Some(answers::delivery(&delivery));
        Ok(Response::new(v1::RedeliverDeliveryResponse { delivery }))
    }
}

impl WebhookApi {
    /// The endpoint after a change, which the authenticator must not remember otherwise.
    fn changed(
        &self,
        caller: &Caller,
        key: Result<ApiKey, Failure>,
    ) -> Result<v1::WebhookEndpoint, Status> {
        self.auth.forget(&caller.public_id);
        self.shown(&key.map_err(status)?)
    }

    fn shown(&self, key: &ApiKey) -> Result<v1::WebhookEndpoint, Status> {
        let events = key.webhook_events.clone().unwrap_or_else(default_events);
        let signers = self.manage.signers(key).map_err(status)?;
        let next = self.manage.next_app_key(key).map_err(status)?;
        let mut secrets = signers.secrets.iter().map(secret_text);
        Ok(v1::WebhookEndpoint {
            url: key.webhook_url.clone(),
            events: events.split(',').map(str::to_owned).collect(),
            app_key: app_key_text(&signers.app_key),
            app_key_next: next.as_ref().map(app_key_text),
            signing_secret: secrets.next(),
            signing_secret_previous: secrets.next(),
        })
    }
}

/// What a receiver got, within bounds.
fn evidence(message: &v1::VerifyWebhookRequest) -> Result<Evidence<'_>, Failure> {
    if message.body.is_empty() {
        return Err(Failure::field("body", Reason::FieldRequired, "is required"));
    }
    let bounded = |name: &str, text: &str, bytes_max: usize| {
        let hint = format!("is longer than {bytes_max} bytes");
        let fits = text.len() <= bytes_max;
        fits.then_some(()).ok_or_else(|| Failure::field(name, Reason::InvalidField, hint))
    };
    bounded("body", &message.body, VERIFIED_BYTES_MAX)?;
    for (name, value) in [
        ("signature", &message.signature),
        ("webhook_id", &message.webhook_id),
        ("webhook_timestamp", &message.webhook_timestamp),
        ("webhook_signature", &message.webhook_signature),
    ] {
        bounded(name, value.as_deref().unwrap_or_default(), VERIFIED_HEADER_BYTES_MAX)?;
    }
    Ok(Evidence {
        body: &message.body,
        signature: message.signature.as_deref(),
        id: message.webhook_id.as_deref(),
        timestamp: message.webhook_timestamp.as_deref(),
        signatures: message.webhook_signature.as_deref(),
    })
}
