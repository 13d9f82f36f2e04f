//! Oversized heads, panics, and a system that refuses to accept.

use std::io;

use super::super::{Accept, LimitsError, Peer, serve_on};
use super::*;

#[tokio::test]
async fn oversized_heads_get_431_and_the_server_lives() {
    let server = Running::start(hello(), ListenerLimits::default()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200));
    for head in [long, many] {
        let (mut reader, mut writer) = server.connect().await.into_split();
        // The server answers before it has read everything; the rest may meet a closed socket.
        let writing = tokio::spawn(async move {
            let _ = writer.write_all(head.as_bytes()).await;
            writer
        });
        let answer = read_until_closed(&mut reader).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        writing.await.unwrap();
    }
    assert!(read_answer(&mut server.send(HELLO).await).await.ends_with("hello"));
}

#[tokio::test]
async fn a_panic_answers_500_and_ends_nothing() {
    let refuse = async || -> &'static str { panic!("a defect in a handler") };
    let app = hello().route("/panic", get(refuse));
    let server = Running::start(app, ListenerLimits::default()).await;
    let mut stream =
        server.send(b"GET /panic HTTP/1.1\r\nhost: a\r\nx-request-id: one-\"7\"\r\n\r\n").await;
    let answer = read_answer(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    for line in [
        "content-type: application/json",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "x-request-id: one-\"7\"",
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    // The documented shape, in the documented order.
    let error = concat!(
        r#"{"code":"INTERNAL","message":"internal error","details":[],"request_id":"one-\"7\"","#,
        r#""doc_url":"https://pay.example/docs/errors#internal"}"#
    );
    let documented = format!(r#"{{"success":false,"message":"internal error","error":{error}}}"#);
    assert_eq!(body, documented);

    // Who brings no id that can be used is given one.
    for brought in ["", "x-request-id: a b\r\n"] {
        let request = format!("GET /panic HTTP/1.1\r\nhost: a\r\n{brought}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
        assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
        assert!(body.contains(&format!(r#""request_id":"{id}""#)), "{body}");
    }

    let grpc =
        b"GET /panic HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web+proto\r\n\r\n";
    stream.write_all(grpc).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("grpc-status: 13"), "{answer}");
    assert!(answer.contains("\r\nx-request-id: "), "{answer}");

    stream.write_all(HELLO).await.unwrap();
    assert!(read_answer(&mut stream).await.ends_with("hello"), "on the same connection");
}

#[tokio::test]
async fn grpc_and_rest_share_the_port_and_a_grpc_panic_is_internal() {
    use tonic::Code;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
    let grpc = tonic::service::Routes::new(health).prepare().into_axum_router().reset_fallback();
    let broken = "/grpc.health.v1.Health/Broken";
    let refuse = async || -> &'static str { panic!("a defect in a service") };
    let app = hello().merge(grpc).route(broken, axum::routing::post(refuse));
    let server = Running::start(app, ListenerLimits::default()).await;

    let channel = tonic::transport::Endpoint::new(format!("http://{}", server.address)).unwrap();
    let mut client = HealthClient::new(channel.connect_lazy());
    let request = HealthCheckRequest { service: "shop".to_owned() };
    let reply = timeout(DEADLINE, client.check(request)).await.unwrap().unwrap();
    assert_eq!(reply.into_inner().status, 1, "SERVING");
    assert!(read_answer(&mut server.send(HELLO).await).await.ends_with("hello"));

    let mut raw = tonic::client::Grpc::new(channel.connect_lazy());
    raw.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let call = raw.unary(
        tonic::Request::new(HealthCheckRequest::default()),
        http::uri::PathAndQuery::from_static(broken),
        codec,
    );
    let status = timeout(DEADLINE, call).await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
}

/// A port whose system has no file handles left for a while.
struct Exhausted {
    inner: TcpListener,
    /// What the next calls of `accept` answer, last first.
    errors: Vec<io::Error>,
}

impl Accept for Exhausted {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Peer)> {
        match self.errors.pop() {
            Some(error) => Err(error),
            None => Accept::accept(&mut self.inner).await,
        }
    }
}

#[tokio::test]
async fn errors_of_accept_do_not_end_the_loop() {
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inner.local_addr().unwrap();
    // ENFILE 23, EMFILE 24, ECONNABORTED 103, and one no one has heard of.
    let errors = [23, 24, 24, 103, 9_999].map(io::Error::from_raw_os_error).into();
    let stop = CancellationToken::new();
    let source = Exhausted { inner, errors };
    let limits = ListenerLimits::default();
    let server = tokio::spawn(serve_on(source, hello(), None, limits, stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(HELLO).await.unwrap();
    assert!(read_answer(&mut stream).await.ends_with("hello"));
    stop.cancel();
    assert_eq!(timeout(DEADLINE, server).await.unwrap().unwrap().connections_cut, 0);
}

#[test]
fn limits_that_would_lock_everyone_out_are_refused() {
    assert_eq!(ListenerLimits::default().check(), Ok(()));
    let none = ListenerLimits { connections_max: 0, ..Default::default() };
    assert_eq!(none.check(), Err(LimitsError::TooSmall("connections_max", 1)));
    // hyper panics on smaller buffers; the check comes first.
    let tiny = ListenerLimits { http1_buffer_bytes_max: 8_191, ..Default::default() };
    assert_eq!(tiny.check(), Err(LimitsError::TooSmall("http1_buffer_bytes_max", 8_192)));
    let wide = ListenerLimits { stream_window_bytes: u32::MAX, ..Default::default() };
    assert_eq!(wide.check(), Err(LimitsError::TooLarge("stream_window_bytes", 2_147_483_647)));
}

#[test]
fn limits_are_read_from_configuration_and_typing_errors_are_found() {
    let read: ListenerLimits = toml::from_str("connections_max = 7").unwrap();
    assert_eq!(read, ListenerLimits { connections_max: 7, ..Default::default() });
    let wrong = toml::from_str::<ListenerLimits>("connection_max = 7").unwrap_err();
    assert!(wrong.to_string().contains("connection_max"), "{wrong}");
}
