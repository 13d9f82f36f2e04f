//! Errors of the service behind the gateway: their HTTP status, what is told of them and what is
//! not, and what happens when the service panics, hangs, lies or is not there.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use rpc_gateway::{Gateway, Settings, reason};
use serde_json::{Value, json};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::{ServiceExt as _, service_fn};

use crate::contract::DESCRIPTOR_SET;
use crate::support::{house, house_with, settings};

#[tokio::test]
async fn every_grpc_code_has_its_status() {
    for (code, status, name) in [
        (1, 499, "CANCELLED"),
        (2, 500, "UNKNOWN"),
        (3, 400, "INVALID_ARGUMENT"),
        (4, 504, "DEADLINE_EXCEEDED"),
        (5, 404, "NOT_FOUND"),
        (6, 409, "ALREADY_EXISTS"),
        (7, 403, "PERMISSION_DENIED"),
        (8, 429, "RESOURCE_EXHAUSTED"),
        (9, 400, "FAILED_PRECONDITION"),
        (10, 409, "ABORTED"),
        (11, 400, "OUT_OF_RANGE"),
        (12, 501, "UNIMPLEMENTED"),
        (13, 500, "INTERNAL"),
        (14, 503, "UNAVAILABLE"),
        (15, 500, "DATA_LOSS"),
        (16, 401, "UNAUTHENTICATED"),
    ] {
        let answer = house().get(&format!("/api/v1/fail/{code}?how=because")).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        let told = answer.json();
        assert_eq!(told["success"], false);
        assert_eq!(told["error"]["code"], name);
        let message = if status == 500 { "internal error" } else { "because" };
        assert_eq!(told["message"], message, "{name}");
        let bearer = (status == 401).then_some("Bearer");
        assert_eq!(answer.header("www-authenticate"), bearer, "{name}");
        let retry = (status == 429).then_some("1");
        assert_eq!(answer.header("retry-after"), retry, "{name}");
    }
}

#[tokio::test]
async fn details_become_the_error() {
    let answer = house().get("/api/v1/fail/9?how=details").await;
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "BOOK_IS_LENT");
    assert_eq!(error["message"], "secret: 50% of \"é\"");
    let details = json!([{ "field": "book.id", "reason": "", "description": "is with a reader" }]);
    assert_eq!(error["details"], details);
    assert_eq!(error["doc_url"], "https://library.example/help");
    let foreign = house().get("/api/v1/fail/9?how=elsewhere").await.json();
    assert_eq!(foreign["error"]["code"], "FAILED_PRECONDITION", "another domain's reason");
}

#[tokio::test]
async fn internal_errors_keep_their_secrets() {
    for how in ["details", "secret", "elsewhere"] {
        let answer = house().get(&format!("/api/v1/fail/13?how={how}")).await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.json()["message"], "internal error");
        assert!(!answer.text.contains("secret") && !answer.text.contains("reader"));
        assert_eq!(answer.json()["error"]["details"], json!([]));
    }
}

#[tokio::test]
async fn waiting_times_are_passed_on() {
    for (code, wanted) in [(8, Some("7")), (14, Some("7")), (9, None)] {
        let answer = house().get(&format!("/api/v1/fail/{code}?how=wait")).await;
        assert_eq!(answer.header("retry-after"), wanted);
    }
    assert_eq!(house().get("/api/v1/fail/14?how=x").await.header("retry-after"), None);
}

#[tokio::test]
async fn values_that_are_no_token_are_never_written() {
    for how in ["number", "no+number", "text"] {
        let answer = house().get(&format!("/api/v1/fail/0?how={how}")).await;
        assert_eq!(answer.status, 500, "{how}: {}", answer.text);
        assert_eq!(answer.json()["error"]["code"], "INTERNAL");
        let message = answer.json()["message"].clone();
        assert_eq!(message, "internal error", "neither the value nor the cause is told");
    }
}

#[tokio::test]
async fn a_panic_fails_one_request() {
    let house = house();
    let answer = house.get("/api/v1/fail/0?how=panic").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["code"]),
        (500, &json!("INTERNAL"))
    );
    assert_eq!(house.get("/api/v1/stock").await.status, 200);
}

/// Log lines kept in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_request_id_of_an_error_finds_its_cause_in_the_log() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    // Of one subscriber alone, tracing asks the thread that first comes to a line whether it is logged, and
    // that may be another test's, which has none.
    let silent = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
    let _second = tracing::Dispatch::new(silent);
    let _until_the_end = tracing::subscriber::set_default(log);
    for (code, how, message) in [
        (13, "because", "the upstream failed"),
        (0, "panic", "the upstream panicked"),
        (0, "text", "an answer could not be written as JSON"),
    ] {
        let answer = house().get(&format!("/api/v1/fail/{code}?how={how}")).await;
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["request_id"]),
            (500, &json!(id))
        );
        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let read = |line| serde_json::from_str::<Value>(line).unwrap();
        let found = log.lines().map(read).find(|line| line["fields"]["message"] == message);
        let found = found.unwrap_or_else(|| panic!("{message:?} is not in {log}"));
        assert_eq!(found["span"]["request_id"], id, "{found}");
        let cause = found["fields"]["cause"].as_str();
        assert_eq!(cause, (how == "because").then_some("because"), "{found}");
    }
}

#[tokio::test]
async fn a_service_that_hangs_times_out() {
    let timeout = Some(Duration::from_millis(20));
    let house = house_with(Settings { upstream_timeout: timeout, ..settings() });
    let answer = house.get("/api/v1/fail/0?how=hang").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.json()["error"]["code"], "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn answers_have_a_longest_length() {
    let house = house_with(Settings { response_bytes_max: 32 * 1024, ..settings() });
    let answer = house.get("/api/v1/fail/0?how=long").await;
    assert_eq!((answer.status.as_u16(), answer.text.len() < 1024), (502, true));
}

/// A service behind the gateway that always answers this.
type Upstream = fn() -> Result<Response<Body>, Infallible>;

/// What a caller sees when the service behind answers with this.
async fn behind(response: Upstream) -> (StatusCode, Value) {
    let inner = service_fn(move |_: Request<Body>| async move { response() });
    let gateway = Gateway::new(&DESCRIPTOR_SET, settings()).unwrap();
    let request = Request::get("/api/v1/stock").body(Full::new(Bytes::new())).unwrap();
    let answer = gateway.into_service(inner).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

fn grpc(status: Option<&'static str>, body: &'static [u8]) -> Result<Response<Body>, Infallible> {
    let mut response = Response::builder().header("content-type", "application/grpc");
    if let Some(status) = status {
        response = response.header("grpc-status", status);
    }
    Ok(response.body(Body::new(Full::new(Bytes::from_static(body)))).unwrap())
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_grpc_is_a_bad_gateway() {
    let html = || Ok(Response::new(Body::new(Full::new(Bytes::from_static(b"<html>")))));
    let cases: [Upstream; 6] = [
        html,
        || grpc(None, &[0, 0, 0, 0, 0]),
        || grpc(Some("0"), &[]),
        || grpc(Some("0"), &[1, 0, 0, 0, 0]),
        || grpc(Some("0"), &[0, 0, 0, 0, 9]),
        || grpc(Some("0"), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for case in cases {
        let (status, told) = behind(case).await;
        assert_eq!(
            (status.as_u16(), &told["error"]["code"]),
            (502, &json!(reason::UPSTREAM_ERROR))
        );
    }
    let (status, told) = behind(|| grpc(Some("0"), &[0, 0, 0, 0, 1, 0xff])).await;
    assert_eq!((status.as_u16(), &told["error"]["code"]), (500, &json!("INTERNAL")), "no message");
    let (status, _) = behind(|| grpc(Some("nonsense"), &[])).await;
    assert_eq!(status, 500, "an unknown status");
    let (status, told) = behind(|| grpc(Some("0"), &[0, 0, 0, 0, 0])).await;
    assert_eq!((status.as_u16(), told), (200, json!({ "success": true })));
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_unavailable() {
    // Nobody listens there, and nobody is given it.
    let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let gateway = Gateway::new(&DESCRIPTOR_SET, settings()).unwrap();
    let request = Request::get("/api/v1/stock").body(Full::new(Bytes::new())).unwrap();
    let answer = gateway.into_service(channel).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 503);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told["error"]["code"], reason::UPSTREAM_ERROR);
    assert!(!told.to_string().contains("onnect error"), "{told}");
}
