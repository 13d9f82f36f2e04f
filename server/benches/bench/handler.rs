//! The peers of the wire: services that answer without looking anything up, over gRPC, through the
//! transcoder, and from a handler written by hand with serde. All on one port, in one process.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use cryptopayment::transport::calls::Services;
use cryptopayment::transport::listener::{self, ListenerLimits};
use cryptopayment_proto::v1::invoice_service_server::{InvoiceService, InvoiceServiceServer};
use cryptopayment_proto::{DESCRIPTOR_SET, v1};
use http::header::CONTENT_TYPE;
use rpc_gateway::{Gateway, Settings};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tower::ServiceExt as _;

/// Answers every call with the same invoice.
#[derive(Clone)]
pub struct SameInvoice(Arc<v1::Invoice>);

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

/// The documented answer, as somebody would write it who has this one message to serve.
#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    invoice: Shown<'a>,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    order_id: Option<&'a str>,
    status: &'static str,
    network: &'a str,
    network_label: &'a str,
    coin: &'a str,
    amount_usd: Box<RawValue>,
    amount_crypto: Box<RawValue>,
    address: &'a str,
    paid_amount: Box<RawValue>,
    txid: Option<&'a str>,
    confirmations: Confirmations,
    expires_at: String,
    created_at: String,
}

#[derive(Serialize)]
struct Confirmations {
    received: u32,
    required: u32,
}

async fn by_hand(State(same): State<SameInvoice>, Path(id): Path<String>) -> impl IntoResponse {
    // It builds its message anew, as the service does.
    let invoice = v1::Invoice::clone(&same.0);
    assert!(!id.is_empty());
    let confirmations = invoice.confirmations.unwrap_or_default();
    let answer = Answer {
        success: true,
        invoice: Shown {
            id: &invoice.id,
            order_id: invoice.order_id.as_deref(),
            status: match v1::InvoiceStatus::try_from(invoice.status) {
                Ok(v1::InvoiceStatus::Pending) => "pending",
                Ok(v1::InvoiceStatus::Confirming) => "confirming",
                Ok(v1::InvoiceStatus::Confirmed) => "confirmed",
                _ => "expired",
            },
            network: &invoice.network,
            network_label: &invoice.network_label,
            coin: &invoice.coin,
            amount_usd: number(&invoice.amount_usd),
            amount_crypto: number(&invoice.amount_crypto),
            address: &invoice.address,
            paid_amount: number(&invoice.paid_amount),
            txid: invoice.txid.as_deref(),
            confirmations: Confirmations {
                received: confirmations.received,
                required: confirmations.required,
            },
            expires_at: moment(invoice.expires_at.map_or(0, |at| at.seconds)),
            created_at: moment(invoice.created_at.map_or(0, |at| at.seconds)),
        },
    };
    let json = serde_json::to_vec(&answer).unwrap();
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], json)
}

/// A number token with at least two digits behind its point; nothing is plain `0`.
fn number(text: &str) -> Box<RawValue> {
    if text == "0" {
        return RawValue::from_string(text.to_owned()).unwrap();
    }
    let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let mut token = text.to_owned();
    if digits == 0 {
        token.push('.');
    }
    for _ in digits..2 {
        token.push('0');
    }
    RawValue::from_string(token).unwrap()
}

fn moment(seconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00", u8::from(month))
}

/// All of them; `/hand/ID` is the handler by hand, `/empty` one that answers an empty object.
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
        .route("/hand/{id}", get(by_hand))
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

/// Serves them.
pub async fn serve(invoice: v1::Invoice, stop: CancellationToken) -> String {
    let router = router(invoice);
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(listener::serve(socket, router, ListenerLimits::default(), stop));
    url
}
