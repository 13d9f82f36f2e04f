//! What the client makes of every kind of bad answer; log-in by password and by cookie.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::atomic::AtomicUsize;

use super::super::fake_node::{FakeNode, http};
use super::*;
use serde_json::json;

async fn answer_to(raw: Vec<u8>) -> Result<String, CallError> {
    let node = FakeNode::raw(move |_| raw.clone()).await;
    Rpc::new(&node.settings).unwrap().call("m", json!([])).await
}

async fn failure_of(raw: Vec<u8>) -> ChainError {
    answer_to(raw).await.unwrap_err().into()
}

#[tokio::test]
async fn results_and_node_errors_are_told_apart() {
    let node = FakeNode::answering(|method, params| match method {
        "echo" => Ok(params[0].clone()),
        "null" => Ok(Value::Null),
        _ => Err((code::OUT_OF_RANGE, "Block height\nout of range")),
    })
    .await;
    let rpc = Rpc::new(&node.settings).unwrap();
    assert_eq!(rpc.call::<String>("echo", json!(["a"])).await, Ok("a".to_owned()));
    assert_eq!(rpc.call::<()>("null", json!([])).await, Ok(()));
    let message = "Block height out of range".to_owned();
    let error = NodeError { code: code::OUT_OF_RANGE, message };
    assert_eq!(rpc.call::<String>("x", json!([])).await, Err(CallError::Node(error)));
    let unexpected = rpc.call::<u64>("echo", json!(["a"])).await.unwrap_err();
    assert!(matches!(unexpected, CallError::Chain(ChainError::Invalid(_))));
}

#[tokio::test]
async fn what_passes_is_transient() {
    for raw in [
        http(503, "Work queue depth exceeded"),
        http(502, "<html>bad gateway</html>"),
        http(429, ""),
        http(200, "lack of computing resources"),
        http(200, r#"{"result":"a","error":null,"id":"#),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"result\"".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
        Vec::new(),
        http(500, r#"{"result":null,"error":{"code":-28,"message":"Loading"},"id":1}"#),
        http(500, r#"{"result":null,"error":{"code":-28,"message":"Loading"},"id":null}"#),
    ] {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let failure = failure_of(raw).await;
        assert!(matches!(failure, ChainError::Transient(_)), "{text}: {failure:?}");
    }
}

#[tokio::test]
async fn nonsense_is_invalid() {
    for raw in [
        http(200, r#"{"result":"a","error":null,"id":99}"#),
        http(200, r#"{"result":"a","error":null,"id":null}"#),
        http(200, r#"{"result":"a"}"#),
        http(200, r#"{"result":7,"error":null,"id":1}"#),
        http(200, r#"{"result":null,"error":null,"id":1}"#),
        b"HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec(),
    ] {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let failure = failure_of(raw).await;
        assert!(matches!(failure, ChainError::Invalid(_)), "{text}: {failure:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let too_long = format!(r#"{{"result":"{}"}}"#, "a".repeat(MAX_ANSWER_BYTES));
    let failure = failure_of(http(200, &too_long)).await;
    assert!(failure.to_string().contains("more than"), "{failure}");
}

#[tokio::test]
async fn a_node_that_is_gone_or_silent_is_transient() {
    let node = FakeNode::raw(|_| Vec::new()).await;
    let mut settings = node.settings.clone();
    drop(node);
    let gone: ChainError =
        Rpc::new(&settings).unwrap().call::<()>("m", json!([])).await.unwrap_err().into();
    assert!(matches!(gone, ChainError::Transient(_)), "{gone:?}");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    settings.url = format!("http://{}/", silent.local_addr().unwrap());
    settings.timeout = Duration::from_millis(50);
    let slow: ChainError =
        Rpc::new(&settings).unwrap().call::<()>("m", json!([])).await.unwrap_err().into();
    assert!(matches!(slow, ChainError::Transient(_)), "{slow:?}");
}

#[tokio::test]
async fn a_batch_is_put_in_order_by_id_and_must_be_complete() {
    let answer = |drop_one: bool| {
        move |request: &super::super::fake_node::Request| {
            let calls = request.body.as_array().unwrap();
            let mut replies: Vec<Value> = calls
                .iter()
                .map(|call| json!({ "id": call["id"], "result": call["params"][0] }))
                .collect();
            replies[0] = json!({ "id": calls[0]["id"], "error": { "code": -5, "message": "no" } });
            replies.reverse();
            if drop_one {
                replies.pop();
            }
            http(200, &Value::Array(replies).to_string())
        }
    };
    let params = [json!(["a"]), json!(["b"]), json!(["c"])];
    let node = FakeNode::raw(answer(false)).await;
    let rpc = Rpc::new(&node.settings).unwrap();
    let error = NodeError { code: -5, message: "no".to_owned() };
    let results = rpc.batch::<String>("m", &params).await.unwrap();
    assert_eq!(results, [Err(error), Ok("b".to_owned()), Ok("c".to_owned())]);

    let node = FakeNode::raw(answer(true)).await;
    let rpc = Rpc::new(&node.settings).unwrap();
    let failure = rpc.batch::<String>("m", &params).await.unwrap_err();
    assert!(matches!(failure, CallError::Chain(ChainError::Invalid(_))), "{failure:?}");
}

#[tokio::test]
async fn a_password_is_sent_and_a_refusal_of_it_is_no_passing_trouble() {
    // base64 of `user:secret`, in lower case as the fake node shows heads.
    let node = FakeNode::raw(|request| {
        if request.head.contains("authorization: basic dxnlcjpzzwnyzxq=") {
            http(200, r#"{"result":"in","error":null,"id":1}"#)
        } else {
            http(401, "")
        }
    })
    .await;
    let mut settings = node.settings.clone();
    let login = |password: &str| RpcAuth::Password {
        user: "user".to_owned(),
        password: password.to_owned(),
    };
    settings.auth = login("secret");
    assert!(!format!("{settings:?}").contains("secret"), "settings are logged");
    let call = |settings: RpcSettings| async move {
        Rpc::new(&settings).unwrap().call::<String>("m", json!([])).await
    };
    assert_eq!(call(settings.clone()).await, Ok("in".to_owned()));
    settings.auth = login("other");
    let refused = call(settings).await.unwrap_err();
    assert!(matches!(refused, CallError::Chain(ChainError::Unsupported(_))), "{refused:?}");
}

#[tokio::test]
async fn a_services_key_is_part_of_the_path_and_never_shown() {
    let node = FakeNode::raw(|request| {
        let (line, _) = request.head.split_once(' ').unwrap();
        assert_eq!((line, request.body["jsonrpc"].as_str()), ("post", Some("2.0")));
        let status = if request.head.contains("post /v3/k%2fey ") { 200 } else { 401 };
        http(status, r#"{"result":"in","id":1}"#)
    })
    .await;
    let mut settings = node.settings.clone();
    settings.url += "v3/";
    settings.auth = RpcAuth::PathKey("k/ey".to_owned());
    assert!(!format!("{settings:?}").contains("k/ey"), "settings are logged");
    let rpc = Rpc::speaking(Dialect::V2, &settings).unwrap();
    assert_eq!(rpc.call::<String>("m", json!([])).await, Ok("in".to_owned()));
    drop(node);
    let gone: ChainError = rpc.call::<String>("m", json!([])).await.unwrap_err().into();
    assert!(!gone.to_string().contains("k%2Fey"), "{gone}");
}

#[tokio::test]
async fn a_cookie_is_read_again_when_the_node_made_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".cookie");
    let accepted = Arc::new(AtomicUsize::new(1));
    let seen = accepted.clone();
    let node = FakeNode::raw(move |request| {
        // base64 of `__cookie__:1` and `__cookie__:2`, lower case.
        let cookies = ["x19jb29rawvfxzox", "x19jb29rawvfxzoy"];
        let wanted = cookies[seen.load(Ordering::SeqCst) - 1];
        if request.head.contains(&format!("authorization: basic {wanted}")) {
            http(200, &json!({ "result": "in", "id": request.body["id"] }).to_string())
        } else {
            http(401, "")
        }
    })
    .await;
    let mut settings = node.settings.clone();
    settings.auth = RpcAuth::CookieFile(path.clone());
    let rpc = Rpc::new(&settings).unwrap();
    let call = || rpc.call::<String>("m", json!([]));

    let missing: ChainError = call().await.unwrap_err().into();
    assert!(matches!(missing, ChainError::Transient(_)), "{missing:?}");
    std::fs::write(&path, "__cookie__:1\n").unwrap();
    assert_eq!(call().await, Ok("in".to_owned()));
    accepted.store(2, Ordering::SeqCst);
    let stale: ChainError = call().await.unwrap_err().into();
    assert!(matches!(stale, ChainError::Transient(_)), "{stale:?}");
    std::fs::write(&path, "__cookie__:2").unwrap();
    assert_eq!(call().await, Ok("in".to_owned()));
}

#[test]
fn unusable_settings_are_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for url in ["127.0.0.1", "ftp://127.0.0.1/", "http://user:secret@127.0.0.1/", ""] {
        let settings =
            RpcSettings { url: url.to_owned(), auth: RpcAuth::None, timeout: Duration::MAX };
        assert!(matches!(Rpc::new(&settings).err(), Some(SetupError::Url(_))), "{url}");
    }
}

#[test]
fn node_errors_mean_what_they_say() {
    let meaning = |code, message: &str| -> ChainError {
        NodeError { code, message: message.to_owned() }.into()
    };
    let pruned = meaning(code::MISC, "Block not available (pruned data)");
    assert!(matches!(pruned, ChainError::Unsupported(_)));
    assert!(matches!(meaning(code::NO_METHOD, "Method not found"), ChainError::Unsupported(_)));
    assert!(matches!(meaning(code::MISC, "Block not found on disk"), ChainError::Transient(_)));
    assert!(matches!(meaning(code::STARTING, "Loading"), ChainError::Transient(_)));
    assert!(matches!(meaning(code::DECODE, "TX decode failed"), ChainError::Invalid(_)));
}
