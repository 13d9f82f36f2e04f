//! Puts the services on one port: gRPC, gRPC-web and REST behind one authentication, with health and
//! reflection beside them; and the operator's services on the admin socket.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use cryptopayment_proto::DESCRIPTOR_SET;
use cryptopayment_proto::admin::v1::api_key_service_server::ApiKeyServiceServer;
use cryptopayment_proto::admin::v1::delivery_service_server::DeliveryServiceServer;
use cryptopayment_proto::admin::v1::ledger_service_server::LedgerServiceServer;
use cryptopayment_proto::admin::v1::merchant_service_server::MerchantServiceServer;
use cryptopayment_proto::admin::v1::network_service_server::NetworkServiceServer as AdminNetworkServiceServer;
use cryptopayment_proto::admin::v1::unexpected_deposit_service_server::UnexpectedDepositServiceServer;
use cryptopayment_proto::checkout::v1::checkout_service_server::CheckoutServiceServer;
use cryptopayment_proto::checkout::v1::sandbox_checkout_service_server::SandboxCheckoutServiceServer;
use cryptopayment_proto::options::v1::Audience;
use cryptopayment_proto::sandbox::v1::sandbox_service_server::SandboxServiceServer;
use cryptopayment_proto::v1::balance_service_server::BalanceServiceServer;
use cryptopayment_proto::v1::event_service_server::EventServiceServer;
use cryptopayment_proto::v1::invoice_service_server::InvoiceServiceServer;
use cryptopayment_proto::v1::network_service_server::NetworkServiceServer;
use cryptopayment_proto::v1::webhook_service_server::WebhookServiceServer;
use cryptopayment_proto::v1::withdrawal_service_server::WithdrawalServiceServer;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Version};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rpc_gateway::{Gateway, GatewayService};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, Service};
use tower_http::cors::CorsLayer;

use super::access::AccessRules;
use super::auth::Authenticator;
use super::calls::{Callers, Guarded, Services};
use super::grpc::admin::AdminApi;
use super::grpc::admin::deliveries::AdminDeliveryApi;
use super::grpc::admin::ledger::AdminLedgerApi;
use super::grpc::admin::networks::AdminNetworkApi;
use super::grpc::admin::unexpected_deposits::AdminUnexpectedDepositApi;
use super::grpc::balances::BalanceApi;
use super::grpc::checkout::CheckoutApi;
use super::grpc::events::EventApi;
use super::grpc::invoices::InvoiceApi;
use super::grpc::networks::NetworkApi;
use super::grpc::sandbox::SandboxApi;
use super::grpc::sandbox_checkout::SandboxCheckoutApi;
use super::grpc::webhooks::WebhookApi;
use super::grpc::withdrawals::WithdrawalApi;
use super::pages::{self, Pages};
use crate::metrics::CallMeter;

/// Where the page of error reasons is.
pub const ERRORS_PATH: &str = "/docs/errors";
/// Bytes of a gRPC request message.
const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a request message of health and reflection, which ask for no key: names, and nothing else.
const PROBE_BYTES_MAX: usize = 4 * 1024;
/// Headers that a page may send. `Authorization` has to be named: a wildcard does not cover it.
const CORS_SENT: [&str; 8] = [
    "authorization",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "if-none-match",
    "x-grpc-web",
    "x-request-id",
    "x-user-agent",
];
/// Headers of answers that a page may read.
const CORS_EXPOSED: [&str; 6] = [
    "etag",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "retry-after",
    "x-request-id",
];
/// How long a browser may keep what it was told before a call.
const CORS_PREFLIGHT_KEPT: Duration = Duration::from_secs(3_600);
/// The content types of gRPC-web, which HTTP/1 can carry too.
const GRPC_WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];
/// Packages that public reflection leaves out.
const HIDDEN_PACKAGES: [&str; 2] = ["cryptopayment.admin", "cryptopayment.signer"];

/// The services of the public port.
pub struct PublicServices {
    /// InvoiceService.
    pub invoices: InvoiceApi,
    /// BalanceService.
    pub balances: BalanceApi,
    /// NetworkService.
    pub networks: NetworkApi,
    /// WebhookService.
    pub webhooks: WebhookApi,
    /// EventService.
    pub events: EventApi,
    /// CheckoutService, and what its page shows.
    pub checkout: CheckoutApi,
    /// SandboxService and the checkout page's buttons, on a sandbox.
    pub sandbox: Option<SandboxApi>,
}

/// The services of the admin socket.
pub struct AdminServices {
    /// MerchantService and ApiKeyService.
    pub manage: AdminApi,
    /// NetworkService.
    pub networks: AdminNetworkApi,
    /// DeliveryService.
    pub deliveries: AdminDeliveryApi,
    /// LedgerService.
    pub ledger: AdminLedgerApi,
    /// UnexpectedDepositService.
    pub unexpected: AdminUnexpectedDepositApi,
}

/// The public port: what it serves, and what says that it does.
pub struct Public {
    /// Everything the port answers.
    pub router: Router,
    /// Begins at NOT_SERVING.
    pub health: HealthReporter,
}

/// The router of the public port.
pub async fn public(
    services: PublicServices,
    auth: Authenticator,
    counted: CallMeter,
    gateway: &Gateway,
    cors_origins: &[String],
) -> anyhow::Result<Public> {
    let pages = Pages::new(services.checkout.clone(), services.sandbox.as_ref());
    let (calls, health) = grpc_services(services).await?;
    let calls = calls.guarded(Callers::Public, auth, counted);
    // REST calls go through the very same authenticated services, in process.
    let rest = gateway.clone().into_service(calls.clone());
    let web = GrpcWebLayer::new().layer(calls);
    let errors = pages::errors::page(DESCRIPTOR_SET)?;
    let router = pages::errors_router(ERRORS_PATH, errors).fallback_service(Api { web, rest });
    let router = match cors(cors_origins)? {
        Some(cors) => router.layer(cors),
        None => router,
    };
    // Pages are for their own origin alone.
    Ok(Public { router: router.merge(pages::router(pages)), health })
}

/// Lets browsers of the named origins call; none are let in unless they are named.
fn cors(origins: &[String]) -> anyhow::Result<Option<CorsLayer>> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origins = origins
        .iter()
        .map(|origin| HeaderValue::from_str(origin))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::PATCH])
            .allow_headers(CORS_SENT.map(HeaderName::from_static))
            .expose_headers(CORS_EXPOSED.map(HeaderName::from_static))
            .max_age(CORS_PREFLIGHT_KEPT),
    ))
}

async fn grpc_services(services: PublicServices) -> anyhow::Result<(Services, HealthReporter)> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(&visible_files()?)
        .build_v1()?;
    let limit = REQUEST_BYTES_MAX;
    let mut served = Services::default()
        .with(InvoiceServiceServer::new(services.invoices).max_decoding_message_size(limit))
        .with(BalanceServiceServer::new(services.balances).max_decoding_message_size(limit))
        .with(NetworkServiceServer::new(services.networks).max_decoding_message_size(limit))
        .with(WebhookServiceServer::new(services.webhooks).max_decoding_message_size(limit))
        .with(EventServiceServer::new(services.events).max_decoding_message_size(limit))
        .with(WithdrawalServiceServer::new(WithdrawalApi).max_decoding_message_size(limit))
        .with(CheckoutServiceServer::new(services.checkout).max_decoding_message_size(limit))
        .with(health.max_decoding_message_size(PROBE_BYTES_MAX))
        .with(reflection.max_decoding_message_size(PROBE_BYTES_MAX));
    if let Some(sandbox) = services.sandbox {
        let buttons = SandboxCheckoutServiceServer::new(SandboxCheckoutApi(sandbox.clone()));
        served = served
            .with(buttons.max_decoding_message_size(limit))
            .with(SandboxServiceServer::new(sandbox).max_decoding_message_size(limit));
    }
    Ok((served, reporter))
}

/// The services of the admin socket.
pub fn admin(
    services: AdminServices,
    auth: Authenticator,
    counted: CallMeter,
) -> anyhow::Result<Guarded> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
        .build_v1()?;
    let AdminServices { manage, networks, deliveries, ledger, unexpected } = services;
    Ok(Services::default()
        .with(MerchantServiceServer::new(manage.clone()))
        .with(ApiKeyServiceServer::new(manage))
        .with(AdminNetworkServiceServer::new(networks))
        .with(DeliveryServiceServer::new(deliveries))
        .with(LedgerServiceServer::new(ledger))
        .with(UnexpectedDepositServiceServer::new(unexpected))
        .with(reflection)
        .guarded(Callers::Operator, auth, counted))
}

/// gRPC and gRPC-web as far as HTTP lets a request be that, REST whatever else it is: so that nothing is
/// answered by a status alone.
#[derive(Clone)]
struct Api {
    web: GrpcWebService<Guarded>,
    rest: GatewayService<Guarded>,
}

impl Service<axum::extract::Request> for Api {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<axum::response::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::extract::Request) -> Self::Future {
        if can_be_grpc(&request) {
            let answer = self.web.call(request);
            Box::pin(async move { Ok(answer.await?.map(axum::body::Body::new)) })
        } else {
            let answer = self.rest.call(request);
            Box::pin(async move { Ok(answer.await?.map(axum::body::Body::new)) })
        }
    }
}

/// Whether a request can be a gRPC call: gRPC is POST, over HTTP/2 or as gRPC-web. tonic-web refuses what
/// only calls itself so, without a word; the gateway says why.
fn can_be_grpc(request: &axum::extract::Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_named = content_type.is_some_and(|kind| {
        GRPC_WEB.contains(&kind)
            || (request.version() == Version::HTTP_2 && kind.starts_with("application/grpc"))
    });
    is_named && request.method() == Method::POST
}

/// The contract without the files that are nobody's business on the public port.
fn visible_files() -> anyhow::Result<Vec<u8>> {
    let mut set = FileDescriptorSet::decode(DESCRIPTOR_SET)?;
    set.file
        .retain(|file| !HIDDEN_PACKAGES.iter().any(|hidden| file.package().starts_with(hidden)));
    Ok(set.encode_to_vec())
}

/// The services that REST may reach on the public port: all but the operator's.
pub fn rest_services(rules: &AccessRules, is_sandbox: bool) -> Vec<String> {
    let served = rules.services_where(|rule| {
        let public =
            matches!(rule.audience, Audience::Merchant | Audience::Sandbox | Audience::Payer);
        public && (is_sandbox || !rule.is_sandbox_only())
    });
    served.into_iter().collect()
}
