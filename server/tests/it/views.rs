//! Which fields answers have: the documented ones, or all by query and by the key's setting; and the
//! timeline, which is in full answers and in gRPC.

use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1::{RestView, UpdateApiKeyRequest};
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus, InvoiceTimelineKind as Kind};

use crate::conformance::world::World;
use crate::support::rest::Rest;
use crate::support::server::TestServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keys_view_acts_at_once_on_every_body_and_the_query_wins() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let invoice = world.invoice().await;
    let path = format!("/api/v1/invoices/{}", invoice.id);
    let is_full = |body: &str| body.contains("\"timeline\":[{\"kind\":\"created\"");
    assert!(!is_full(&rest.get(&path).await.body));
    assert!(is_full(&rest.get(&format!("{path}?view=full")).await.body));

    let api_key = world.server.credentials.0.clone();
    let change = |name: Option<&str>, view: Option<RestView>| UpdateApiKeyRequest {
        api_key: api_key.clone(),
        name: name.map(str::to_owned),
        rest_view: view.map(Into::into),
    };
    let key = world.server.update_key(change(None, Some(RestView::Full))).await.unwrap();
    assert_eq!((key.rest_view(), key.name.as_str()), (RestView::Full, "sandbox"));
    for full in [&path, "/api/v1/invoices", &format!("{path}?wait=1")] {
        assert!(is_full(&rest.get(full).await.body), "{full}");
    }
    let created = rest.post("/api/v1/invoices", r#"{"network":"ltc","amount_usd":5}"#).await;
    assert!(is_full(&created.body), "{}", created.body);
    for view in ["full", "basic"] {
        // The contract gives the parameter to GET alone; what writes looks as its key says.
        let path = format!("/api/v1/invoices?view={view}");
        let refused = rest.post(&path, r#"{"network":"ltc","amount_usd":5}"#).await;
        assert_eq!((refused.status, refused.code()), (400, "UNKNOWN_FIELD".to_owned()), "{view}");
    }
    let cancel = format!("/api/v1/invoices/{}/cancel", created.invoice_id());
    assert!(is_full(&rest.post(&cancel, "{}").await.body));
    assert!(rest.get("/api/v1/balances").await.body.contains("\"held\""));
    for basic in [format!("{path}?view=basic"), "/api/v1/invoices?view=basic".to_owned()] {
        assert!(!rest.get(&basic).await.body.contains("exception"), "{basic}");
    }

    let key = world.server.update_key(change(Some("Shop"), None)).await.unwrap();
    assert_eq!((key.rest_view(), key.name.as_str()), (RestView::Full, "Shop"), "the rest stays");
    world.server.update_key(change(None, Some(RestView::Basic))).await.unwrap();
    assert!(!is_full(&rest.get(&path).await.body));
    let refused = world.server.update_key(change(None, Some(RestView::Unspecified))).await;
    assert!(refused.unwrap_err().message().contains("rest_view"));
    let refused = world.server.update_key(change(Some("a\nb"), None)).await;
    assert!(refused.unwrap_err().message().contains("name"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeline_tells_what_happened_in_its_order() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let (paid, empty) = (world.invoice().await, world.invoice().await);
    let kinds = |invoice: &cryptopayment_sdk::v1::Invoice| -> Vec<Kind> {
        invoice.timeline.iter().map(|entry| entry.kind()).collect()
    };
    assert_eq!(kinds(&paid), [Kind::Created]);
    assert_eq!(paid.timeline[0].at, paid.created_at);
    let first = world.pay(&paid, 1, 2).await;
    world.wait(&paid, InvoiceStatus::Pending, InvoiceException::Underpaid).await;
    let second = world.pay(&paid, 1, 2).await;
    world.wait(&paid, InvoiceStatus::Confirming, InvoiceException::None).await;
    world.mine_deep(&paid).await;
    let done = world.wait(&paid, InvoiceStatus::Confirmed, InvoiceException::None).await;
    let expected = [
        (Kind::Created, None),
        (Kind::PaymentSeen, Some(first.as_str())),
        (Kind::PartiallyPaid, Some(first.as_str())),
        (Kind::PaymentSeen, Some(second.as_str())),
        (Kind::Detected, Some(second.as_str())),
        (Kind::Confirmed, Some(second.as_str())),
    ];
    let told: Vec<_> =
        done.timeline.iter().map(|entry| (entry.kind(), entry.txid.as_deref())).collect();
    assert_eq!(told, expected);

    world.expire().await;
    let expired = world.wait(&empty, InvoiceStatus::Expired, InvoiceException::None).await;
    assert_eq!(kinds(&expired), [Kind::Created, Kind::Expired]);
    let listed = world.client.list_invoices(Default::default()).await.unwrap().invoices;
    let of = |id: &str| listed.iter().find(|invoice| invoice.id == id).unwrap();
    assert_eq!((of(&paid.id), of(&empty.id)), (&done, &expired), "lists tell the same");
    let canceled = world.invoice().await;
    let canceled = world.client.cancel_invoice(&canceled.id).await.unwrap();
    assert_eq!(kinds(&canceled), [Kind::Created, Kind::Canceled]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_integrators_extra_keys_are_passed_over_where_that_is_set() {
    let body =
        r#"{"network":"ltc","amount_usd":5,"order_id":"ORD-1","Currency":"USD","test":{"a":[1]}}"#;
    let mut server = TestServer::start(crate::ENGINE).await;
    let refused = Rest::of(&server).post("/api/v1/invoices", body).await;
    assert_eq!((refused.status, refused.code()), (400, "UNKNOWN_FIELD".to_owned()));

    server.restart_with("[rest]\nunknown_fields = \"ignore\"").await;
    let rest = Rest::of(&server);
    let created = rest.post("/api/v1/invoices", body).await;
    assert_eq!(created.status, 200, "{}", created.body);
    assert_eq!(created.json()["invoice"]["order_id"], "ORD-1");
    let listed = rest.get("/api/v1/invoices?sort=asc").await;
    assert_eq!(listed.json()["pagination"]["total"], 1, "{}", listed.body);
    // What is known is read as ever.
    let wrong = rest.post("/api/v1/invoices", r#"{"network":"ltc","amount_usd":0.5,"a":1}"#).await;
    assert_eq!(
        (wrong.status, wrong.code()),
        (400, "AMOUNT_TOO_SMALL".to_owned()),
        "{}",
        wrong.body
    );
    server.finish().await;
}
