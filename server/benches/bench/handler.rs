//! The peers of the wire: services that answer without looking anything up, over gRPC and through the
//! transcoder, and the handlers written by hand (`by_hand`). All on one port, in one process.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use cryptopayment::env::Env;
use cryptopayment::transport::calls::Services;
use cryptopayment::transport::listener::{self, ListenerLimits, Requests};
use cryptopayment_proto::v1::invoice_service_server::{InvoiceService, InvoiceServiceServer};
use cryptopayment_proto::{DESCRIPTOR_SET, v1};
use http::header::CONTENT_TYPE;
use rpc_gateway::{Gateway, Settings};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tower::ServiceExt as _;

use super::by_hand::{self, Looked};

/// Answers every call with the same invoice.
#[derive(Clone)]
pub struct SameInvoice(pub Arc<v1::Invoice>);

type NoStream = tokio_stream::Empty<Result<v1::WatchInvoiceResponse, Status>>;

#[tonic::async_trait]
impl InvoiceService for SameInvoice {
    type WatchInvoiceStream = NoStream;

    async fn create_invoice(
        &self,
        _request: Request<v1::CreateInvoiceRequest>,
    ) -> Result<Response<v1::CreateInvoiceResponse>, Status> {
        let invoice = Some(v1::Invoice::clone(&self.0));
        let checkout_url = "http://127.0.0.1/pay/0".to_owned();
        Ok(Response::new(v1::CreateInvoiceResponse { invoice, checkout_url }))
    }

    async fn get_invoice(
        &self,
        _request: Request<v1::GetInvoiceRequest>,
    ) -> Result<Response<v1::GetInvoiceResponse>, Status> {
        let invoice = Some(v1::Invoice::clone(&self.0));
        Ok(Response::new(v1::GetInvoiceResponse { invoice }))
    }

    async fn list_invoices(
        &self,
        _request: Request<v1::ListInvoicesRequest>,
    ) -> Result<Response<v1::ListInvoicesResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn cancel_invoice(
        &self,
        _request: Request<v1::CancelInvoiceRequest>,
    ) -> Result<Response<v1::CancelInvoiceResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn watch_invoice(
        &self,
        _request: Request<v1::WatchInvoiceRequest>,
    ) -> Result<Response<NoStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

/// Those that look nothing up; `/hand/ID` is the handler by hand, `/empty` answers an empty object.
pub fn router(invoice: v1::Invoice) -> Router {
    let same = SameInvoice(Arc::new(invoice));
    let services = Services::default().with(InvoiceServiceServer::new(same.clone()));
    let calls = tower::service_fn(move |request| services.answer(request));
    let settings = Settings {
        default_success_key: Some("success".to_owned()),
        services: Arc::new(|name| name == "cryptopayment.v1.InvoiceService"),
        ..Settings::default()
    };
    let rest = Gateway::new(DESCRIPTOR_SET, settings).unwrap().into_service(calls.clone());
    Router::new()
        .route("/hand/{id}", get(by_hand::same))
        .route("/empty", post(|| async { ([(CONTENT_TYPE, "application/json")], "{}") }))
        .with_state(same)
        .fallback(move |request: axum::extract::Request| {
            let (calls, rest) = (calls.clone(), rest.clone());
            async move {
                let kind = request.headers().get(CONTENT_TYPE);
                if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
                    let Ok(answer) = calls.oneshot(request.map(tonic::body::Body::new)).await;
                    return answer.map(axum::body::Body::new);
                }
                let Ok(answer) = rest.oneshot(request).await;
                answer.map(axum::body::Body::new)
            }
        })
}

/// Serves them, and at `/looked-up/ID` the handler by hand that reads the database.
pub async fn serve(invoice: v1::Invoice, database_url: &str, stop: CancellationToken) -> String {
    let looked = Looked::up(database_url).await;
    let reads = Router::new().route("/looked-up/{id}", get(by_hand::looked_up)).with_state(looked);
    let router = router(invoice).merge(reads);
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    // The listener is the same for all: each request has an id.
    let internal_url = "https://docs.example/errors#internal".to_owned();
    let requests = Requests { env: Env::system(), internal_url };
    tokio::spawn(listener::serve_api(socket, router, requests, ListenerLimits::default(), stop));
    url
}
