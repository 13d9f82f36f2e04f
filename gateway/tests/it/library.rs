//! The library's tonic server. It remembers what arrived, so that tests can ask what a caller's
//! request became, and fails in every way it is asked to.

use std::sync::{Arc, Mutex};

use prost_types::{Struct, Timestamp, Value, value::Kind};
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::contract::library_v1::library_service_server::{LibraryService, LibraryServiceServer};
use crate::contract::library_v1::plain_service_server::{PlainService, PlainServiceServer};
use crate::contract::library_v1::*;
use crate::loans::{LoanStream, Loans};

pub const DOMAIN: &str = "library.example";

/// What arrived: metadata and the message in Rust's debug form.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub metadata: MetadataMap,
    pub message: String,
}

#[derive(Debug, Clone, Default)]
pub struct Library {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    pub loans: Loans,
}

impl Library {
    pub fn routes(&self) -> Routes {
        Routes::new(LibraryServiceServer::new(self.clone()))
            .add_service(PlainServiceServer::new(self.clone()))
            .prepare()
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    fn note<T: std::fmt::Debug>(&self, request: &Request<T>) -> String {
        let message = format!("{:?}", request.get_ref());
        let metadata = request.metadata().clone();
        self.arrived.lock().unwrap().push(Arrived { metadata, message: message.clone() });
        message
    }
}

/// 2024-01-15T10:30:00Z.
pub const DUE_SECONDS: i64 = 1_705_314_600;

pub fn book(id: &str) -> Book {
    Book {
        id: id.to_owned(),
        title: "On \"Growth\" and Form\n".to_owned(),
        mark: None,
        state: BookState::OnShelf.into(),
        weight: "1.5".to_owned(),
        fine: "0".to_owned(),
        loans: 0,
        size: Some(Size { width: 0, height: 19 }),
        due_at: Some(Timestamp { seconds: DUE_SECONDS, nanos: 999_999_999 }),
        notes: r#"{"b":1.10,"a":[1e400,"\u00e9"]}"#.to_owned(),
        bought_at: Some(Timestamp { seconds: DUE_SECONDS, nanos: 500_000_000 }),
        wear: u64::MAX,
    }
}

fn stock(place: &str, shelved: &str) -> Stock {
    let (place, shelved) = (place.to_owned(), shelved.to_owned());
    Stock { place, exact: shelved.clone(), shelved, lent: "0".to_owned() }
}

#[tonic::async_trait]
impl LibraryService for Library {
    async fn create_book(
        &self,
        request: Request<CreateBookRequest>,
    ) -> Result<Response<CreateBookResponse>, Status> {
        let echo = self.note(&request);
        let request = request.into_inner();
        let book = Book { title: request.title, weight: "2".to_owned(), ..book("7") };
        Ok(Response::new(CreateBookResponse {
            book: Some(book),
            page_url: "https://library.example/7".to_owned(),
            request_id: request.request_id,
            echo,
        }))
    }

    async fn get_book(
        &self,
        request: Request<GetBookRequest>,
    ) -> Result<Response<GetBookResponse>, Status> {
        self.note(&request);
        let id = request.into_inner().id;
        let mut response = Response::new(GetBookResponse { book: Some(book(&id)) });
        response.metadata_mut().insert("etag", "\"v1\"".parse().unwrap());
        response.metadata_mut().insert("x-secret", "inner".parse().unwrap());
        if id == "full" {
            response.metadata_mut().insert("x-gateway-view", "full".parse().unwrap());
        }
        Ok(response)
    }

    async fn list_books(
        &self,
        request: Request<ListBooksRequest>,
    ) -> Result<Response<ListBooksResponse>, Status> {
        let echo = self.note(&request);
        let pagination = Some(Page { page: None, per_page: 20, total: 1 << 60 });
        Ok(Response::new(ListBooksResponse { books: Vec::new(), pagination, echo }))
    }

    async fn get_stock(
        &self,
        request: Request<GetStockRequest>,
    ) -> Result<Response<GetStockResponse>, Status> {
        self.note(&request);
        let stocks = vec![stock("Tower", "450.000000000"), stock("Attic", "0.0250000001")];
        Ok(Response::new(GetStockResponse { stocks }))
    }

    async fn update_book(
        &self,
        request: Request<UpdateBookRequest>,
    ) -> Result<Response<CreateBookResponse>, Status> {
        let echo = self.note(&request);
        let page_url = request.into_inner().book.unwrap_or_default().id;
        Ok(Response::new(CreateBookResponse { echo, page_url, ..Default::default() }))
    }

    async fn lend_book(
        &self,
        request: Request<LendBookRequest>,
    ) -> Result<Response<GetBookResponse>, Status> {
        self.note(&request);
        Ok(Response::new(GetBookResponse { book: None }))
    }

    async fn delete_book(&self, request: Request<GetBookRequest>) -> Result<Response<()>, Status> {
        self.note(&request);
        Ok(Response::new(()))
    }

    async fn get_file(
        &self,
        request: Request<GetFileRequest>,
    ) -> Result<Response<GetFileResponse>, Status> {
        self.note(&request);
        let path = request.into_inner().path;
        let value = |kind| Value { kind: Some(kind) };
        let fields = [
            ("b".to_owned(), value(Kind::NumberValue(1.5))),
            ("a".to_owned(), value(Kind::NullValue(0))),
        ];
        let content = Some(Struct { fields: fields.into() });
        Ok(Response::new(GetFileResponse { path, content }))
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<Response<FailResponse>, Status> {
        self.note(&request);
        let FailRequest { code, how } = request.into_inner();
        let code = tonic::Code::from(code);
        let (number, text) = match how.as_str() {
            "panic" => panic!("asked for"),
            "hang" => std::future::pending().await,
            "long" => (format!("1.{}", "1".repeat(64 * 1024)), "1".to_owned()),
            "number" => ("1e5".to_owned(), "1".to_owned()),
            "no number" => (String::new(), "1".to_owned()),
            "text" => ("1".to_owned(), "{,}".to_owned()),
            "no text" => ("-1.50".to_owned(), String::new()),
            _ => return Err(status(code, &how)),
        };
        Ok(Response::new(FailResponse { number, text }))
    }

    type WatchBookStream = tokio_stream::Empty<Result<WatchBookResponse, Status>>;

    async fn watch_book(
        &self,
        _: Request<WatchBookRequest>,
    ) -> Result<Response<Self::WatchBookStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn get_loan(
        &self,
        request: Request<GetLoanRequest>,
    ) -> Result<Response<GetLoanResponse>, Status> {
        self.note(&request);
        let loan = self.loans.now(&request.get_ref().id)?;
        Ok(Response::new(GetLoanResponse { loan: Some(loan) }))
    }

    type WatchLoanStream = LoanStream;

    async fn watch_loan(
        &self,
        request: Request<WatchLoanRequest>,
    ) -> Result<Response<Self::WatchLoanStream>, Status> {
        self.note(&request);
        let mut response = Response::new(self.loans.watch(&request.get_ref().id)?);
        if request.get_ref().id == "full" {
            response.metadata_mut().insert("x-gateway-view", "full".parse().unwrap());
        }
        Ok(response)
    }
}

fn status(code: tonic::Code, how: &str) -> Status {
    let mut details = ErrorDetails::new();
    match how {
        "details" => {
            details
                .set_error_info("BOOK_IS_LENT", DOMAIN, [])
                .add_bad_request_violation("book.id", "is with a reader")
                .add_help_link("see", "https://library.example/help");
        }
        "elsewhere" => {
            details.set_error_info("NOT_OURS", "elsewhere.example", []);
        }
        "wait" => {
            details.set_retry_info(Some(std::time::Duration::from_millis(6_500)));
        }
        _ => return Status::new(code, how),
    }
    Status::with_error_details(code, "secret: 50% of \"é\"", details)
}

#[tonic::async_trait]
impl PlainService for Library {
    async fn echo(&self, request: Request<Everything>) -> Result<Response<Everything>, Status> {
        self.note(&request);
        Ok(Response::new(request.into_inner()))
    }
}
