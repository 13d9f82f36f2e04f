//! Bad requests as a table: each gets exactly the error beside it, and nothing arrives at the
//! service. Errors that need more than a method, path and body follow after the table.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::StreamBody;
use rpc_gateway::{Settings, reason};
use serde_json::json;

use crate::support::{DOC_URL_BASE, house, house_with, settings};

/// Method and path, body, status, code, field, the end of the message.
type Row = (&'static str, &'static [u8], u16, &'static str, &'static str, &'static str);

const BODY: &str = "POST /api/v1/books";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Routes.
    ("GET /", b"", 404, reason::ROUTE_NOT_FOUND, "", "no such path"),
    ("GET /api/v1/nothing", b"", 404, reason::ROUTE_NOT_FOUND, "", "no such path"),
    ("GET /api/v1/books//", b"", 404, reason::ROUTE_NOT_FOUND, "", "no such path"),
    ("PUT /api/v1/books", b"", 405, reason::METHOD_NOT_ALLOWED, "", "this path answers POST, GET, HEAD, OPTIONS"),
    ("BREW /api/v1/stock", b"", 405, reason::METHOD_NOT_ALLOWED, "", "this path answers GET, HEAD, OPTIONS"),
    ("GET /api/v1/books/1/watch", b"", 501, reason::STREAM_OVER_REST, "", "over gRPC only"),
    ("GET /api/v1/books/%ff", b"", 400, reason::INVALID_FIELD, "id", "not percent-encoded UTF-8 in the path"),
    ("GET /api/v1/books/a%00b", b"", 400, reason::INVALID_FIELD, "id", "contains U+0000"),
    ("GET /api/v1/fail/x", b"", 400, reason::INVALID_FIELD, "code", "is no integer"),
    ("GET /api/v1/fail/2147483648", b"", 400, reason::INVALID_FIELD, "code", "does not fit its integer type"),
    // The form of the text.
    (BODY, b"{", 400, reason::MALFORMED_JSON, "", "the text ends too early at byte 1"),
    (BODY, b" ", 400, reason::MALFORMED_JSON, "", "the text ends where a value should stand at byte 1"),
    (BODY, b"{} x", 400, reason::MALFORMED_JSON, "", "something follows the value at byte 3"),
    (BODY, b"{}{}", 400, reason::MALFORMED_JSON, "", "something follows the value at byte 2"),
    (BODY, b"[]", 400, reason::INVALID_FIELD, "", "must be an object, not an array"),
    (BODY, b"null", 400, reason::INVALID_FIELD, "", "must be an object, not null"),
    (BODY, b"\xef\xbb\xbf{}", 400, reason::MALFORMED_JSON, "", "no JSON value at byte 0"),
    (BODY, b"{\"title\":\"a\",}", 400, reason::MALFORMED_JSON, "", "a comma too many at byte 13"),
    (BODY, b"{'title':1}", 400, reason::MALFORMED_JSON, "", "a key should stand here at byte 1"),
    (BODY, b"{\"title\" 1}", 400, reason::MALFORMED_JSON, "", "a colon should stand here at byte 9"),
    (BODY, b"{\"title\":\"a\" \"b\":1}", 400, reason::MALFORMED_JSON, "", "a comma or the end should stand here at byte 13"),
    (BODY, b"{\"weight\":NaN}", 400, reason::MALFORMED_JSON, "weight", "no JSON value at byte 10"),
    (BODY, b"{\"weight\":-Infinity}", 400, reason::MALFORMED_JSON, "weight", "no JSON number at byte 11"),
    (BODY, b"{\"weight\":01}", 400, reason::MALFORMED_JSON, "weight", "no JSON number at byte 12"),
    (BODY, b"{\"weight\":1.}", 400, reason::MALFORMED_JSON, "weight", "no JSON number at byte 12"),
    (BODY, b"{\"weight\":.5}", 400, reason::MALFORMED_JSON, "weight", "no JSON value at byte 10"),
    (BODY, b"{\"weight\":+5}", 400, reason::MALFORMED_JSON, "weight", "no JSON value at byte 10"),
    (BODY, b"{\"weight\":1e}", 400, reason::MALFORMED_JSON, "weight", "no JSON number at byte 12"),
    (BODY, b"{\"weight\":0x10}", 400, reason::MALFORMED_JSON, "weight", "no JSON number at byte 11"),
    (BODY, b"{\"rare\":truer}", 400, reason::MALFORMED_JSON, "rare", "no JSON value at byte 12"),
    // Text.
    (BODY, b"{\"title\":\"\xff\"}", 400, reason::MALFORMED_JSON, "title", "a string that is not UTF-8 at byte 11"),
    (BODY, b"{\"size\":{\"\xff\":1}}", 400, reason::MALFORMED_JSON, "size", "a string that is not UTF-8 at byte 11"),
    (BODY, br#"{"title":"\ud800"}"#, 400, reason::MALFORMED_JSON, "title", "half of a surrogate pair at byte 16"),
    (BODY, br#"{"title":"\ud800\u0041"}"#, 400, reason::MALFORMED_JSON, "title", "half of a surrogate pair at byte 22"),
    (BODY, br#"{"title":"\udc00"}"#, 400, reason::MALFORMED_JSON, "title", "half of a surrogate pair at byte 16"),
    (BODY, br#"{"title":"\u0000"}"#, 400, reason::MALFORMED_JSON, "title", "U+0000 in a string at byte 16"),
    (BODY, b"{\"title\":\"\0\"}", 400, reason::MALFORMED_JSON, "title", "a control character in a string at byte 10"),
    (BODY, b"{\"title\":\"a\nb\"}", 400, reason::MALFORMED_JSON, "title", "a control character in a string at byte 11"),
    (BODY, br#"{"title":"\x41"}"#, 400, reason::MALFORMED_JSON, "title", "an unknown escape in a string at byte 12"),
    (BODY, br#"{"title":"\u12"}"#, 400, reason::MALFORMED_JSON, "title", "an incomplete escape in a string at byte 12"),
    (BODY, br#"{"notes":{"a":[1,"\ud800"]}}"#, 400, reason::MALFORMED_JSON, "notes.a[1]", "half of a surrogate pair at byte 24"),
    (BODY, br#"{"notes":{"a":"\u0000"}}"#, 400, reason::MALFORMED_JSON, "notes.a", "U+0000 in a string at byte 21"),
    // Keys.
    (BODY, br#"{"titel":"T"}"#, 400, reason::UNKNOWN_FIELD, "titel", "the nearest known one is `title`"),
    (BODY, br#"{"requestId":"T"}"#, 400, reason::UNKNOWN_FIELD, "requestId", "the nearest known one is `request_id`"),
    (BODY, br#"{"size":{"widht":1}}"#, 400, reason::UNKNOWN_FIELD, "size.widht", "the nearest known one is `width`"),
    (BODY, br#"{"":1}"#, 400, reason::UNKNOWN_FIELD, "", "the nearest known one is `mark`"),
    (BODY, br#"{"title":"a","title":"b"}"#, 400, reason::DUPLICATE_FIELD, "title", "the key stands twice in one object"),
    (BODY, br#"{"title":null,"title":"b"}"#, 400, reason::DUPLICATE_FIELD, "title", "the key stands twice in one object"),
    (BODY, br#"{"size":{"width":1,"w\u0069dth":1}}"#, 400, reason::DUPLICATE_FIELD, "size.width", "the key stands twice in one object"),
    (BODY, br#"{"notes":{"a":{"b":1,"b":1}}}"#, 400, reason::DUPLICATE_FIELD, "notes.a.b", "the key stands twice in one object"),
    (BODY, br#"{"chapters":{"one":1,"one":2}}"#, 400, reason::DUPLICATE_FIELD, "chapters.one", "the key stands twice in one object"),
    (BODY, br#"{"stocks":{"a":{},"a":{}}}"#, 400, reason::DUPLICATE_FIELD, "stocks.a", "the key stands twice in one object"),
    (BODY, br#"{"stocks":{"a":{"place":"b"}}}"#, 400, reason::DUPLICATE_FIELD, "stocks.a.place", "the key stands twice in one object"),
    (BODY, br#"{"shop":"a","giver":"b"}"#, 400, reason::INVALID_FIELD, "giver", "cannot be set together with `shop`"),
    // Values.
    (BODY, br#"{"title":5}"#, 400, reason::INVALID_FIELD, "title", "must be a string, not a number"),
    (BODY, br#"{"title":{}}"#, 400, reason::INVALID_FIELD, "title", "must be a string, not an object"),
    (BODY, br#"{"rare":"true"}"#, 400, reason::INVALID_FIELD, "rare", "must be true or false, not a string"),
    (BODY, br#"{"rare":1}"#, 400, reason::INVALID_FIELD, "rare", "must be true or false, not a number"),
    (BODY, br#"{"loans":-1}"#, 400, reason::INVALID_FIELD, "loans", "does not fit its integer type"),
    (BODY, br#"{"loans":1.5}"#, 400, reason::INVALID_FIELD, "loans", "is no integer, or too large"),
    (BODY, br#"{"loans":"1e3"}"#, 400, reason::INVALID_FIELD, "loans", "is no integer"),
    (BODY, br#"{"loans":4294967296}"#, 400, reason::INVALID_FIELD, "loans", "does not fit its integer type"),
    (BODY, br#"{"serial":9223372036854775808}"#, 400, reason::INVALID_FIELD, "serial", "does not fit its integer type"),
    (BODY, br#"{"size":[]}"#, 400, reason::INVALID_FIELD, "size", "must be an object, not an array"),
    (BODY, br#"{"subjects":"a"}"#, 400, reason::INVALID_FIELD, "subjects", "must be an array, not a string"),
    (BODY, br#"{"subjects":["a",null]}"#, 400, reason::INVALID_FIELD, "subjects[1]", "must be a string, not null"),
    (BODY, br#"{"chapters":{"one":null}}"#, 400, reason::INVALID_FIELD, "chapters.one", "must be a number, not null"),
    (BODY, br#"{"state":"LENT"}"#, 400, reason::INVALID_FIELD, "state", "must be one of on_shelf, lent"),
    (BODY, br#"{"state":"BOOK_STATE_LENT"}"#, 400, reason::INVALID_FIELD, "state", "must be one of on_shelf, lent"),
    (BODY, br#"{"state":"unspecified"}"#, 400, reason::INVALID_FIELD, "state", "must be one of on_shelf, lent"),
    (BODY, br#"{"due_at":"2024-01-15"}"#, 400, reason::INVALID_FIELD, "due_at", "must be a time like 2024-01-15T10:30:00Z (RFC 3339)"),
    (BODY, br#"{"due_at":1705314600}"#, 400, reason::INVALID_FIELD, "due_at", "must be a string, not a number"),
    // Exact numbers.
    (BODY, br#"{"weight":1e400}"#, 400, reason::INVALID_FIELD, "weight", "has an exponent beyond 40"),
    (BODY, br#"{"weight":1e-41}"#, 400, reason::INVALID_FIELD, "weight", "has an exponent beyond 40"),
    (BODY, br#"{"weight":1e99999999999999999999}"#, 400, reason::INVALID_FIELD, "weight", "has an exponent beyond 40"),
    (BODY, br#"{"weight":1234567890123456789012345678901234567890123456789012345678901}"#, 400, reason::INVALID_FIELD, "weight", "has more than 60 digits"),
    (BODY, br#"{"weight":"1e5"}"#, 400, reason::INVALID_FIELD, "weight", "is no number in plain decimal form"),
    (BODY, br#"{"weight":""}"#, 400, reason::INVALID_FIELD, "weight", "is no number in plain decimal form"),
    (BODY, br#"{"weight":" 5"}"#, 400, reason::INVALID_FIELD, "weight", "is no number in plain decimal form"),
    (BODY, br#"{"weight":"0x5"}"#, 400, reason::INVALID_FIELD, "weight", "is no number in plain decimal form"),
    (BODY, br#"{"weight":"NaN"}"#, 400, reason::INVALID_FIELD, "weight", "is no number in plain decimal form"),
    (BODY, br#"{"weight":true}"#, 400, reason::INVALID_FIELD, "weight", "must be a number, not a boolean"),
    (BODY, br#"{"stocks":{"a":{"shelved":"1,5"}}}"#, 400, reason::INVALID_FIELD, "stocks.a.shelved", "is no number in plain decimal form"),
    // Bodies where none belongs, and what the path has already.
    ("POST /api/v1/books/9/lend", br#"{"reader":"R"}"#, 400, reason::UNKNOWN_FIELD, "reader", "this method takes no body"),
    ("POST /api/v1/books/9:lend", br#"{"id":"8"}"#, 400, reason::INVALID_FIELD, "id", "is set by the path"),
    ("POST /plain/echo", br#"{"a_double":1e400}"#, 400, reason::INVALID_FIELD, "a_double", "is too large"),
    ("POST /plain/echo", br#"{"a_struct":{"a":{"b":1e400}}}"#, 400, reason::INVALID_FIELD, "a_struct.a.b", "is too large"),
    ("POST /plain/echo", br#"{"a_bytes":"*"}"#, 400, reason::INVALID_FIELD, "a_bytes", "is no base64"),
    ("POST /plain/echo", br#"{"a_duration":"5"}"#, 400, reason::INVALID_FIELD, "a_duration", "must be a duration like 1.5s"),
    ("POST /plain/echo", br#"{"by_int32":{"x":{}}}"#, 400, reason::INVALID_FIELD, "by_int32.x", "its key is no integer"),
    // Queries.
    ("GET /api/v1/books?page_size=x", b"", 400, reason::INVALID_QUERY, "page_size", "is no integer"),
    ("GET /api/v1/books?page_size=", b"", 400, reason::INVALID_QUERY, "page_size", "is no integer"),
    ("GET /api/v1/books?page_size=1&page_size=2", b"", 400, reason::INVALID_QUERY, "page_size", "stands twice in the query"),
    ("GET /api/v1/books?pagesize=1", b"", 400, reason::UNKNOWN_FIELD, "pagesize", "the nearest known one is `page_size`"),
    ("GET /api/v1/books?veiw=full", b"", 400, reason::UNKNOWN_FIELD, "veiw", "the nearest known one is `view`"),
    ("GET /api/v1/books?view=all", b"", 400, reason::INVALID_QUERY, "view", "must be `basic` or `full`"),
    ("GET /api/v1/books?view=full&view=basic", b"", 400, reason::INVALID_QUERY, "view", "stands twice in the query"),
    ("GET /api/v1/books?word=%zz", b"", 400, reason::INVALID_QUERY, "", "the query is not percent-encoded UTF-8"),
    ("GET /api/v1/books?word=%ff", b"", 400, reason::INVALID_QUERY, "", "the query is not percent-encoded UTF-8"),
    ("GET /api/v1/books?word=%00", b"", 400, reason::INVALID_QUERY, "word", "contains U+0000"),
    ("GET /api/v1/books?states=gone", b"", 400, reason::INVALID_QUERY, "states", "must be one of on_shelf, lent"),
    ("GET /api/v1/books?states=unspecified", b"", 400, reason::INVALID_QUERY, "states", "must be one of on_shelf, lent"),
    ("GET /api/v1/books?rare=1", b"", 400, reason::INVALID_QUERY, "rare", "must be `true` or `false`"),
    ("GET /api/v1/books?share=1e999", b"", 400, reason::INVALID_QUERY, "share", "is too large"),
    ("GET /api/v1/books?bought_after=now", b"", 400, reason::INVALID_QUERY, "bought_after", "(RFC 3339)"),
    ("GET /api/v1/books?lighter_than=1e5", b"", 400, reason::INVALID_QUERY, "lighter_than", "is no number in plain decimal form"),
    ("GET /api/v1/books?place=hall", b"", 400, reason::INVALID_QUERY, "place", "cannot be given as plain text"),
    ("GET /api/v1/books?place.romo=hall", b"", 400, reason::UNKNOWN_FIELD, "place.romo", "the nearest known one is `room`"),
    ("GET /api/v1/books?word.x=hall", b"", 400, reason::UNKNOWN_FIELD, "word.x", "the nearest known one is `word`"),
    ("GET /api/v1/books?shop=a&giver=b", b"", 400, reason::INVALID_QUERY, "giver", "cannot be set together with another parameter"),
    ("GET /api/v1/books/5?id=6", b"", 400, reason::INVALID_QUERY, "id", "is set by the path"),
    ("POST /api/v1/books?title=T", b"{}", 400, reason::UNKNOWN_FIELD, "title", "this method has none in its query"),
    ("PATCH /api/v1/books/5?book.title=T", b"{}", 400, reason::UNKNOWN_FIELD, "book.title", "unknown parameter; the nearest known one is `update_mask`"),
    // A view is asked for where something is read.
    ("POST /api/v1/books?view=full", b"{}", 400, reason::UNKNOWN_FIELD, "view", "this method has none in its query"),
    ("POST /api/v1/books?view=basic", b"{}", 400, reason::UNKNOWN_FIELD, "view", "this method has none in its query"),
    ("POST /api/v1/books/9/lend?view=full", b"", 400, reason::UNKNOWN_FIELD, "view", "the nearest known one is `id`"),
    ("PATCH /api/v1/books/5?view=full", b"{}", 400, reason::UNKNOWN_FIELD, "view", "the nearest known one is `update_mask`"),
];

#[tokio::test]
async fn each_bad_request_gets_its_exact_error() {
    for (line, body, status, code, field, message) in TABLE {
        let house = house();
        let (method, path) = line.split_once(' ').unwrap();
        let headers = [("content-type", "application/json"), ("x-request-id", "r-1")];
        let answer = house.with(method, path, &headers, Bytes::from_static(body)).await;
        let case = format!("{line} {}: {}", String::from_utf8_lossy(body), answer.text);
        assert_eq!(answer.status.as_u16(), *status, "{case}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
        let told = answer.json();
        let text = told["message"].as_str().unwrap();
        assert!(text.ends_with(message), "{case}");
        let details = match field.is_empty() {
            true => json!([]),
            false => {
                let description = text.strip_prefix(&format!("{field}: ")).expect(&case);
                json!([{ "field": field, "reason": code, "description": description }])
            }
        };
        let url = format!("{DOC_URL_BASE}{}", code.to_lowercase());
        let mut wanted = json!({ "success": false, "message": text, "error": {
            "code": code, "message": text, "details": details, "request_id": "r-1", "doc_url": url,
        }});
        if path.starts_with("/plain") {
            wanted.as_object_mut().unwrap().remove("success");
        }
        assert_eq!(told, wanted, "{case}");
        house.nothing_arrived();
    }
}

#[tokio::test]
async fn the_keys_of_an_error_stand_in_order() {
    let answer = house().with("GET", "/x", &[("x-request-id", "r")], "").await;
    let wanted = concat!(
        r#"{"success":false,"message":"no such path","error":{"code":"ROUTE_NOT_FOUND","#,
        r#""message":"no such path","details":[],"request_id":"r","#,
        r#""doc_url":"https://library.example/errors#route_not_found"}}"#
    );
    assert_eq!(answer.text, wanted);
    let answer = house().with("DELETE", "/api/v1/stock", &[], "").await;
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    let bare = house_with(Settings::default());
    let answer = bare.with("GET", "/x", &[("x-request-id", "r")], "").await;
    assert!(answer.text.starts_with(r#"{"message":"no such path","error":"#), "{}", answer.text);
    assert!(answer.text.ends_with(r#""doc_url":null}}"#), "{}", answer.text);
}

#[tokio::test]
async fn bodies_of_other_types_are_refused() {
    let house = house();
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json; charset=latin1")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
        &[("content-type", "application/json"), ("content-type", "text/plain")],
    ] {
        let answer = house.with("POST", "/api/v1/books", headers, "{}").await;
        assert_eq!(answer.status, 415, "{headers:?}");
        assert_eq!(answer.json()["error"]["code"], reason::UNSUPPORTED_MEDIA_TYPE);
    }
    house.nothing_arrived();
}

#[tokio::test]
async fn long_bodies_are_refused_with_and_without_a_length() {
    let house = house();
    let max = Settings::default().body_bytes_max;
    let text = format!(r#"{{"title":"{}"}}"#, "x".repeat(max - 12));
    assert_eq!(text.len(), max);
    assert_eq!(house.post("/api/v1/books", text.clone()).await.status, 200);
    let answer = house.post("/api/v1/books", format!("{text} ")).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["error"]["code"], reason::BODY_TOO_LARGE);

    // Pieces without end: only as much is read as the limit allows.
    let pieces = tokio_stream::iter(std::iter::repeat_with(|| {
        Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(&[b' '; 1024])))
    }));
    let request = Request::post("/api/v1/books")
        .header("content-type", "application/json")
        .body(StreamBody::new(pieces))
        .unwrap();
    assert_eq!(house.send(request).await.status, 413);
    assert_eq!(house.library.arrived().len(), 1);
}

#[tokio::test]
async fn deep_nesting_is_refused_wherever_it_stands() {
    let house = house();
    for (open, close, at) in [
        ("{\"notes\":", "}", "["),
        ("{\"zzz\":", "}", "["),
        ("{\"size\":", "}", "{\"size\":"),
        ("", "", "["),
    ] {
        let text = format!("{open}{}{close}", at.repeat(20_000));
        let answer = house.post("/api/v1/books", text).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    let deep = format!("{{\"notes\":{}1{}}}", "[".repeat(31), "]".repeat(31));
    assert_eq!(house.post("/api/v1/books", deep).await.status, 200);
    let deeper = format!("{{\"notes\":{}1{}}}", "[".repeat(32), "]".repeat(32));
    let answer = house.post("/api/v1/books", deeper).await;
    assert!(answer.text.contains("nested too deep at byte 40"), "{}", answer.text);
    let field = answer.json()["error"]["details"][0]["field"].as_str().unwrap().to_owned();
    assert!(field.starts_with("notes[0][0]") && field.chars().count() <= 201, "{field}");
    let inner = |n| format!("{}{{}}{}", "{\"inner\":".repeat(n), "}".repeat(n));
    assert_eq!(house.post("/plain/echo", inner(31)).await.status, 200);
    assert_eq!(house.post("/plain/echo", inner(32)).await.status, 400);
    let structs = |n| format!("{{\"a_struct\":{}1{}}}", "{\"a\":".repeat(n), "}".repeat(n));
    assert_eq!(house.post("/plain/echo", structs(24)).await.status, 200);
    assert_eq!(house.post("/plain/echo", structs(25)).await.status, 400);
}

#[tokio::test]
async fn queries_and_headers_have_limits() {
    let house = house();
    let long = format!("/api/v1/books?word={}", "x".repeat(8 * 1024));
    assert_eq!(house.get(&long).await.json()["error"]["code"], reason::INVALID_QUERY);
    let many = format!("/api/v1/books?{}", "states=lent&".repeat(101));
    assert_eq!(house.get(&many).await.json()["error"]["code"], reason::INVALID_QUERY);
    house.nothing_arrived();
    let long = "x".repeat(256);
    for bad in [long.as_str(), "two words", "", "\u{e9}"] {
        let answer = house.with("POST", "/api/v1/books", &[("idempotency-key", bad)], "").await;
        assert_eq!(answer.status, 400, "{bad}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], reason::INVALID_FIELD);
        assert_eq!(error["details"][0]["field"], "request_id");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    assert_eq!(house.with("POST", "/api/v1/books", &twice, "").await.status, 400);
    house.nothing_arrived();
    let longest = "x".repeat(255);
    let answer = house.with("POST", "/api/v1/books", &[("idempotency-key", &longest)], "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_bad_request() {
    let pieces =
        [Ok(http_body::Frame::data(Bytes::from_static(b"{"))), Err(std::io::Error::other("reset"))];
    let body = StreamBody::new(tokio_stream::iter(pieces));
    let house = house();
    let answer = house.send(Request::post("/api/v1/books").body(body).unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.json()["message"].to_string()),
        (400, "\"the body broke off\"")
    );
    house.nothing_arrived();
}

#[tokio::test]
async fn a_body_that_never_ends_times_out() {
    let house = house_with(Settings { body_seconds_max: Duration::from_millis(20), ..settings() });
    let pieces = tokio_stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let request = Request::post("/api/v1/books").body(StreamBody::new(pieces)).unwrap();
    let answer = house.send(request).await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.json()["error"]["code"], reason::BODY_TIMEOUT);
    house.nothing_arrived();
}
