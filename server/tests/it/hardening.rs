//! What an attacker tries at the door: paths that one part reads otherwise than another, headers that
//! end where they should not, browsers of other origins, caches. The table of bad input is in
//! `bad_input`; connections and HTTP/2 are in the listener's own tests.

use std::convert::Infallible;

use cryptopayment_proto::DESCRIPTOR_SET;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use reqwest::{Method, header::HeaderMap};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{Service as _, ServiceExt as _};

use crate::support::rest::{Rest, answer};
use crate::support::server::{DEADLINE, TestServer};

/// gRPC's UNIMPLEMENTED and UNAUTHENTICATED.
const CLOSED: [&str; 2] = ["12", "16"];

/// Every method's path, `/package.Service/Method`.
fn methods() -> Vec<String> {
    let files = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap().file;
    let mut paths = Vec::new();
    for file in files.iter().filter(|file| file.package().starts_with("cryptopayment.")) {
        for service in &file.service {
            let prefix = format!("/{}.{}", file.package(), service.name());
            paths.extend(service.method.iter().map(|method| format!("{prefix}/{}", method.name())));
        }
    }
    paths
}

/// Other spellings of a path, which some servers take for the same one.
fn spellings(path: &str) -> Vec<String> {
    let (service, method) = path.rsplit_once('/').unwrap();
    vec![
        format!("{service}/%{:02x}{}", method.as_bytes()[0], &method[1..]),
        format!("{}/{method}", service.replace('.', "%2e")),
        format!("{service}%2f{method}"),
        format!("{path}/"),
        format!("/{path}"),
        format!("{service}//{method}"),
        format!("{service}/{method}%00"),
        format!("{service}/{method};a=b"),
        path.to_lowercase(),
    ]
}

fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_path_gets_past_the_key() {
    let server = TestServer::start(crate::ENGINE).await;
    let nobody = Rest::with(&server, None);
    let methods = methods();
    assert!(methods.len() > 30, "{methods:?}");
    for path in &methods {
        let payers = path.contains(".checkout.");
        for spelling in spellings(path).into_iter().chain((!payers).then(|| path.clone())) {
            for kind in ["application/grpc", "application/grpc-web+proto"] {
                let call = nobody.request(Method::POST, &spelling).header("content-type", kind);
                // An empty message in its frame.
                let got = answer(call.body(vec![0; 5])).await;
                let status = value(&got.headers, "grpc-status").unwrap_or_default();
                // gRPC itself is not spoken over HTTP/1 at all.
                let refused = got.status == 415 && got.code() == "UNSUPPORTED_MEDIA_TYPE";
                assert!(refused || CLOSED.contains(&status), "{spelling} as {kind}: {got:?}");
            }
        }
        let call = nobody.request(Method::POST, path).header("content-type", "application/json");
        assert_eq!(answer(call.body("{}")).await.status, 404, "{path} over REST");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_of_other_origins_are_not_let_in() {
    let http = "[http]\nlisten = \"127.0.0.1:0\"\ncors_origins = [\"https://shop.example\"]";
    let server = TestServer::with(crate::ENGINE, http).await;
    let rest = Rest::of(&server);
    let allowed = async |origin: &str, method: Method| {
        let call = rest.request(method, "/api/v1/networks").header("origin", origin);
        let headers = answer(call.header("access-control-request-method", "GET")).await.headers;
        assert_eq!(value(&headers, "access-control-allow-credentials"), None);
        assert!(value(&headers, "vary").unwrap().contains("origin"), "{headers:?}");
        value(&headers, "access-control-allow-origin").map(str::to_owned)
    };
    for method in [Method::GET, Method::OPTIONS] {
        let named = allowed("https://shop.example", method.clone()).await;
        assert_eq!(named.as_deref(), Some("https://shop.example"));
        for other in [
            "https://evil.example",
            "https://shop.example.evil.example",
            "https://shop.example:444",
            "http://shop.example",
            "https://SHOP.example",
            "null",
        ] {
            assert_eq!(allowed(other, method.clone()).await, None, "{other}");
        }
    }
    let page = answer(rest.request(Method::GET, "/pay/x").header("origin", "https://shop.example"));
    assert_eq!(value(&page.await.headers, "access-control-allow-origin"), None);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_kept_by_no_cache_and_taken_for_no_page() {
    let server = TestServer::start(crate::ENGINE).await;
    let rest = Rest::of(&server);
    let script = "%3Cb%20onload=alert(1)%3E";
    for path in [
        "/api/v1/balances".to_owned(),
        format!("/api/v1/invoices?{script}=1"),
        format!("/api/v1/invoices/{script}"),
        format!("/{script}"),
        format!("/checkout/v1/invoices/{script}"),
        format!("/pay/{script}"),
        format!("/assets/{script}"),
    ] {
        let got = rest.get(&path).await;
        assert_eq!(value(&got.headers, "cache-control"), Some("no-store"), "{path}");
        assert_eq!(value(&got.headers, "x-content-type-options"), Some("nosniff"), "{path}");
        let is_page = value(&got.headers, "content-type").unwrap().starts_with("text/html");
        assert!(!is_page || !got.body.contains("alert"), "{path} is reflected: {}", got.body);
    }
    // Whatever a caller calls its request, the header stays one line.
    for id in ["a b", "é", "a\tb", "\"<b>", &"x".repeat(500)] {
        let call = rest.request(Method::GET, "/api/v1/nowhere").header("x-request-id", id);
        let got = answer(call).await;
        let given = value(&got.headers, "x-request-id").unwrap();
        assert!(given.bytes().all(|byte| byte.is_ascii_graphic()) && given.len() <= 128, "{given}");
        assert_eq!(got.json()["error"]["request_id"], given);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_needs_no_key_sends_no_long_message() {
    let server = TestServer::start(crate::ENGINE).await;
    let mut channel = Channel::from_shared(server.url.clone()).unwrap().connect().await.unwrap();
    let (health, reflection) = (
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    );
    for (path, status) in [(health, Some("11")), (reflection, None)] {
        // A frame's head that names 5,000 bytes, and then nothing.
        let head = Frame::data(bytes::Bytes::from_static(&[0, 0, 0, 0x13, 0x88]));
        let body =
            StreamBody::new(stream::iter([Ok::<_, Infallible>(head)]).chain(stream::pending()));
        let call = http::Request::post(path).header("content-type", "application/grpc");
        let call = call.body(Body::new(body)).unwrap();
        let asked = async {
            let got = channel.ready().await.unwrap().call(call).await.unwrap();
            assert_eq!(value(got.headers(), "grpc-status"), status, "{path}");
            // Reflection ends without a word.
            got.into_body().collect().await.unwrap();
        };
        let refused = tokio::time::timeout(DEADLINE / 4, asked).await;
        assert!(refused.is_ok(), "{path} waits for 5,000 bytes");
    }
    server.finish().await;
}
