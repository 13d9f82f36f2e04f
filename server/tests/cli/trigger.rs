//! `trigger` plays scenarios to their end and says so.

use crate::program::{beside, connection};
use crate::support::server::{Engine, TestServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_invoice_is_followed_until_it_is_confirmed() {
    let server = TestServer::start(Engine::Sqlite).await;
    let own = connection(&server);
    let mut arguments = vec!["trigger", "paid", "--network", "btc", "--amount", "12.50"];
    arguments.extend(own.iter().map(String::as_str));
    let said = beside(&server, &arguments).await.ok();
    assert!(said.out.starts_with("invoice "), "{said:?}");
    assert!(said.out.contains("\npending: paid 0 BTC, 0/2 confirmations\n"), "{said:?}");
    let last = said.out.lines().last().unwrap();
    assert!(last.starts_with("confirmed: paid 0.0"), "{said:?}");
    assert!(last.ends_with("2/2 confirmations"), "{said:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_is_followed_beyond_the_first_confirmation() {
    let server = TestServer::start(Engine::Sqlite).await;
    let own = connection(&server);
    let mut arguments = vec!["trigger", "reorg", "--json"];
    arguments.extend(own.iter().map(String::as_str));
    let said = beside(&server, &arguments).await.ok();
    let lines = said.lines();
    let invoice = server.client().get_invoice(lines[0]["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(lines.last().unwrap()["status"], "confirmed", "{lines:?}");
    let events = server.client().list_events(0, 100).await.unwrap().events;
    let kinds: Vec<&str> = events.iter().map(|event| event.r#type.as_str()).collect();
    assert!(kinds.contains(&"invoice.reconfirmed"), "the whole scenario was played: {kinds:?}");
    assert_eq!(invoice.amount_usd, "50.00");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_played_is_said_to_be_so() {
    let server = TestServer::start(Engine::Sqlite).await;
    let unknown = beside(&server, &["trigger", "theft"]).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.err.contains("double_spend"), "{unknown:?}");
    let own = connection(&server);
    let mut arguments = vec!["trigger", "paid", "--network", "doge"];
    arguments.extend(own.iter().map(String::as_str));
    let refused = beside(&server, &arguments).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("network"), "{refused:?}");
    // The sandbox's own merchant calls when no key is given.
    let kept = beside(&server, &["trigger", "paid", "--url", &server.url]).await.ok();
    assert!(kept.out.contains("confirmed"), "{kept:?}");
    server.finish().await;
}
