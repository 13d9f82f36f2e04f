//! The operator's services: here merchants and keys, below networks, deliveries, unexpected deposits and
//! the ledger. Served on the admin socket alone.

pub mod deliveries;
pub mod ledger;
pub mod networks;
pub mod unexpected_deposits;

use std::sync::Arc;

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::api_key_service_server::ApiKeyService;
use cryptopayment_proto::admin::v1::merchant_service_server::MerchantService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::time::Micros;
use crate::store::keys::{self, ApiKey};
use crate::store::merchants::{self, Merchant};
use crate::transport::auth::Authenticator;
use crate::transport::convert;
use crate::transport::grpc::send_test::{TestSender, duration_ms};
use crate::transport::status::{status, store_status};
use crate::usecase::manage_keys::{EndpointChange, ManageKeys};
use crate::usecase::update_settings::{KeyChange, MerchantChange};
use crate::usecase::webhook_secrets::{app_key_text, secret_text};

/// Who stands in the audit log for calls through the socket.
const ACTOR: &str = "operator";

/// Both services with what they need.
#[derive(Clone)]
pub struct AdminApi {
    /// The use cases.
    pub manage: Arc<ManageKeys>,
    /// Forgets what changed.
    pub auth: Authenticator,
    /// Sends tests.
    pub tests: TestSender,
}

#[tonic::async_trait]
impl MerchantService for AdminApi {
    async fn create_merchant(
        &self,
        request: Request<v1::CreateMerchantRequest>,
    ) -> Result<Response<v1::CreateMerchantResponse>, Status> {
        let name = &request.get_ref().name;
        let merchant = self.manage.create_merchant(name, ACTOR).await.map_err(status)?;
        Ok(Response::new(v1::CreateMerchantResponse { merchant: Some(shown(&merchant)) }))
    }

    async fn approve_merchant(
        &self,
        request: Request<v1::ApproveMerchantRequest>,
    ) -> Result<Response<v1::ApproveMerchantResponse>, Status> {
        let id = merchant_id(&request.get_ref().id)?;
        let merchant = self.manage.approve_merchant(id, ACTOR).await.map_err(status)?;
        self.auth.forget_all();
        Ok(Response::new(v1::ApproveMerchantResponse { merchant: Some(shown(&merchant)) }))
    }

    async fn update_merchant(
        &self,
        request: Request<v1::UpdateMerchantRequest>,
    ) -> Result<Response<v1::UpdateMerchantResponse>, Status> {
        let message = request.get_ref();
        let id = merchant_id(&message.id)?;
        let change = MerchantChange {
            honors_late: message.late_policy.map(honors_late).transpose().map_err(status)?,
            shortfall_basis_points: message.shortfall_basis_points,
        };
        let merchant = self.manage.update_merchant(id, change, ACTOR).await.map_err(status)?;
        self.auth.forget_all();
        Ok(Response::new(v1::UpdateMerchantResponse { merchant: Some(shown(&merchant)) }))
    }

    async fn get_merchant(
        &self,
        request: Request<v1::GetMerchantRequest>,
    ) -> Result<Response<v1::GetMerchantResponse>, Status> {
        let id = merchant_id(&request.get_ref().id)?;
        let found = merchants::get(&self.manage.db, id).await.map_err(store_status)?;
        let merchant = found.as_ref().map(shown).ok_or_else(|| status(no_merchant()))?;
        Ok(Response::new(v1::GetMerchantResponse { merchant: Some(merchant) }))
    }

    async fn list_merchants(
        &self,
        _request: Request<v1::ListMerchantsRequest>,
    ) -> Result<Response<v1::ListMerchantsResponse>, Status> {
        let merchants = merchants::list(&self.manage.db).await.map_err(store_status)?;
        let merchants = merchants.iter().map(shown).collect();
        Ok(Response::new(v1::ListMerchantsResponse { merchants }))
    }
}

#[tonic::async_trait]
impl ApiKeyService for AdminApi {
    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let message = request.get_ref();
        let merchant = merchant_id(&message.merchant_id)?;
        let full = message.rest_view() == v1::RestView::Full;
        let created =
            self.manage.create_key(merchant, &message.name, full, ACTOR).await.map_err(status)?;
        Ok(Response::new(v1::CreateApiKeyResponse {
            key: Some(shown_key(&created.key)),
            api_secret: created.secret,
            app_key: created.app_key,
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<v1::RevokeApiKeyRequest>,
    ) -> Result<Response<v1::RevokeApiKeyResponse>, Status> {
        let public_id = &request.get_ref().api_key;
        let key = self.manage.revoke_key(public_id, ACTOR).await.map_err(status)?;
        self.auth.forget(public_id);
        Ok(Response::new(v1::RevokeApiKeyResponse { key: Some(shown_key(&key)) }))
    }

    async fn update_api_key(
        &self,
        request: Request<v1::UpdateApiKeyRequest>,
    ) -> Result<Response<v1::UpdateApiKeyResponse>, Status> {
        let message = request.into_inner();
        let full_view = message.rest_view.map(full_view).transpose().map_err(status)?;
        let change = KeyChange { name: message.name, full_view };
        let key = self.manage.update_key(&message.api_key, &change, ACTOR).await.map_err(status)?;
        self.auth.forget(&message.api_key);
        Ok(Response::new(v1::UpdateApiKeyResponse { key: Some(shown_key(&key)) }))
    }

    async fn get_api_key(
        &self,
        request: Request<v1::GetApiKeyRequest>,
    ) -> Result<Response<v1::GetApiKeyResponse>, Status> {
        let key = self.manage.key(&request.get_ref().api_key).await.map_err(status)?;
        Ok(Response::new(v1::GetApiKeyResponse { key: Some(shown_key(&key)) }))
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        let merchant = merchant_id(&request.get_ref().merchant_id)?;
        let keys = keys::of_merchant(&self.manage.db, merchant).await.map_err(store_status)?;
        let keys = keys.iter().map(shown_key).collect();
        Ok(Response::new(v1::ListApiKeysResponse { keys }))
    }

    async fn set_webhook(
        &self,
        request: Request<v1::SetWebhookRequest>,
    ) -> Result<Response<v1::SetWebhookResponse>, Status> {
        let message = request.into_inner();
        let change = EndpointChange { url: message.url, events: message.events };
        let key =
            self.manage.set_endpoint(&message.api_key, &change, ACTOR).await.map_err(status)?;
        self.auth.forget(&message.api_key);
        Ok(Response::new(v1::SetWebhookResponse { key: Some(shown_key(&key)) }))
    }

    async fn get_app_key(
        &self,
        request: Request<v1::GetAppKeyRequest>,
    ) -> Result<Response<v1::GetAppKeyResponse>, Status> {
        let key = self.manage.key(&request.get_ref().api_key).await.map_err(status)?;
        let signers = self.manage.signers(&key).map_err(status)?;
        Ok(Response::new(v1::GetAppKeyResponse {
            app_key: app_key_text(&signers.app_key),
            app_key_next: self.next_app_key(&key)?,
            signing_secret: signers.secrets.first().map(secret_text),
        }))
    }

    async fn create_app_key(
        &self,
        request: Request<v1::CreateAppKeyRequest>,
    ) -> Result<Response<v1::CreateAppKeyResponse>, Status> {
        let public_id = &request.get_ref().api_key;
        let key = self.manage.create_app_key(public_id, None, ACTOR).await.map_err(status)?;
        self.auth.forget(public_id);
        Ok(Response::new(v1::CreateAppKeyResponse {
            app_key: self.app_key(&key)?,
            app_key_next: self.next_app_key(&key)?.unwrap_or_default(),
        }))
    }

    async fn activate_app_key(
        &self,
        request: Request<v1::ActivateAppKeyRequest>,
    ) -> Result<Response<v1::ActivateAppKeyResponse>, Status> {
        let public_id = &request.get_ref().api_key;
        let key = self.manage.activate_app_key(public_id, None, ACTOR).await.map_err(status)?;
        self.auth.forget(public_id);
        Ok(Response::new(v1::ActivateAppKeyResponse { app_key: self.app_key(&key)? }))
    }

    async fn rotate_signing_secret(
        &self,
        request: Request<v1::RotateSigningSecretRequest>,
    ) -> Result<Response<v1::RotateSigningSecretResponse>, Status> {
        let public_id = &request.get_ref().api_key;
        let key = self.manage.rotate_signing_secret(public_id, None, ACTOR).await;
        let key = key.map_err(status)?;
        self.auth.forget(public_id);
        let signers = self.manage.signers(&key).map_err(status)?;
        let mut secrets = signers.secrets.iter().map(secret_text);
        Ok(Response::new(v1::RotateSigningSecretResponse {
            signing_secret: secrets.next().unwrap_or_default(),
            signing_secret_previous: secrets.next(),
        }))
    }

    async fn send_test(
        &self,
        request: Request<v1::SendTestRequest>,
    ) -> Result<Response<v1::SendTestResponse>, Status> {
        let message = request.get_ref();
        let sent = self.tests.send(&message.api_key, message.use_next_app_key).await;
        let outcome = sent.map_err(status)?;
        Ok(Response::new(v1::SendTestResponse {
            delivered: outcome.is_delivered(),
            status_code: outcome.status.map(u32::from),
            error: outcome.error.map(|error| error.as_str().to_owned()),
            duration_ms: duration_ms(&outcome),
        }))
    }
}

impl AdminApi {
    fn app_key(&self, key: &ApiKey) -> Result<String, Status> {
        Ok(app_key_text(&self.manage.signers(key).map_err(status)?.app_key))
    }

    fn next_app_key(&self, key: &ApiKey) -> Result<Option<String>, Status> {
        Ok(self.manage.next_app_key(key).map_err(status)?.as_ref().map(app_key_text))
    }
}

fn merchant_id(text: &str) -> Result<Uuid, Status> {
    convert::id(text, no_merchant).map_err(status)
}

fn no_merchant() -> Failure {
    Failure::new(Class::NotFound, Reason::MerchantNotFound, "there is no such merchant")
}

/// An optional text that is not empty.
fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// What a list goes on before, if it does.
fn page_before(token: &Option<String>) -> Result<Option<Uuid>, Failure> {
    given(token).map(|token| uuid("page_token", Reason::InvalidPageToken, &token)).transpose()
}

fn uuid(field: &str, reason: Reason, text: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(text).map_err(|_| Failure::field(field, reason, "is no UUID"))
}

fn honors_late(policy: i32) -> Result<bool, Failure> {
    match v1::LatePolicy::try_from(policy) {
        Ok(v1::LatePolicy::Reject) => Ok(false),
        Ok(v1::LatePolicy::Honor) => Ok(true),
        _ => Err(Failure::field("late_policy", Reason::InvalidField, "must be REJECT or HONOR")),
    }
}

fn full_view(view: i32) -> Result<bool, Failure> {
    match v1::RestView::try_from(view) {
        Ok(v1::RestView::Basic) => Ok(false),
        Ok(v1::RestView::Full) => Ok(true),
        _ => Err(Failure::field("rest_view", Reason::InvalidField, "must be BASIC or FULL")),
    }
}

fn shown(merchant: &Merchant) -> v1::Merchant {
    v1::Merchant {
        id: merchant.id.to_string(),
        name: merchant.name.clone(),
        approved: merchant.approved_at.is_some(),
        created_at: Some(convert::timestamp(Micros(merchant.created_at))),
        late_policy: match merchant.honors_late {
            true => v1::LatePolicy::Honor.into(),
            false => v1::LatePolicy::Reject.into(),
        },
        shortfall_basis_points: u32::try_from(merchant.shortfall_basis_points).unwrap_or(0),
    }
}

fn shown_key(key: &ApiKey) -> v1::ApiKey {
    let view = if key.rest_view == "full" { v1::RestView::Full } else { v1::RestView::Basic };
    let events = key.webhook_events.as_deref().filter(|events| !events.is_empty());
    v1::ApiKey {
        api_key: key.public_id.clone(),
        merchant_id: key.merchant_id.to_string(),
        name: key.name.clone(),
        revoked: key.revoked_at.is_some(),
        rest_view: view.into(),
        webhook_url: key.webhook_url.clone(),
        webhook_events: events
            .map(|events| events.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        created_at: Some(convert::timestamp(Micros(key.created_at))),
    }
}
