//! The calls about webhooks: the endpoint, what signs, the delivery log. Not here: checking what a
//! receiver got (`webhook`).

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::webhook_service_client::WebhookServiceClient;

use crate::{Client, Error};

/// A request id of our own: it makes a retry of the same call change nothing.
fn made_up() -> Option<String> {
    Some(uuid::Uuid::new_v4().to_string())
}

impl Client {
    /// Returns where this key's events are sent.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn webhook_endpoint(&self) -> Result<v1::WebhookEndpoint, Error> {
        let answer = self
            .safe(v1::GetWebhookEndpointRequest {}, |channel, request| async move {
                WebhookServiceClient::new(channel).get_webhook_endpoint(request).await
            })
            .await?;
        Ok(answer.endpoint.unwrap_or_default())
    }

    /// Changes where this key's events are sent; what is not given stays.
    ///
    /// # Errors
    /// `WEBHOOK_TARGET_REFUSED` for a URL that is not allowed.
    pub async fn update_webhook_endpoint(
        &self,
        change: v1::UpdateWebhookEndpointRequest,
    ) -> Result<v1::WebhookEndpoint, Error> {
        let answer = self
            .safe(change, |channel, request| async move {
                WebhookServiceClient::new(channel).update_webhook_endpoint(request).await
            })
            .await?;
        Ok(answer.endpoint.unwrap_or_default())
    }

    /// Sends a test body to this key's endpoint.
    ///
    /// # Errors
    /// `WEBHOOK_ENDPOINT_MISSING` without an endpoint.
    pub async fn send_test(&self) -> Result<v1::SendTestResponse, Error> {
        self.send_test_signed(false).await
    }

    /// Sends a test body that is signed with the next APP_KEY: does the receiver know it?
    ///
    /// # Errors
    /// `WEBHOOK_ENDPOINT_MISSING` without an endpoint, `APP_KEY_NEXT_MISSING` without a next key.
    pub async fn send_test_with_next_app_key(&self) -> Result<v1::SendTestResponse, Error> {
        self.send_test_signed(true).await
    }

    async fn send_test_signed(&self, use_next: bool) -> Result<v1::SendTestResponse, Error> {
        let request = v1::SendTestRequest { use_next_app_key: use_next };
        // The receiver may take longer than the deadline of a call.
        let request = self.request(request, false);
        let answer = WebhookServiceClient::new(self.channel.clone()).send_test(request).await?;
        Ok(answer.into_inner())
    }

    /// Makes the next APP_KEY, in the place of a next one made before. It signs nothing until
    /// [`Client::activate_app_key`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_app_key(&self) -> Result<v1::WebhookEndpoint, Error> {
        let request = v1::CreateAppKeyRequest { request_id: made_up() };
        let answer = self
            .safe(request, |channel, request| async move {
                WebhookServiceClient::new(channel).create_app_key(request).await
            })
            .await?;
        Ok(answer.endpoint.unwrap_or_default())
    }

    /// Puts the next APP_KEY in the place of the active one.
    ///
    /// # Errors
    /// `APP_KEY_NEXT_MISSING` without a next key.
    pub async fn activate_app_key(&self) -> Result<v1::WebhookEndpoint, Error> {
        let request = v1::ActivateAppKeyRequest { request_id: made_up() };
        let answer = self
            .safe(request, |channel, request| async move {
                WebhookServiceClient::new(channel).activate_app_key(request).await
            })
            .await?;
        Ok(answer.endpoint.unwrap_or_default())
    }

    /// Makes another Standard Webhooks secret; the one before signs too for 24 hours.
    ///
    /// # Errors
    /// `WEBHOOK_ENDPOINT_MISSING` without an endpoint.
    pub async fn rotate_signing_secret(&self) -> Result<v1::WebhookEndpoint, Error> {
        let request = v1::RotateSigningSecretRequest { request_id: made_up() };
        let answer = self
            .safe(request, |channel, request| async move {
                WebhookServiceClient::new(channel).rotate_signing_secret(request).await
            })
            .await?;
        Ok(answer.endpoint.unwrap_or_default())
    }

    /// Says why a receiver does not accept a body.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn verify_webhook(
        &self,
        request: v1::VerifyWebhookRequest,
    ) -> Result<v1::VerifyWebhookResponse, Error> {
        self.safe(request, |channel, request| async move {
            WebhookServiceClient::new(channel).verify_webhook(request).await
        })
        .await
    }

    /// Returns a page of deliveries, newest event first. Go on with `pagination.next_page_token`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_deliveries(
        &self,
        request: v1::ListDeliveriesRequest,
    ) -> Result<v1::ListDeliveriesResponse, Error> {
        self.safe(request, |channel, request| async move {
            WebhookServiceClient::new(channel).list_deliveries(request).await
        })
        .await
    }

    /// Returns one delivery with its attempts.
    ///
    /// # Errors
    /// `DELIVERY_NOT_FOUND` if it is not yours.
    pub async fn get_delivery(&self, id: &str) -> Result<v1::GetDeliveryResponse, Error> {
        let request = v1::GetDeliveryRequest { id: id.to_owned() };
        self.safe(request, |channel, request| async move {
            WebhookServiceClient::new(channel).get_delivery(request).await
        })
        .await
    }

    /// Sends a delivery again, out of turn. It returns before that is done.
    ///
    /// # Errors
    /// `DELIVERY_NOT_FOUND` if it is not yours, `WEBHOOK_ENDPOINT_MISSING` if its endpoint was
    /// removed.
    pub async fn redeliver(&self, id: &str) -> Result<v1::Delivery, Error> {
        let request = v1::RedeliverDeliveryRequest { id: id.to_owned(), request_id: made_up() };
        let answer = self
            .safe(request, |channel, request| async move {
                WebhookServiceClient::new(channel).redeliver_delivery(request).await
            })
            .await?;
        Ok(answer.delivery.unwrap_or_default())
    }
}
