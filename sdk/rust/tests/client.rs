//! The client against a real gRPC server that misbehaves on purpose: what is retried, what is not,
//! and how streams resume.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, reason = "a test binary has no readers of its interface")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cryptopayment_proto::v1::event_service_server::{EventService, EventServiceServer};
use cryptopayment_proto::v1::invoice_service_server::{InvoiceService, InvoiceServiceServer};
use cryptopayment_proto::v1::stream_events_request;
use cryptopayment_sdk::{Client, CreateInvoice, Credentials, From, v1};
use futures_util::StreamExt as _;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

type Answers<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a stream tells before it ends, and how it ends.
type Told = (Vec<u64>, Status);

/// What the server does, call by call, and what it was asked.
#[derive(Clone, Default)]
struct Script {
    failures: Arc<Mutex<VecDeque<Status>>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Each stream ends with an error after its events.
    streams: Arc<Mutex<VecDeque<Told>>>,
}

impl Script {
    fn note(&self, what: impl Into<String>) -> Result<(), Status> {
        self.asked.lock().unwrap().push(what.into());
        self.failures.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl InvoiceService for Script {
    type WatchInvoiceStream = Answers<v1::WatchInvoiceResponse>;

    async fn create_invoice(
        &self,
        request: Request<v1::CreateInvoiceRequest>,
    ) -> Result<Response<v1::CreateInvoiceResponse>, Status> {
        let key = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        assert_eq!(key, "Bearer pk_test_1:sk_test_1");
        let id = request.into_inner().request_id.unwrap();
        self.note(id.clone())?;
        let invoice = Some(v1::Invoice { id, ..Default::default() });
        Ok(Response::new(v1::CreateInvoiceResponse { invoice, ..Default::default() }))
    }

    async fn get_invoice(
        &self,
        _: Request<v1::GetInvoiceRequest>,
    ) -> Result<Response<v1::GetInvoiceResponse>, Status> {
        // Never answers: the caller's deadline must end it.
        std::future::pending().await
    }

    async fn list_invoices(
        &self,
        _: Request<v1::ListInvoicesRequest>,
    ) -> Result<Response<v1::ListInvoicesResponse>, Status> {
        self.note("list")?;
        Ok(Response::new(v1::ListInvoicesResponse::default()))
    }

    async fn cancel_invoice(
        &self,
        _: Request<v1::CancelInvoiceRequest>,
    ) -> Result<Response<v1::CancelInvoiceResponse>, Status> {
        self.note("cancel")?;
        Ok(Response::new(v1::CancelInvoiceResponse::default()))
    }

    async fn watch_invoice(
        &self,
        _: Request<v1::WatchInvoiceRequest>,
    ) -> Result<Response<Self::WatchInvoiceStream>, Status> {
        self.note("watch")?;
        let (states, end) = self.streams.lock().unwrap().pop_front().unwrap();
        let message = |paid: u64| v1::WatchInvoiceResponse {
            invoice: Some(v1::Invoice {
                paid_amount: paid.to_string(),
                is_final: paid == 100,
                ..Default::default()
            }),
        };
        let answers = states.into_iter().map(move |paid| Ok(message(paid))).chain([Err(end)]);
        Ok(Response::new(Box::pin(tokio_stream::iter(answers.collect::<Vec<_>>()))))
    }
}

#[tonic::async_trait]
impl EventService for Script {
    type StreamEventsStream = Answers<v1::StreamEventsResponse>;

    async fn list_events(
        &self,
        _: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        self.note(match request.into_inner().from.unwrap() {
            stream_events_request::From::After(after) => format!("after {after}"),
            stream_events_request::From::Start(start) => format!("start {start}"),
        })?;
        let (sequences, end) = self.streams.lock().unwrap().pop_front().unwrap();
        let message = |sequence: u64| v1::StreamEventsResponse {
            event: Some(v1::Event { sequence, ..Default::default() }),
            cursor: sequence,
        };
        let answers = sequences.into_iter().map(move |n| Ok(message(n))).chain([Err(end)]);
        Ok(Response::new(Box::pin(tokio_stream::iter(answers.collect::<Vec<_>>()))))
    }
}

async fn serve(script: &Script) -> Client {
    serve_with(script, Duration::from_secs(60)).await
}

/// The same for calls that take so long at most.
async fn serve_with(script: &Script, deadline: Duration) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(InvoiceServiceServer::new(script.clone()))
        .add_service(EventServiceServer::new(script.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Client::builder(url, Credentials::new("pk_test_1", "sk_test_1"))
        .deadline(deadline)
        .build()
        .unwrap()
}

fn down() -> Status {
    Status::unavailable("down")
}

#[tokio::test]
async fn a_creation_is_retried_under_one_request_id() {
    let script = Script::default();
    script.failures.lock().unwrap().extend([down(), down()]);
    let client = serve(&script).await;
    let created = client.create_invoice(CreateInvoice::new("ltc", "50")).await.unwrap();
    let asked = script.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|id| *id == created.invoice.as_ref().unwrap().id));

    let own = CreateInvoice::new("ltc", "50").request_id("order-1");
    client.create_invoice(own).await.unwrap();
    assert_eq!(script.asked().last().unwrap(), "order-1");
}

#[tokio::test]
async fn retries_are_bounded_and_only_for_unavailable() {
    let script = Script::default();
    script.failures.lock().unwrap().extend(std::iter::repeat_n(down(), 9));
    let client = serve(&script).await;
    let error = client.list_invoices(Default::default()).await.unwrap_err();
    assert_eq!((error.code(), script.asked().len()), (Some(Code::Unavailable), 4));

    let script = Script::default();
    let mut details = ErrorDetails::new();
    details.set_error_info("UNKNOWN_NETWORK", "cryptopayment", [] as [(String, String); 0]);
    details.add_bad_request_violation("network", "is unknown");
    let refused = Status::with_error_details(Code::InvalidArgument, "network is unknown", details);
    script.failures.lock().unwrap().push_back(refused);
    let client = serve(&script).await;
    let error = client.create_invoice(CreateInvoice::new("doge", "50")).await.unwrap_err();
    assert_eq!((error.reason(), script.asked().len()), (Some("UNKNOWN_NETWORK"), 1));
    let cryptopayment_sdk::Error::Api { violations, .. } = error else { panic!("no API error") };
    assert_eq!(violations[0].field, "network");
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline() {
    let client = serve_with(&Script::default(), Duration::from_millis(500)).await;
    let error = client.get_invoice("x").await.unwrap_err();
    let code = error.code().unwrap();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
}

#[tokio::test]
async fn a_stream_of_events_resumes_after_the_last_one_it_told() {
    let script = Script::default();
    script.streams.lock().unwrap().extend([
        (vec![1, 2], down()),
        (vec![], down()),
        (vec![3], Status::unknown("connection reset")),
        (vec![4], Status::permission_denied("revoked")),
    ]);
    let client = serve(&script).await;
    let told: Vec<_> = client.stream_events(From::Earliest).collect().await;
    let sequences: Vec<_> =
        told.iter().filter_map(|t| t.as_ref().ok()).map(|e| e.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4], "neither a gap nor a repeat");
    let last = told.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.code(), Some(Code::PermissionDenied), "what can not be cured ends it");
    assert_eq!(script.asked(), ["start 1", "after 2", "after 2", "after 3"]);
}

#[tokio::test]
async fn a_watch_resumes_without_repeating_and_ends_when_final() {
    let script = Script::default();
    script.streams.lock().unwrap().extend([(vec![0, 50], down()), (vec![50, 100], down())]);
    let client = serve(&script).await;
    let seen: Vec<_> = client.watch_invoice("x").map(|i| i.unwrap().paid_amount).collect().await;
    assert_eq!(seen, ["0", "50", "100"]);
    assert_eq!(script.asked(), ["watch", "watch"]);
}

#[test]
fn secrets_do_not_show() {
    let credentials = Credentials::new("pk_test_1", "sk_canary");
    assert!(!format!("{credentials:?}").contains("canary"));
}
