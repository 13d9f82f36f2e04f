//! `POST /webhooks/verify` as somebody uses it whose handler refuses everything: what was got goes in,
//! the mistake comes out.

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{
    UpdateWebhookEndpointRequest, VerifyWebhookRequest, VerifyWebhookResponse, WebhookFinding,
    WebhookKey, WebhookRecipe,
};

use crate::conformance::world::World;
use crate::support::receiver::Delivery;
use crate::support::rest::Rest;
use crate::support::server::eventually;

fn got_as_it_came(delivery: &Delivery) -> VerifyWebhookRequest {
    VerifyWebhookRequest {
        body: String::from_utf8(delivery.body.to_vec()).unwrap(),
        signature: None,
        webhook_id: Some(delivery.header("webhook-id")),
        webhook_timestamp: Some(delivery.header("webhook-timestamp")),
        webhook_signature: Some(delivery.header("webhook-signature")),
    }
}

fn findings(answer: &VerifyWebhookResponse) -> Vec<WebhookFinding> {
    let all = answer.checks.iter().flat_map(|check| &check.findings);
    all.map(|detail| {
        assert!(!detail.description.is_empty());
        detail.finding()
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_got_is_explained() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let events = vec!["payment.detected".to_owned()];
    let change = UpdateWebhookEndpointRequest { url: None, events };
    world.client.update_webhook_endpoint(change).await.unwrap();
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    let got = world.receiver.wait_for(1).await.remove(0);
    let request = got_as_it_came(&got);
    eventually("the attempt is in the log", || async {
        let page = world.client.list_deliveries(Default::default()).await.unwrap();
        (page.deliveries.first()?.attempts_made == 1).then_some(())
    })
    .await;

    let good = world.client.verify_webhook(request.clone()).await.unwrap();
    assert!(good.valid && findings(&good).is_empty(), "{good:?}");
    assert!(good.delivery_id.is_some());
    let [documented, standard] = good.checks.as_slice() else { panic!("{good:?}") };
    assert_eq!(
        (documented.recipe(), documented.key()),
        (WebhookRecipe::Documented, WebhookKey::AppKey)
    );
    assert_eq!(documented.signed_text(), format!("{}.payment.detected", invoice.id));
    assert_eq!(
        (standard.recipe(), standard.key()),
        (WebhookRecipe::Standard, WebhookKey::SigningSecret)
    );
    let text = format!("{}.{}.{}", request.webhook_id(), request.webhook_timestamp(), request.body);
    assert_eq!(standard.signed_text(), text);

    // A framework parsed the body and wrote it again.
    let changed = VerifyWebhookRequest { body: request.body.replace(",", ", "), ..request.clone() };
    let answer = world.client.verify_webhook(changed).await.unwrap();
    assert!(!answer.valid);
    assert_eq!(findings(&answer), [WebhookFinding::BodyChanged, WebhookFinding::BodyChanged]);
    assert!(answer.checks[0].valid, "the documented signature does not cover the rest");
    let shouted = VerifyWebhookRequest {
        signature: Some(got.json()["signature"].as_str().unwrap().to_uppercase()),
        ..request.clone()
    };
    let answer = world.client.verify_webhook(shouted).await.unwrap();
    assert_eq!(findings(&answer), [WebhookFinding::UpperCaseHex]);
    let old = VerifyWebhookRequest {
        webhook_timestamp: Some("1600000000".to_owned()),
        ..request.clone()
    };
    let answer = world.client.verify_webhook(old).await.unwrap();
    assert!(findings(&answer).contains(&WebhookFinding::TimestampTooOld));

    // Of the merchant's other keys, and after the keys were replaced.
    let (key, secret) = world.server.another_key().await;
    let other = world.server.client_of(&key, &secret);
    let answer = other.verify_webhook(request.clone()).await.unwrap();
    assert_eq!(findings(&answer), [WebhookFinding::OtherApiKey, WebhookFinding::OtherApiKey]);
    assert!(answer.checks[0].findings[0].description.contains(&world.server.credentials.0));
    let (key, secret) = world.server.second_merchant().await;
    let stranger = world.server.client_of(&key, &secret);
    let answer = stranger.verify_webhook(request.clone()).await.unwrap();
    assert_eq!(findings(&answer), [WebhookFinding::WrongKey, WebhookFinding::WrongKey]);
    assert_eq!(answer.delivery_id, None, "another merchant's log is closed");
    world.client.create_app_key().await.unwrap();
    world.client.activate_app_key().await.unwrap();
    let answer = world.client.verify_webhook(request.clone()).await.unwrap();
    assert_eq!(findings(&answer), [WebhookFinding::KeyReplaced]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_over_rest_takes_text_and_refuses_what_it_can_not_read() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    world.client.create_app_key().await.unwrap();
    world.client.send_test_with_next_app_key().await.unwrap();
    let got = world.receiver.wait_for(1).await.remove(0);
    let body = serde_json::json!({ "body": std::str::from_utf8(&got.body).unwrap() });
    let answer = rest.post("/api/v1/webhooks/verify", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let json = answer.json();
    assert_eq!((&json["success"], &json["valid"]), (&true.into(), &true.into()));
    assert_eq!(json["checks"].as_array().unwrap().len(), 1);
    let check = &json["checks"][0];
    assert_eq!((&check["recipe"], &check["key"]), (&"documented".into(), &"app_key_next".into()));
    assert_eq!(check["signed_text"], "00000000-0000-0000-0000-000000000000.webhook.test");
    assert_eq!(check["findings"][0]["finding"], "key_not_active");
    assert!(json["delivery_id"].is_null());

    let foreign = "0".repeat(64);
    let unsigned = rest
        .post(
            "/api/v1/webhooks/verify",
            &serde_json::json!({ "body": body["body"], "signature": foreign }).to_string(),
        )
        .await
        .json();
    assert_eq!(unsigned["checks"][0]["valid"], false, "{unsigned}");
    assert!(unsigned["checks"][0]["key"].is_null(), "no key made it: {unsigned}");

    let long = "x".repeat(65_537);
    for (body, code, field) in [
        (r#"{}"#.to_owned(), "FIELD_REQUIRED", "body"),
        (r#"{"body":""}"#.to_owned(), "FIELD_REQUIRED", "body"),
        (format!(r#"{{"body":"{long}"}}"#), "INVALID_FIELD", "body"),
        (format!(r#"{{"body":"{{}}","webhook_id":"{long}"}}"#), "INVALID_FIELD", "webhook_id"),
        (r#"{"body":{"event":"payment.confirmed"}}"#.to_owned(), "INVALID_FIELD", "body"),
    ] {
        let refused = rest.post("/api/v1/webhooks/verify", &body).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{}", refused.body);
        assert_eq!(refused.json()["error"]["details"][0]["field"], field);
    }
    for odd in ["{\"event\":\"a\",\"invoice_id\":\"b\"}", "[[[[", "é", "\u{feff}{}"] {
        let body = serde_json::json!({ "body": odd, "signature": "\u{1}", "webhook_id": "" });
        let answer = rest.post("/api/v1/webhooks/verify", &body.to_string()).await;
        assert_eq!((answer.status, &answer.json()["valid"]), (200, &false.into()), "{odd:?}");
    }
    let request = VerifyWebhookRequest {
        body: "{\"event\":\"\0\",\"invoice_id\":\"\0\"}\0".to_owned(),
        webhook_id: Some("\0".to_owned()),
        ..Default::default()
    };
    let answer = world.client.verify_webhook(request).await.unwrap();
    assert!(!answer.valid, "U+0000 over gRPC is only text");
    world.finish().await;
}
