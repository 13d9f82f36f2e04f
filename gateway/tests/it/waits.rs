//! Answers that wait for a change: what counts as one, who is answered at once, what happens when the
//! watch ends, fails or is cut off, and that nothing is left behind by a caller who went away.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rpc_gateway::{Gateway, Settings};
use tonic::Code;

use crate::contract::compile;
use crate::loans::Then;
use crate::support::{Answer, House, house, house_with, settings};

const PATH: &str = "/api/v1/loans/5";
/// Longest time that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs `change` once the house has `open` watches, while `asked` waits for its answer.
async fn while_open(
    house: &House,
    open: usize,
    asked: impl Future<Output = Answer>,
    change: impl FnOnce(),
) -> Answer {
    let mut asked = std::pin::pin!(asked);
    let opening = async {
        while house.library.loans.open() < open {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut asked => panic!("answered before anything changed: {answer:?}"),
        opened = tokio::time::timeout(DEADLINE, opening) => opened.unwrap(),
    }
    // Once more around, so that the present answer was taken from the watch.
    for _ in 0..100 {
        assert!((&mut asked).now_or_never().is_none(), "answered before anything changed");
        tokio::task::yield_now().await;
    }
    change();
    tokio::time::timeout(DEADLINE, asked).await.unwrap()
}

fn none_match(tag: &str) -> [(&'static str, &str); 1] {
    [("if-none-match", tag)]
}

#[tokio::test]
async fn every_answer_of_such_a_method_has_an_identity_of_its_body() {
    let house = house();
    let first = house.get(PATH).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(house.get(PATH).await.header("etag"), Some(tag.as_str()));
    let full = house.get(&format!("{PATH}?view=full")).await;
    assert_ne!(full.header("etag").unwrap(), tag, "another view, another body");
    let head = house.with("HEAD", PATH, &[], "").await;
    assert_eq!((head.header("etag"), head.text.as_str()), (Some(tag.as_str()), ""));
    house.library.loans.lend_to("Bob");
    assert_ne!(house.get(PATH).await.header("etag").unwrap(), tag);
    let same = house.with("GET", PATH, &none_match(&tag), "").await;
    assert_eq!(same.status, 200, "without the parameter the condition changes nothing");
    assert_eq!(house.library.loans.opened(), 0);
}

#[tokio::test]
async fn a_change_of_the_body_answers_and_another_one_does_not() {
    let house = house();
    let loans = house.library.loans.clone();
    let asked = house.get("/api/v1/loans/5?wait=60");
    let answer = while_open(&house, 1, asked, || {
        loans.extend();
        loans.lend_to("Bob");
    })
    .await;
    assert_eq!(answer.text, r#"{"success":true,"loan":{"id":"5","reader":"Bob"}}"#);
    assert_eq!(answer.header("etag"), house.get(PATH).await.header("etag"));
    assert_eq!(loans.open(), 0, "the watch is closed");

    let asked = house.get("/api/v1/loans/5?view=full&wait=60");
    let answer = while_open(&house, 1, asked, || loans.extend()).await;
    assert!(answer.text.ends_with(r#""extensions":2}}"#), "{}", answer.text);
    let asked = house.get("/api/v1/loans/full?wait=60");
    let answer = while_open(&house, 1, asked, || loans.extend()).await;
    assert!(answer.text.ends_with(r#""extensions":3}}"#), "the upstream's view: {}", answer.text);
}

#[tokio::test]
async fn what_is_known_decides_whether_there_is_anything_to_wait_for() {
    let house = house();
    let tag = house.get(PATH).await.header("etag").unwrap().to_owned();
    let path = "/api/v1/loans/5?wait=60";
    for other in ["\"old\"", "", "W/\"old\", \"older\""] {
        let answer = house.with("GET", path, &none_match(other), "").await;
        assert!(answer.text.contains("Ada"), "at once: {answer:?}");
    }
    let zero = house.with("GET", "/api/v1/loans/5?wait=0", &none_match(&tag), "").await;
    assert!(zero.text.contains("Ada"), "{zero:?}");
    for (known, reader) in [("W/", "Bob"), ("\"old\", ", "Cyd")] {
        let tag = house.get(PATH).await.header("etag").unwrap().to_owned();
        let known = format!("{known}{tag}");
        let known = none_match(&known);
        let asked = house.with("GET", path, &known, "");
        let loans = house.library.loans.clone();
        let answer = while_open(&house, 1, asked, || loans.lend_to(reader)).await;
        assert!(answer.text.contains(reader), "{answer:?}");
    }
}

#[tokio::test]
async fn without_a_change_the_whole_body_comes_when_the_time_is_over() {
    let house = house();
    let began = Instant::now();
    let answer = house.get("/api/v1/loans/5?wait=1").await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((answer.status.as_u16(), answer.text), (200, house.get(PATH).await.text));
    assert_eq!(house.library.loans.open(), 0);
}

#[tokio::test]
async fn a_watch_that_ended_is_opened_again_so_that_a_late_change_is_told() {
    let pause = Duration::from_millis(100);
    let house = house_with(Settings { watch_again_pause: pause, ..settings() });
    let loans = house.library.loans.clone();
    loans.then(Then::Ends);
    let late = async {
        while loans.opened() < 3 {
            tokio::task::yield_now().await;
        }
        loans.lend_to("Bob");
    };
    let (answer, ()) = tokio::join!(house.get("/api/v1/loans/5?wait=60"), late);
    assert!(answer.text.contains("Bob"), "told by the next watch: {answer:?}");

    let (before, began) = (loans.opened(), Instant::now());
    house.get("/api/v1/loans/5?wait=1").await;
    assert!(began.elapsed() >= Duration::from_secs(1), "the time is held");
    let opened = loans.opened() - before;
    assert!(opened <= 10, "a watch after each pause, not a busy loop: {opened}");
}

#[tokio::test]
async fn a_watch_that_is_cut_off_answers_with_what_is_known() {
    for code in [Code::Unavailable, Code::Cancelled, Code::DeadlineExceeded] {
        let house = house();
        let loans = house.library.loans.clone();
        let asked = house.get("/api/v1/loans/5?wait=60");
        let answer = while_open(&house, 1, asked, || loans.then(Then::Fails(code))).await;
        assert_eq!(answer.status, 200, "{code:?}");
        assert!(answer.text.contains("Ada"), "{answer:?}");
    }
    let cases = [(Then::Fails(Code::NotFound), 404), (Then::Panics, 500)];
    for (then, status) in cases {
        let house = house();
        let loans = house.library.loans.clone();
        let asked = house.get("/api/v1/loans/5?wait=60");
        let answer = while_open(&house, 1, asked, || loans.then(then)).await;
        assert_eq!(answer.status.as_u16(), status, "{then:?}");
        assert_eq!(answer.json()["success"], false);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_refused_at_once_and_so_is_a_wrong_time() {
    let house = house();
    let answer = house.get("/api/v1/loans/none?wait=60").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
        (404, Some("NOT_FOUND"))
    );
    for wrong in ["61", "-1", "x", "", "1.5", "+1", "1e1", "99999999999999999999", "5&wait=5"] {
        let answer = house.get(&format!("{PATH}?wait={wrong}")).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status.as_u16(), error["code"].as_str()), (400, Some("INVALID_QUERY")));
        assert_eq!(error["details"][0]["field"], "wait", "{wrong}");
    }
    let elsewhere = house.get("/api/v1/books/5?wait=5").await;
    assert_eq!(elsewhere.json()["error"]["code"], "UNKNOWN_FIELD", "only where it is declared");
    let near = house.get(&format!("{PATH}?wiat=5")).await.text;
    assert!(near.contains("`wait`"), "{near}");
}

#[tokio::test]
async fn a_silent_upstream_is_given_up() {
    let limits = Settings { upstream_timeout: Some(Duration::from_millis(50)), ..settings() };
    let house = house_with(limits);
    house.library.loans.then(Then::Silent);
    let answer = house.get("/api/v1/loans/5?wait=60").await;
    assert_eq!(answer.status.as_u16(), 504);
    assert_eq!(house.library.loans.open(), 0);
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_watch_along() {
    let house = house();
    let loans = house.library.loans.clone();
    let mut asked = Box::pin(house.get("/api/v1/loans/5?wait=60"));
    while loans.open() == 0 {
        assert!((&mut asked).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(asked);
    assert_eq!(loans.open(), 0);
}

#[tokio::test]
async fn only_so_many_wait_at_once() {
    let limits = Settings { waiting_max: 1, ..settings() };
    let house = house_with(limits);
    let loans = house.library.loans.clone();
    let mut asked = Box::pin(house.get("/api/v1/loans/5?wait=60"));
    while loans.open() == 0 {
        assert!((&mut asked).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let refused = house.get("/api/v1/loans/6?wait=60").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.json()["error"]["code"], "TOO_MANY_WAITING");
    assert_eq!(house.get(PATH).await.status, 200, "who does not wait needs no place");
    drop(asked);
    loans.then(Then::Fails(Code::Unavailable));
    assert_eq!(house.get("/api/v1/loans/6?wait=60").await.status, 200, "the place is free again");
}

#[tokio::test]
async fn a_place_is_for_whom_the_upstream_let_in() {
    let limits = Settings { waiting_max: 1, ..settings() };
    let house = house_with(limits);
    let loans = house.library.loans.clone();
    loans.then(Then::Silent);
    let mut asked = Box::pin(house.get("/api/v1/loans/5?wait=60"));
    while loans.open() == 0 {
        assert!((&mut asked).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    // The first one has no answer yet, and is not looked at any more.
    loans.then(Then::Goes);
    let other = house.get("/api/v1/loans/6?wait=1").await;
    assert_eq!(other.status, 200, "{other:?}");
    drop(asked);
}

#[tokio::test]
async fn the_upstream_is_told_which_view_is_wanted() {
    let house = house();
    for (query, wanted) in [("", "default"), ("?view=basic", "basic"), ("?view=full", "full")] {
        house.get(&format!("{PATH}{query}")).await;
        let arrived = house.library.arrived().pop().unwrap();
        assert_eq!(arrived.metadata.get("x-gateway-view").unwrap(), wanted);
    }
}

#[test]
fn a_wait_that_does_not_fit_is_refused_when_the_gateway_is_made() {
    let build = |wait: &str, get: &str, watch: &str| {
        let proto = format!(
            r#"syntax = "proto3"; package probe;
            import "gateway/options/v1/options.proto";
            import "google/api/annotations.proto";
            message Ask {{ string id = 1; }}
            message Other {{ string name = 1; }}
            message Thing {{ string id = 1; }}
            service Probe {{
              option (gateway.options.v1.service) = {{view_parameter: "view"}};
              rpc Get(Ask) returns (Thing) {{
                option (google.api.http) = {{{get}}};
                option (gateway.options.v1.wait) = {{{wait}}};
              }}
              rpc Watch{watch};
            }}"#
        );
        Gateway::new(&compile(&proto), settings()).map(drop).map_err(|error| error.to_string())
    };
    let (get, watch) = (r#"get: "/a/{id}""#, "(Ask) returns (stream Thing)");
    let wait = r#"parameter: "wait" seconds_max: 9 watch: "Watch""#;
    assert_eq!(build(wait, get, watch), Ok(()));
    let cases = [
        (wait.replace("\"wait\"", "\"id\""), get, watch),
        (wait.replace("\"wait\"", "\"view\""), get, watch),
        (wait.replace("\"wait\"", "\"\""), get, watch),
        (wait.replace('9', "0"), get, watch),
        (wait.replace("\"Watch\"", "\"Nothing\""), get, watch),
        (wait.replace("\"Watch\"", "\"Get\""), get, watch),
        (wait.to_owned(), r#"post: "/a/{id}""#, watch),
        (wait.to_owned(), get, "(Ask) returns (Thing)"),
        (wait.to_owned(), get, "(Other) returns (stream Thing)"),
        (wait.to_owned(), get, "(Ask) returns (stream Other)"),
    ];
    for (wait, get, watch) in cases {
        let refused = build(&wait, get, watch).unwrap_err();
        assert!(refused.starts_with("probe.Probe.Get: `wait"), "{wait} {get} {watch}: {refused}");
    }
}
