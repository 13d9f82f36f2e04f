//! Which pages of a browser may call: those of the origins in `http.cors_origins`, and no others. The
//! headers are asked for as browsers do; a browser itself calls in tests/strangers.rs.

use reqwest::Method;

use crate::support::rest::{Answer, Rest, answer};
use crate::support::server::TestServer;

const SHOP: &str = "https://shop.example";
const OTHER: &str = "https://other.example";

/// What a browser asks before it sends a call of gRPC-web.
async fn preflight(rest: &Rest, origin: &str, path: &str) -> Answer {
    let request = rest
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-grpc-web");
    answer(request).await
}

fn cors_headers(got: &Answer) -> Vec<&str> {
    let names = got.headers.keys().map(|name| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

fn listed(got: &Answer, header: &str) -> Vec<String> {
    let text = got.headers.get(header).unwrap_or_else(|| panic!("no {header}")).to_str().unwrap();
    text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_named_origins_may_call_and_no_others() {
    let settings = format!("[http]\nlisten = \"127.0.0.1:0\"\ncors_origins = [\"{SHOP}\"]\n");
    let server = TestServer::with(crate::ENGINE, &settings).await;
    let rest = Rest::of(&server);
    for path in ["/cryptopayment.v1.InvoiceService/ListInvoices", "/api/v1/invoices"] {
        let allowed = preflight(&rest, SHOP, path).await;
        assert_eq!(allowed.status, 200, "{path}");
        assert_eq!(allowed.headers["access-control-allow-origin"], SHOP, "{path}");
        let headers = listed(&allowed, "access-control-allow-headers");
        for name in ["authorization", "content-type", "x-grpc-web", "grpc-timeout"] {
            assert!(headers.contains(&name.to_owned()), "{name} may not be sent: {headers:?}");
        }
        let refused = preflight(&rest, OTHER, path).await;
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{path}");
    }

    let called = rest.request(Method::GET, "/api/v1/balances").header("origin", SHOP);
    let called = answer(called).await;
    assert_eq!(
        (called.status, &called.headers["access-control-allow-origin"]),
        (200, &SHOP.parse().unwrap())
    );
    let exposed = listed(&called, "access-control-expose-headers");
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id", "etag"] {
        assert!(exposed.contains(&name.to_owned()), "{name} can not be read: {exposed:?}");
    }
    assert!(!called.headers.contains_key("access-control-allow-credentials"), "keys, no cookies");
    let called = rest.request(Method::GET, "/api/v1/balances").header("origin", OTHER);
    assert!(!answer(called).await.headers.contains_key("access-control-allow-origin"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_origins_no_answer_speaks_of_them() {
    let server = TestServer::start(crate::ENGINE).await;
    let rest = Rest::of(&server);
    let asked = preflight(&rest, SHOP, "/api/v1/invoices").await;
    // What can be called there, and not a word of who may.
    assert_eq!((asked.status, cors_headers(&asked)), (204, vec![]));
    let called = rest.request(Method::GET, "/api/v1/balances").header("origin", SHOP);
    let called = answer(called).await;
    assert_eq!((called.status, cors_headers(&called)), (200, vec![]));
    server.finish().await;
}
