//! What a good request becomes: the message and metadata that arrive at the service.

use std::sync::Arc;

use rpc_gateway::{Settings, UnknownFields};

use crate::support::{House, house, house_with, settings};

/// Sends a body and returns the message that arrived, in Rust's debug form.
async fn created(house: &House, body: &str) -> String {
    let answer = house.post("/api/v1/books", body.to_owned()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    house.arrived().message
}

#[tokio::test]
async fn numbers_keep_their_source_text() {
    for (token, wanted) in [
        ("50", "50"),
        ("50.0", "50.0"),
        ("50.00", "50.00"),
        ("5.0e-5", "0.00005"),
        ("1E3", "1000"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("-1.5", "-1.5"),
        ("-2e1", "-20"),
        ("\"50.00\"", "50.00"),
        ("\"-7\"", "-7"),
        ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
        ("1e40", "10000000000000000000000000000000000000000"),
    ] {
        let arrived = created(&house(), &format!(r#"{{"weight":{token}}}"#)).await;
        assert!(arrived.contains(&format!("weight: \"{wanted}\"")), "{token}: {arrived}");
    }
}

#[tokio::test]
async fn json_text_arrives_token_for_token() {
    for (text, wanted) in [
        ("{}", "{}"),
        ("[]", "[]"),
        (" { \"a\" : [ 1.10 , 1e400 ] , \"b\":null } ", r#"{"a":[1.10,1e400],"b":null}"#),
        (r#""\u00e9\ud83d\ude00é\/""#, r#""\u00e9\ud83d\ude00é\/""#),
        ("-0.0", "-0.0"),
        ("false", "false"),
    ] {
        let arrived = created(&house(), &format!("{{\"notes\":{text}}}")).await;
        let wanted = format!("notes: Some({wanted:?})");
        assert!(arrived.contains(&wanted), "{text}: {arrived}");
    }
}

#[tokio::test]
async fn null_is_absent_and_an_empty_string_is_not() {
    let arrived = created(&house(), r#"{"title":null,"mark":"","notes":null,"size":null}"#).await;
    for part in ["title: \"\"", "mark: Some(\"\")", "notes: None", "size: None"] {
        assert!(arrived.contains(part), "{part}: {arrived}");
    }
}

#[tokio::test]
async fn every_kind_of_field_in_a_body() {
    let body = r#"{
        "state": "lent", "size": {"height": 5, "width": 4e0}, "subjects": ["a", "\u00e9"],
        "loans": "7", "due_at": "2024-01-15T12:30:00+02:00", "giver": "G", "shop": null,
        "chapters": {"one": 12}, "serial": 9007199254740993, "rare": true,
        "stocks": {"Tower": {"shelved": 1.5, "lent": "2"}}
    }"#;
    let arrived = created(&house(), body).await;
    for part in [
        "state: Lent",
        "size: Some(Size { width: 4, height: 5 })",
        "subjects: [\"a\", \"é\"]",
        "loans: 7",
        "due_at: Some(Timestamp { seconds: 1705314600, nanos: 0 })",
        "origin: Some(Giver(\"G\"))",
        "chapters: {\"one\": 12}",
        "serial: 9007199254740993",
        "rare: true",
        "stocks: [Stock { place: \"Tower\", shelved: \"1.5\", lent: \"2\", exact: \"\" }]",
    ] {
        assert!(arrived.contains(part), "{part}: {arrived}");
    }
}

#[tokio::test]
async fn an_empty_body_needs_no_content_type() {
    let house = house();
    let answer = house.with("POST", "/api/v1/books", &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON;charset=\"UTF-8\""] {
        let answer = house.with("POST", "/api/v1/books", &[("content-type", kind)], "{}").await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
    }
}

#[tokio::test]
async fn query_parameters_of_every_kind() {
    let house = house();
    let query = "page_size=5&states=lent&states=on_shelf&bought_after=2024-01-15T10:30:00Z&\
        word=two+words%21&rare=true&place.room=hall&place.floor=-2&lighter_than=1.50&\
        shop=S&within=1.5s&share=0.25&stamp=AQI&at_least=7&view=full";
    let answer = house.get(&format!("/api/v1/books?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let arrived = house.arrived().message;
    for part in [
        "page_size: 5",
        "states: [Lent, OnShelf]",
        "bought_after: Some(Timestamp { seconds: 1705314600, nanos: 0 })",
        "word: Some(\"two words!\")",
        "rare: true",
        "place: Some(Place { room: \"hall\", floor: -2 })",
        "lighter_than: \"1.50\"",
        "choice: Some(Shop(\"S\"))",
        "within: Some(Duration { seconds: 1, nanos: 500000000 })",
        "share: 0.25",
        "stamp: [1, 2]",
        "at_least: Some(7)",
    ] {
        assert!(arrived.contains(part), "{part}: {arrived}");
    }
}

#[tokio::test]
async fn path_variables_join_the_body() {
    let house = house();
    let json = [("content-type", "application/json")];
    let path = "/api/v1/books/a%20b?update_mask=title,loans";
    let answer = house.with("PATCH", path, &json, r#"{"title":"N","loans":3}"#).await;
    // The answer has no book, and so no weight that is none.
    assert_eq!(answer.status, 200, "{}", answer.text);
    let arrived = house.arrived().message;
    for part in ["id: \"a b\"", "title: \"N\"", "loans: 3", "paths: [\"title\", \"loans\"]"] {
        assert!(arrived.contains(part), "{part}: {arrived}");
    }
}

#[tokio::test]
async fn verbs_and_additional_bindings() {
    for (path, body) in
        [("/api/v1/books/9:lend", r#"{"reader":"R"}"#), ("/api/v1/books/9/lend?reader=R", "")]
    {
        let house = house();
        let answer = house.post(path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let arrived = house.arrived().message;
        assert_eq!(arrived, "LendBookRequest { id: \"9\", reader: \"R\" }");
    }
}

#[tokio::test]
async fn a_header_fills_a_field_unless_the_body_does() {
    let json = ("content-type", "application/json");
    let key = ("idempotency-key", "key-1");
    let sent = |body: &'static str, headers: Vec<(&'static str, &'static str)>| async move {
        let house = house();
        let answer = house.with("POST", "/api/v1/books", &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["request_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(sent("{}", vec![json, key]).await, "key-1");
    assert_eq!(sent(r#"{"request_id":"body"}"#, vec![json, key]).await, "body");
    assert_eq!(sent(r#"{"request_id":null}"#, vec![json, key]).await, "key-1");
    let (one, two) = (sent("{}", vec![json]).await, sent("", vec![]).await);
    let uuid = one.strip_prefix("auto-").unwrap();
    assert_eq!(uuid::Uuid::parse_str(uuid).unwrap().get_version_num(), 4);
    assert!(two.starts_with("auto-") && one != two);
}

#[tokio::test]
async fn metadata_is_what_was_listed_and_nothing_else() {
    let house = house();
    let headers = [
        ("authorization", "Bearer a:b"),
        ("user-agent", "probe"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-id", "caller-1"),
        ("connection", "x-other"),
        ("x-other", "1"),
        ("cookie", "c"),
        ("grpc-timeout", "1n"),
        ("grpc-encoding", "gzip"),
    ];
    let answer = house.with("GET", "/api/v1/books/5", &headers, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-request-id"), Some("caller-1"));
    let metadata = house.arrived().metadata.into_headers();
    for (name, value) in &headers[..4] {
        assert_eq!(metadata.get(*name).unwrap(), value);
    }
    for name in ["connection", "x-other", "cookie", "grpc-encoding", "host"] {
        assert_eq!(metadata.get(name), None, "{name}");
    }
    assert_eq!(metadata.get("grpc-timeout").unwrap(), "90000m");
}

#[tokio::test]
async fn a_bad_request_id_is_replaced() {
    let house = house();
    let long = "x".repeat(129);
    for bad in ["", "two words", long.as_str()] {
        let answer = house.with("GET", "/api/v1/books/5", &[("x-request-id", bad)], "").await;
        let given = answer.header("x-request-id").unwrap();
        assert!(uuid::Uuid::parse_str(given).is_ok(), "{bad:?} became {given}");
    }
}

#[tokio::test]
async fn unknown_fields_can_be_ignored_but_must_be_json() {
    let lenient = || house_with(Settings { unknown_fields: UnknownFields::Ignore, ..settings() });
    let arrived = created(&lenient(), r#"{"titel":{"a":[1]},"title":"T"}"#).await;
    assert!(arrived.contains("title: \"T\""), "{arrived}");
    assert_eq!(lenient().get("/api/v1/books?foo=1&place.foo=2").await.status, 200);
    for body in [r#"{"x":{"a":1,"a":2}}"#, r#"{"x":1,"x":2}"#, r#"{"x":"\ud800"}"#, r#"{"x":01}"#] {
        assert_eq!(lenient().post("/api/v1/books", body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn services_can_be_left_out() {
    let only = |name: &'static str| {
        house_with(Settings { services: Arc::new(move |full| full == name), ..settings() })
    };
    assert_eq!(only("library.v1.PlainService").get("/api/v1/books").await.status, 404);
    assert_eq!(only("library.v1.LibraryService").get("/api/v1/books").await.status, 200);
}
