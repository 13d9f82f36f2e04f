//! The transcoder without a wire: a call in process through it, beside the handler written by hand with
//! serde. What is left when the kernel, HTTP and the callers are taken away. Not here: the wire (`calls`).

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::handler;
use super::measure::{Series, figure, heading};
use crate::support::server::{Engine, TestServer};

/// Rounds of each.
const ROUNDS: usize = 5;
/// Calls of a round.
const CALLS: u64 = 40_000;

/// Runs it.
pub async fn run() {
    heading("Transcoding in process");
    let server = TestServer::start(Engine::Sqlite).await;
    let wanted = cryptopayment_sdk::CreateInvoice::new("ltc", "5");
    let invoice = server.client().create_invoice(wanted).await.unwrap().invoice.unwrap();
    let id = invoice.id.clone();
    server.finish().await;
    let router = handler::router(invoice);
    let paths = [format!("/api/v1/invoices/{id}"), format!("/hand/{id}")];
    let names = ["through the transcoder", "by hand with serde"];
    let mut series = names.map(|name| Series::new(name, "calls/s"));
    for _ in 0..ROUNDS {
        for (path, series) in paths.iter().zip(&mut series) {
            series.round(CALLS, calls(&router, path)).await;
        }
    }
    series.iter().for_each(Series::print);
    figure("CPU: transcoder / by hand", series[0].cpu() / series[1].cpu(), "");
}

async fn calls(router: &Router, path: &str) {
    for _ in 0..CALLS {
        let request = Request::get(path)
            .header("authorization", "Bearer pk_test_0:sk_test_0")
            .header("accept", "application/json")
            .body(Body::empty());
        let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}
