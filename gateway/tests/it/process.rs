//! Where a gateway can stand: beside the gRPC routes in one router, and as a process of its own,
//! the binary over one socket in front of a tonic server over another, on loopback and free ports.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio_stream::wrappers::TcpListenerStream;
use tower::ServiceExt as _;

use crate::contract::DESCRIPTOR_SET;
use crate::contract::library_v1::{GetStockRequest, GetStockResponse};
use crate::library::Library;
use crate::support::house;

/// Longest wait for an answer in this file.
const ANSWER_SECONDS_MAX: u64 = 20;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the binary and waits for the line that tells its port.
fn start(upstream: SocketAddr, set: &std::path::Path) -> (Process, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rpc-gateway"))
        .args(["--upstream", &format!("http://{upstream}"), "--listen", "127.0.0.1:0"])
        .args(["--default-success-key", "success", "--descriptors"])
        .arg(set)
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let process = Process(child);
    let mut line = String::new();
    while !line.contains("address=") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended before it listened");
    }
    let address = line.split("address=").nth(1).unwrap().trim().parse().unwrap();
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    (process, address)
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_stands_between_two_sockets() {
    let library = Library::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_routes(library.routes())
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set.bin");
    std::fs::write(&set, DESCRIPTOR_SET.as_slice()).unwrap();

    let exchanges = tokio::task::spawn_blocking(move || {
        let (_process, address) = start(upstream, &set);
        let body = r#"{"title":"T","weight":5.0e-5}"#;
        let post = format!(
            "POST /api/v1/books HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             authorization: Bearer a:b\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let chunked = "POST /api/v1/books HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\n{}\r\n0\r\n\r\n";
        let failing = "GET /api/v1/fail/9?how=details HTTP/1.1\r\nhost: x\r\n\
             connection: close\r\n\r\n";
        let lost = "HEAD /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        [post.as_str(), chunked, failing, lost].map(|request| exchange(address, request))
    });
    let [post, chunked, failing, lost] = exchanges.await.unwrap();
    assert!(post.starts_with("HTTP/1.1 200 OK\r\n"), "{post}");
    assert!(
        post.contains("\r\n\r\n{\"success\":true,\"book\":{\"id\":\"7\",\"title\":\"T\""),
        "{post}"
    );
    assert!(chunked.starts_with("HTTP/1.1 200 OK\r\n"), "{chunked}");
    assert!(failing.contains("BOOK_IS_LENT") && failing.starts_with("HTTP/1.1 400"), "{failing}");
    assert!(lost.starts_with("HTTP/1.1 404") && lost.ends_with("\r\n\r\n"), "{lost}");
    let arrived = &library.arrived()[0];
    assert!(arrived.message.contains("weight: \"0.00005\""), "{arrived:?}");
    assert_eq!(arrived.metadata.get("authorization").unwrap(), "Bearer a:b");
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_ends_the_watch_behind() {
    let library = Library::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_routes(library.routes())
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set.bin");
    std::fs::write(&set, DESCRIPTOR_SET.as_slice()).unwrap();
    let (_process, address) =
        tokio::task::spawn_blocking(move || start(upstream, &set)).await.unwrap();

    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /api/v1/loans/5?wait=60 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    for (open, what) in [(1, "the watch opens"), (0, "the watch ends")] {
        let reached = async {
            while library.loans.open() != open {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
        tokio::time::timeout(limit, reached).await.unwrap_or_else(|_| panic!("never: {what}"));
        socket.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    }
    server.abort();
}

#[tokio::test]
async fn one_router_serves_grpc_and_rest() {
    let house = house();
    let router = house
        .library
        .routes()
        .into_axum_router()
        .reset_fallback()
        .fallback_service(house.service.clone());
    let rest = Request::get("/api/v1/stock").body(Full::new(Bytes::new())).unwrap();
    let rest = router.clone().oneshot(rest).await.unwrap();
    assert_eq!(
        (rest.status().as_u16(), &rest.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );

    // A gRPC client over the same router.
    let mut grpc = tonic::client::Grpc::with_origin(router, "http://house".parse().unwrap());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<GetStockRequest, GetStockResponse>::default();
    let path = "/library.v1.LibraryService/GetStock".parse().unwrap();
    let answer = grpc.unary(tonic::Request::new(GetStockRequest {}), path, codec).await.unwrap();
    assert_eq!(answer.into_inner().stocks.len(), 2);
}
