//! Wrong secrets, again and again: who guesses is told to wait, and whoever has the right secret notices
//! nothing, whoever guesses at the same key or from the same address. How a bucket fills is in its unit tests.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Client, Method};
use tonic::Code;

use crate::support::clock::MovedClock;
use crate::support::rest::{Answer, Rest, answer};
use crate::support::server::TestServer;

/// Wrong credentials a minute.
const WRONG_MAX: usize = 2;
/// Seconds in which one of them is forgiven.
const FORGIVEN_SECONDS: u64 = 30;

async fn server(clock: &MovedClock) -> TestServer {
    let http = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\nfailed_authentications_per_minute_max = {WRONG_MAX}"
    );
    let server = TestServer::with_clock(crate::ENGINE, &http, Some(clock.clone())).await;
    // None is forgiven before its time, however slow the machine is.
    clock.hold();
    server
}

/// What a call from that address of this machine is answered.
async fn call_from(server: &TestServer, address: [u8; 4], key: &str, secret: &str) -> Answer {
    let client = Client::builder().no_proxy().local_address(IpAddr::from(address)).build().unwrap();
    let url = format!("{}/api/v1/balances", server.url);
    answer(client.request(Method::GET, url).bearer_auth(format!("{key}:{secret}"))).await
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn wrong() -> (u16, String) {
    (401, "CREDENTIALS_INVALID".to_owned())
}

fn limited() -> (u16, String) {
    (429, "RATE_LIMITED".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_slowed_down_and_a_right_secret_always_passes() {
    let clock = MovedClock::new();
    let server = server(&clock).await;
    let (key, secret) = server.credentials.clone();
    let guess = async || call_from(&server, [127, 0, 0, 1], &key, "sk_test_guess").await;
    for _ in 0..WRONG_MAX {
        assert_eq!(told(&guess().await), wrong());
    }
    let refused = guess().await;
    assert_eq!(told(&refused), limited());
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=FORGIVEN_SECONDS).contains(&wait), "{wait}");
    assert!(refused.json()["message"].as_str().unwrap().contains("secret is wrong"));

    // gRPC says the same, with the time.
    let error = server.client_of(&key, "sk_test_guess").balances().await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Some(Code::ResourceExhausted), Some("RATE_LIMITED"))
    );
    let cryptopayment_sdk::Error::Api { retry_after, .. } = error else { panic!("{error:?}") };
    assert!(retry_after.unwrap() <= Duration::from_secs(FORGIVEN_SECONDS), "{retry_after:?}");

    // From the same address, with the same key and with another one; no key is no guess.
    let (other, other_secret) = server.another_key().await;
    for _ in 0..3 * WRONG_MAX {
        assert_eq!(guess().await.status, 429);
        let (own, others) = (server.client(), server.client_of(&other, &other_secret));
        own.balances().await.unwrap();
        others.balances().await.unwrap();
    }
    let nobody = Rest::with(&server, None).get("/api/v1/balances").await;
    assert_eq!(nobody.code(), "CREDENTIALS_MISSING");

    clock.advance(wait.try_into().unwrap());
    assert_eq!(told(&guess().await), wrong(), "as promised");
    assert_eq!(told(&guess().await), limited());
    let right = call_from(&server, [127, 0, 0, 1], &key, &secret).await;
    assert_eq!(right.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_counted_over_all_addresses_and_an_address_over_all_keys() {
    let clock = MovedClock::new();
    let server = server(&clock).await;
    let (key, secret) = server.credentials.clone();
    let (one, two, three) = ([127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]);
    for _ in 0..WRONG_MAX {
        assert_eq!(told(&call_from(&server, one, &key, "x").await), wrong());
    }
    assert_eq!(told(&call_from(&server, two, &key, "x").await), limited(), "the same key");
    assert_eq!(call_from(&server, two, &key, &secret).await.status, 200);

    // Keys that do not exist are counted by address alone.
    for n in 0..WRONG_MAX {
        let made_up = format!("pk_test_{n}");
        assert_eq!(told(&call_from(&server, three, &made_up, "x").await), wrong());
    }
    assert_eq!(told(&call_from(&server, three, "pk_test_new", "x").await), limited());
    assert_eq!(told(&call_from(&server, [127, 0, 0, 4], "pk_test_new", "x").await), wrong());
    assert_eq!(call_from(&server, three, &key, &secret).await.status, 200);
    server.finish().await;
}
