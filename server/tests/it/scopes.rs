//! A key that may do less than everything: what it may call it calls, what it lacks is refused by name, the
//! same over REST and gRPC. Not here: keys that are wrong, and whose they are.

use cryptopayment_sdk::CreateInvoice;
use sea_orm::{ConnectionTrait as _, Database};
use tonic::Code;

use crate::support::rest::Rest;
use crate::support::server::TestServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_fewer_scopes_calls_what_they_name_alone() {
    let server = TestServer::start(crate::ENGINE).await;
    let (key, secret) = server.another_key().await;
    let db = Database::connect(&server.database_url).await.unwrap();
    let sql =
        "UPDATE api_key SET scopes = 'SCOPE_INVOICES_READ,SCOPE_BALANCES_READ' WHERE public_id";
    let changed = db.execute_unprepared(&format!("{sql} = '{key}'")).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    db.close().await.unwrap();

    let rest = Rest::with(&server, Some(format!("Bearer {key}:{secret}")));
    for path in ["/api/v1/invoices", "/api/v1/balances"] {
        let answer = rest.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    let body = r#"{"network":"ltc","amount_usd":5}"#;
    for (answer, scope) in [
        (rest.post("/api/v1/invoices", body).await, "SCOPE_INVOICES_WRITE"),
        (rest.get("/api/v1/webhooks/endpoint").await, "SCOPE_WEBHOOKS_READ"),
        (rest.get("/api/v1/events").await, "SCOPE_EVENTS_READ"),
    ] {
        assert_eq!((answer.status, answer.code()), (403, "SCOPE_MISSING".to_owned()), "{scope}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(message, format!("the key lacks the scope {scope}"));
    }
    let client = server.client_of(&key, &secret);
    let refused = client.create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::PermissionDenied), "{refused:?}");
    assert_eq!(refused.reason(), Some("SCOPE_MISSING"));
    assert_eq!(client.list_invoices(Default::default()).await.unwrap().invoices, []);

    // Another key of the same merchant may do all, as before.
    server.client().create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
    server.finish().await;
}
