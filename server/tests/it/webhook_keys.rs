//! What signs a webhook: APP_KEYs that are created, tested and activated, and Standard Webhooks with a
//! secret of its own, held against the documented handler and the official library.

use std::io::Write as _;
use std::process::{Child, Stdio};

use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1 as admin;
use cryptopayment_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus, UpdateWebhookEndpointRequest};
use cryptopayment_sdk::webhook::{self, StandardHeaders, VerifyError};
use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database, Statement};

use super::recipes::{Handler, interpreter, recipe};
use super::webhooks::{recorded, told_the_documented_two};
use crate::conformance::world::World;
use crate::support::receiver::Delivery;
use crate::support::rest::{Rest, answer};

/// What the documented handler answers to a body when it holds this APP_KEY.
async fn documented_handler(world: &World, app_key: &str, body: &[u8]) -> u16 {
    let log = world.server.directory.path().join("handler.log");
    let handler = Handler::start(app_key, &log).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(&handler.url).body(body.to_vec());
    request.send().await.unwrap().status().as_u16()
}

fn without_signature(body: &[u8]) -> serde_json::Value {
    let mut body: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert!(body.as_object_mut().unwrap().remove("signature").is_some());
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_activation_is_signed_with_the_new_key() {
    let world = told_the_documented_two(Network::Ltc).await;
    let old = world.server.app_key.clone();
    world.receiver.answer([500]);
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.receiver.wait_for(1).await;
    // The retry is a minute after the attempt is over, which is a moment after it came.
    recorded(&world, 1).await;

    let refused = world.client.send_test_with_next_app_key().await.unwrap_err();
    assert_eq!(refused.reason(), Some("APP_KEY_NEXT_MISSING"));
    let refused = world.client.activate_app_key().await.unwrap_err();
    assert_eq!(refused.reason(), Some("APP_KEY_NEXT_MISSING"));
    let created = world.client.create_app_key().await.unwrap();
    let new = created.app_key_next.unwrap();
    assert_eq!((created.app_key, new == old), (old.clone(), false));
    world.client.send_test().await.unwrap();
    world.client.send_test_with_next_app_key().await.unwrap();
    let activated = world.client.activate_app_key().await.unwrap();
    assert_eq!((activated.app_key, activated.app_key_next), (new.clone(), None));
    world.client.sandbox().advance_clock(61).await.unwrap();

    let got = world.receiver.wait_for(4).await;
    let [first, test, test_next, retry] = got.as_slice() else { panic!("{}", got.len()) };
    assert_eq!(retry.header("x-cryptopayment-attempt"), "2");
    assert_eq!(first.header("webhook-id"), retry.header("webhook-id"));
    assert_ne!(first.body, retry.body);
    assert_eq!(without_signature(&first.body), without_signature(&retry.body));
    for (delivery, key, other) in
        [(first, &old, &new), (test, &old, &new), (test_next, &new, &old), (retry, &new, &old)]
    {
        assert_eq!(documented_handler(&world, key, &delivery.body).await, 200);
        assert_eq!(documented_handler(&world, other, &delivery.body).await, 400);
        assert!(webhook::verify(key, &delivery.body).is_ok());
        assert_eq!(webhook::verify(other, &delivery.body), Err(VerifyError::BadSignature));
    }
    // The program's next start still knows which one is active.
    let mut world = world;
    world.server.restart().await;
    world.client = world.server.client();
    assert_eq!(world.client.webhook_endpoint().await.unwrap().app_key, new);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_of_a_rotation_changes_nothing_and_a_new_call_replaces_the_next_key() {
    let world = told_the_documented_two(Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let call = |path: &str, key: &str| {
        let request = rest
            .request(Method::POST, &format!("/api/v1/webhooks/{path}"))
            .header("content-type", "application/json")
            .header("Idempotency-Key", key.to_owned());
        async move {
            let answered = answer(request.body("{}")).await;
            assert_eq!(answered.status, 200, "{}", answered.body);
            answered.json()["endpoint"].clone()
        }
    };
    let first = call("app-key/create", "one").await;
    assert_eq!(call("app-key/create", "one").await, first);
    let second = call("app-key/create", "two").await;
    assert_ne!(second["app_key_next"], first["app_key_next"]);
    let without_key = rest.post("/api/v1/webhooks/app-key/create", "{}").await.json();
    assert_ne!(without_key["endpoint"]["app_key_next"], second["app_key_next"]);
    let next = without_key["endpoint"]["app_key_next"].clone();
    let active = call("app-key/activate", "one").await;
    assert_eq!((&active["app_key"], active["app_key_next"].is_null()), (&next, true));
    assert_eq!(call("app-key/activate", "one").await, active, "a repeat is no failure");
    let refused = rest.post("/api/v1/webhooks/app-key/activate", "{}").await;
    assert_eq!((refused.status, refused.code()), (400, "APP_KEY_NEXT_MISSING".to_owned()));
    let rotated = call("signing-secret/rotate", "one").await;
    assert_eq!(rotated["signing_secret_previous"], active["signing_secret"]);
    assert_eq!(call("signing-secret/rotate", "one").await, rotated);
    let long = rest
        .request(Method::POST, "/api/v1/webhooks/app-key/create")
        .header("content-type", "application/json");
    let long = answer(long.body(format!(r#"{{"request_id":"{}"}}"#, "x".repeat(256)))).await;
    assert_eq!((long.status, long.code()), (400, "INVALID_FIELD".to_owned()));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_rotates_too_and_every_rotation_is_in_the_audit_log() {
    let world = told_the_documented_two(Network::Ltc).await;
    let mut operator = ApiKeyServiceClient::new(world.server.admin().await);
    let api_key = world.server.credentials.0.clone();
    let request = admin::CreateAppKeyRequest { api_key: api_key.clone() };
    let created = operator.create_app_key(request).await.unwrap().into_inner();
    assert_eq!(created.app_key, world.server.app_key);
    let shown = operator.get_app_key(admin::GetAppKeyRequest { api_key: api_key.clone() });
    let shown = shown.await.unwrap().into_inner();
    assert_eq!(shown.app_key_next.as_ref(), Some(&created.app_key_next));
    let own = world.client.webhook_endpoint().await.unwrap();
    assert_eq!((own.app_key_next, own.signing_secret), (shown.app_key_next, shown.signing_secret));
    let request = admin::SendTestRequest { api_key: api_key.clone(), use_next_app_key: true };
    let tested = operator.send_test(request.clone()).await.unwrap().into_inner();
    assert_eq!((tested.delivered, tested.status_code, tested.error), (true, Some(200), None));
    let got = world.receiver.wait_for(1).await;
    assert!(webhook::verify(&created.app_key_next, &got[0].body).is_ok());
    let before = own_secret(&world).await;
    let rotate = admin::RotateSigningSecretRequest { api_key: api_key.clone() };
    let rotated = operator.rotate_signing_secret(rotate).await.unwrap().into_inner();
    assert_eq!(rotated.signing_secret_previous, before);
    assert_eq!(own_secret(&world).await, Some(rotated.signing_secret.clone()));
    operator.send_test(request).await.unwrap();
    let got = world.receiver.wait_for(2).await;
    assert!(own_library(&rotated.signing_secret, &got[1]));
    assert!(own_library(&before.unwrap(), &got[1]), "both sign for a while");
    let (without, _) = world.server.another_key().await;
    let request = admin::RotateSigningSecretRequest { api_key: without };
    let refused = operator.rotate_signing_secret(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);

    let request = admin::ActivateAppKeyRequest { api_key: api_key.clone() };
    let activated = operator.activate_app_key(request.clone()).await.unwrap().into_inner();
    assert_eq!(activated.app_key, created.app_key_next);
    let again = operator.activate_app_key(request).await.unwrap_err();
    assert_eq!(again.code(), tonic::Code::FailedPrecondition);
    let unknown = admin::CreateAppKeyRequest { api_key: "pk_test_0".to_owned() };
    assert_eq!(operator.create_app_key(unknown).await.unwrap_err().code(), tonic::Code::NotFound);

    // Many at once, of one key and of two: each stands in the audit log, none is lost to another.
    let (key, secret) = world.server.second_merchant().await;
    let other = world.server.client_of(&key, &secret);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..6 {
        for client in [world.client.clone(), other.clone()] {
            calls.spawn(async move { client.create_app_key().await });
        }
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap();
    }
    let db = sea_orm::Database::connect(&world.server.database_url).await.unwrap();
    for (action, actor, expected) in [
        ("app_key.create", "operator", 1_i64),
        ("app_key.activate", "operator", 1),
        ("signing_secret.rotate", "operator", 1),
        ("app_key.create", api_key.as_str(), 6),
        ("app_key.create", key.as_str(), 6),
    ] {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM audit_log WHERE action = '{action}' AND actor = '{actor}'"
        );
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        assert_eq!(row.try_get::<i64>("", "n").unwrap(), expected, "{action} by {actor}");
    }
    db.close().await.unwrap();
    world.finish().await;
}

/// The Standard Webhooks secret as the merchant sees it.
async fn own_secret(world: &World) -> Option<String> {
    world.client.webhook_endpoint().await.unwrap().signing_secret
}

fn standard_headers(delivery: &Delivery) -> [String; 3] {
    ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| delivery.header(name))
}

/// Whether Standard Webhooks' own Python library accepts a delivery.
async fn official_library(secret: &str, delivery: &Delivery) -> bool {
    let [id, timestamp, signature] = standard_headers(delivery);
    let (secret, body) = (secret.to_owned(), delivery.body.clone());
    let run = move || {
        let mut child: Child = interpreter("PYTHON", "python3")
            .arg(recipe("verify_standard.py"))
            .env("SIGNING_SECRET", secret)
            .env("WEBHOOK_ID", id)
            .env("WEBHOOK_TIMESTAMP", timestamp)
            .env("WEBHOOK_SIGNATURE", signature)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&body).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "the library is not there: {said}");
        said.trim() == "accepted"
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Whether our own library accepts it.
fn own_library(secret: &str, delivery: &Delivery) -> bool {
    let [id, timestamp, signature] = standard_headers(delivery);
    let headers = StandardHeaders { id: &id, timestamp: &timestamp, signature: &signature };
    webhook::verify_standard(secret, headers, &delivery.body).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_library_accepts_every_delivery_and_both_secrets_during_a_rotation() {
    let world = told_the_documented_two(Network::Trc20).await;
    let first_secret = world.client.webhook_endpoint().await.unwrap().signing_secret.unwrap();
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    world.receiver.wait_for(1).await;
    world.client.send_test().await.unwrap();
    let rotated = world.client.rotate_signing_secret().await.unwrap();
    let second_secret = rotated.signing_secret.unwrap();
    assert_eq!(rotated.signing_secret_previous.as_ref(), Some(&first_secret));
    assert_ne!(first_secret, second_secret);
    world.mine_deep(&invoice).await;
    world.receiver.wait_for(3).await;
    // The timestamp is the receiver's time, whatever the sandbox's clock says.
    world.client.sandbox().advance_clock(25 * 3_600).await.unwrap();
    let alone = world.client.webhook_endpoint().await.unwrap();
    assert_eq!(alone.signing_secret_previous, None);
    world.client.send_test().await.unwrap();
    let got = world.receiver.wait_for(4).await;

    let expected = [(true, false), (true, false), (true, true), (false, true)];
    for (delivery, (first, second)) in got.iter().zip(expected) {
        let event = delivery.event();
        assert_eq!(official_library(&first_secret, delivery).await, first, "{event}");
        assert_eq!(official_library(&second_secret, delivery).await, second, "{event}");
        assert_eq!(own_library(&first_secret, delivery), first, "{event}");
        assert_eq!(own_library(&second_secret, delivery), second, "{event}");
        let mut forged = delivery.clone();
        let text = String::from_utf8(delivery.body.to_vec()).unwrap();
        forged.body = text.replace("null", "\"x\"").into();
        assert_ne!(forged.body, delivery.body);
        assert!(!official_library(&second_secret, &forged).await, "the whole body is signed");
        assert!(!own_library(&second_secret, &forged));
    }
    assert_eq!(got[2].header("webhook-signature").split(' ').count(), 2);
    let ids: std::collections::HashSet<_> =
        got.iter().map(|delivery| delivery.header("webhook-id")).collect();
    assert_eq!(ids.len(), 4, "each event and each test has an id of its own");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_from_before_standard_webhooks_goes_on_and_gets_a_secret_when_asked() {
    let world = told_the_documented_two(Network::Ltc).await;
    let db = sea_orm::Database::connect(&world.server.database_url).await.unwrap();
    db.execute_unprepared("UPDATE endpoint SET signing_secret = NULL").await.unwrap();
    db.close().await.unwrap();
    assert_eq!(world.client.webhook_endpoint().await.unwrap().signing_secret, None);
    world.client.send_test().await.unwrap();
    let got = world.receiver.wait_for(1).await;
    assert!(webhook::verify(&world.server.app_key, &got[0].body).is_ok());
    assert!(!got[0].headers.contains_key("webhook-signature"));
    let rotated = world.client.rotate_signing_secret().await.unwrap();
    assert_eq!(rotated.signing_secret_previous, None);
    world.client.send_test().await.unwrap();
    let got = world.receiver.wait_for(2).await;
    assert!(own_library(&rotated.signing_secret.unwrap(), &got[1]));

    let (key, secret) = world.server.second_merchant().await;
    let without = world.server.client_of(&key, &secret);
    let refused = without.rotate_signing_secret().await.unwrap_err();
    assert_eq!(refused.reason(), Some("WEBHOOK_ENDPOINT_MISSING"));
    world.finish().await;
}

/// Each test is a connection, and may be a name that nobody resolves: a key has one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_waits_for_the_one_before_it() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = UpdateWebhookEndpointRequest {
        url: Some(format!("http://{}/hook", silent.local_addr().unwrap())),
        events: Vec::new(),
    };
    world.client.update_webhook_endpoint(hangs).await.unwrap();
    let first = tokio::spawn({
        let client = world.client.clone();
        async move { client.send_test().await }
    });
    let (connection, _) = silent.accept().await.unwrap();
    let refused = world.client.send_test().await.unwrap_err();
    assert_eq!(refused.reason(), Some("TOO_MANY_WAITING"));
    drop((connection, silent));
    assert!(first.await.unwrap().unwrap().error.is_some(), "it was cut off");
    let after = world.client.send_test().await.unwrap();
    assert!(after.error.is_some(), "nobody listens, and it was tried");
    world.server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_set_to_what_it_is_leaves_no_trace() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let lines = async || {
        let db = Database::connect(&world.server.database_url).await.unwrap();
        let sql = "SELECT COUNT(*) AS n FROM audit_log";
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await;
        row.unwrap().unwrap().try_get::<i64>("", "n").unwrap()
    };
    let set = async |url: &str| {
        let change = UpdateWebhookEndpointRequest { url: Some(url.to_owned()), events: Vec::new() };
        world.client.update_webhook_endpoint(change).await.unwrap()
    };
    let first = set("http://127.0.0.1:9/one").await;
    let before = lines().await;
    for _ in 0..3 {
        assert_eq!(set("http://127.0.0.1:9/one").await, first);
    }
    assert_eq!(lines().await, before);
    set("http://127.0.0.1:9/two").await;
    assert_eq!(lines().await, before + 1);
    world.server.finish().await;
}
