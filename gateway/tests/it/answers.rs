//! What successful answers look like, to the byte: keys and their order, number tokens, nulls,
//! views, keyed objects, headers.

use crate::support::house;

const JSON: &str = "application/json";

#[tokio::test]
async fn a_new_book_stands_as_documented() {
    let house = house();
    let answer = house.post("/api/v1/books", r#"{"title": "T"}"#).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some(JSON));
    let id = &answer.json()["request_id"];
    assert_eq!(
        answer.text,
        concat!(
            r#"{"success":true,"book":{"id":"7","title":"T","mark":null,"state":"on_shelf","#,
            r#""weight":2.00,"fine":0,"loans":0,"size":{"width":0,"height":19},"#,
            r#""due_at":"2024-01-15T10:30:00+00:00"},"#,
            r#""page_url":"https://library.example/7","request_id":"#,
        )
        .to_owned()
            + &id.to_string()
            + "}"
    );
}

#[tokio::test]
async fn the_full_view_adds_its_fields_in_place() {
    let house = house();
    let full = concat!(
        r#"{"success":true,"book":{"id":"full","title":"On \"Growth\" and Form\n","mark":null,"#,
        r#""state":"on_shelf","weight":1.50,"fine":0,"loans":0,"#,
        r#""size":{"width":0,"height":19},"due_at":"2024-01-15T10:30:00+00:00","#,
        r#""notes":{"b":1.10,"a":[1e400,"\u00e9"]},"bought_at":"2024-01-15T10:30:00.500Z","#,
        r#""wear":18446744073709551615}}"#,
    );
    assert_eq!(house.get("/api/v1/books/full").await.text, full, "asked for by the upstream");
    let asked = house.get("/api/v1/books/8?view=full").await.text;
    assert_eq!(asked, full.replace("\"full\"", "\"8\""), "asked for by the caller");
    let basic = house.get("/api/v1/books/full?view=basic").await.text;
    assert!(
        !basic.contains("wear") && basic.ends_with("+00:00\"}}"),
        "the caller decides: {basic}"
    );
}

#[tokio::test]
async fn lists_may_be_empty_and_big_integers_are_strings() {
    let answer = house().get("/api/v1/books").await.text;
    assert!(
        answer.starts_with(concat!(
            r#"{"success":true,"books":[],"pagination":{"page":null,"per_page":20,"#,
            r#""total":"1152921504606846976"},"echo":"#
        )),
        "{answer}"
    );
}

#[tokio::test]
async fn keyed_lists_are_objects_in_the_order_of_their_elements() {
    let house = house();
    let wanted = concat!(
        r#"{"success":true,"stocks":{"Tower":{"shelved":450.00,"lent":0},"#,
        r#""Attic":{"shelved":0.025,"lent":0}}}"#
    );
    assert_eq!(house.get("/api/v1/books/stock").await.text, wanted);
    let alone = concat!(
        r#"{"success":true,"Tower":{"shelved":450.00,"lent":0},"#,
        r#""Attic":{"shelved":0.025,"lent":0}}"#
    );
    assert_eq!(house.get("/api/v1/stock").await.text, alone, "response_body");
    let full = house.get("/api/v1/stock?view=full").await.text;
    assert!(full.contains(r#""Tower":{"shelved":450.00,"lent":0,"exact":"450.000000000"}"#));
}

#[tokio::test]
async fn a_message_alone_as_the_body_keeps_the_success_key() {
    let answer = house().get("/api/v1/shelved/5/book").await.text;
    assert!(answer.starts_with(r#"{"success":true,"id":"5","title":"#), "{answer}");
    assert!(answer.ends_with(r#""due_at":"2024-01-15T10:30:00+00:00"}"#), "{answer}");
}

#[tokio::test]
async fn empty_and_absent_messages() {
    let house = house();
    let deleted = house.with("DELETE", "/api/v1/books/5", &[], "").await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (200, r#"{"success":true}"#));
    let lent = house.post("/api/v1/books/5:lend", "{}").await;
    assert_eq!(lent.text, r#"{"success":true,"book":null}"#);
    let plain = house.post("/plain/echo", r#"{"a_bool":true,"an_empty":{}}"#).await.text;
    assert!(plain.starts_with(r#"{"a_bool":true,"an_int32":0,"a_sint32":0,"#), "{plain}");
    assert!(plain.contains(r#""an_int64":"0""#) && plain.contains(r#""an_empty":{}"#), "{plain}");
    assert!(plain.contains(r#""a_sorting":"SORTING_UNSPECIFIED""#), "{plain}");
}

#[tokio::test]
async fn free_forms_and_paths_of_many_segments() {
    let answer = house().get("/api/v1/archive/files/a/b%2Fc").await.text;
    let wanted = r#"{"success":true,"path":"files/a/b%2Fc","content":{"a":null,"b":1.5}}"#;
    assert_eq!(answer, wanted);
}

#[tokio::test]
async fn negative_numbers_and_unset_texts() {
    let answer = house().get("/api/v1/fail/0?how=no+text").await.text;
    assert_eq!(answer, r#"{"success":true,"number":-1.5,"text":null}"#);
}

#[tokio::test]
async fn only_listed_metadata_comes_back() {
    let answer = house().get("/api/v1/books/5").await;
    assert_eq!(answer.header("etag"), Some("\"v1\""));
    assert_eq!(answer.header("x-secret"), None);
    assert_eq!(answer.header("grpc-status"), None);
    assert!(answer.header("x-request-id").unwrap().len() == 36);
}

#[tokio::test]
async fn no_cache_keeps_an_answer_and_no_browser_takes_it_for_a_page() {
    let house = house();
    for (method, path) in [
        ("GET", "/api/v1/books/5"),
        ("GET", "/nowhere/<script>alert(1)</script>"),
        ("GET", "/api/v1/books?%3Cscript%3E=1"),
        ("DELETE", "/api/v1/books"),
        ("OPTIONS", "/api/v1/books"),
        ("HEAD", "/api/v1/books/5"),
    ] {
        let path = path.replace('<', "%3C").replace('>', "%3E");
        let answer = house.with(method, &path, &[], "").await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        let kind = answer.header("content-type");
        assert!(kind.is_none_or(|kind| kind == "application/json"), "{method} {path}");
        assert!(kind.is_some() || method == "OPTIONS", "{method} {path}");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let house = house();
    let get = house.get("/api/v1/books/5").await;
    let head = house.with("HEAD", "/api/v1/books/5", &[], "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(get.text.len().to_string().as_str()));
    let lost = house.with("HEAD", "/nowhere", &[], "").await;
    assert_eq!((lost.status.as_u16(), lost.text.as_str()), (404, ""));
}

#[tokio::test]
async fn options_name_the_methods() {
    let house = house();
    let answer = house.with("OPTIONS", "/api/v1/books", &[], "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("allow"), Some("POST, GET, HEAD, OPTIONS"));
    assert_eq!(house.with("OPTIONS", "/nowhere", &[], "").await.status, 404);
}

#[tokio::test]
async fn a_trailing_slash_and_literals() {
    let house = house();
    assert!(house.get("/api/v1/books/").await.text.contains("\"books\":[]"));
    assert!(house.get("/api/v1/books/stock/").await.text.contains("Tower"));
    assert!(house.get("/api/v1/books/stockpile").await.text.contains("\"id\":\"stockpile\""));
}
