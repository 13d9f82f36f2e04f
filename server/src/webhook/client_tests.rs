//! The webhook client against receivers of our own on loopback, most of them hostile.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::client::{ClientError, DeliveryError, Outcome, WebhookClient, WebhookLimits};
use super::resolver::Lookup;
use super::target::TargetPolicy;
use crate::env::Env;

const BODY: &[u8] = br#"{"event":"payment.confirmed"}"#;
/// How long any single event may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A receiver on loopback: counts connections, keeps requests, answers as `behaviour` does.
struct Receiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// `behaviour` gets each connection after its request was read whole.
    async fn start<F, R>(behaviour: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, kept) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                if let Some(request) = read_request(&mut stream).await {
                    kept.lock().unwrap().push(request);
                    tokio::spawn(behaviour(stream));
                }
            }
        });
        Self { address, connections, requests, task }
    }

    /// Answers every request with `bytes` and closes.
    async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<Vec<u8>> = Arc::new(bytes.into());
        Self::start(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move { stream.write_all(&bytes).await.unwrap() }
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://{}/hook?shop=1", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn only_request(&self) -> String {
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.len(), 1);
        requests[0].clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads head and body of one request; `None` if the client breaks off.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |value| value.parse().unwrap()) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A resolver that gives its answers one after the other, then none.
struct Script(Mutex<Vec<Vec<&'static str>>>);

#[async_trait]
impl Lookup for Script {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        if answers.is_empty() {
            return Err(io::Error::other(format!("no such name: {name}")));
        }
        Ok(answers.remove(0).into_iter().map(|ip| ip.parse().unwrap()).collect())
    }
}

fn client_with(
    policy: TargetPolicy,
    answers: Vec<Vec<&'static str>>,
    roots: Vec<reqwest::Certificate>,
) -> WebhookClient {
    limited_client(policy, answers, roots, WebhookLimits::default())
}

fn limited_client(
    policy: TargetPolicy,
    answers: Vec<Vec<&'static str>>,
    roots: Vec<reqwest::Certificate>,
    limits: WebhookLimits,
) -> WebhookClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let lookup = Arc::new(Script(Mutex::new(answers)));
    WebhookClient::with_lookup(policy, limits, Env::system(), lookup, roots).unwrap()
}

/// One delivery by a client that waits for a second at most.
async fn deliver_hurried(url: &str) -> Outcome {
    let limits = WebhookLimits { total_seconds_max: 1, ..Default::default() };
    let client = limited_client(TargetPolicy::sandbox(), Vec::new(), Vec::new(), limits);
    post(&client, url).await
}

async fn post(client: &WebhookClient, url: &str) -> Outcome {
    let delivery = client.post(url, HeaderMap::new(), Bytes::from_static(BODY));
    timeout(DEADLINE, delivery).await.expect("an outcome in time")
}

/// One delivery by a sandbox's client to an address.
async fn deliver(url: &str) -> Outcome {
    post(&client_with(TargetPolicy::sandbox(), Vec::new(), Vec::new()), url).await
}

#[tokio::test]
async fn a_delivery_carries_exactly_what_is_documented() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nO\0K").await;
    let client = client_with(TargetPolicy::sandbox(), Vec::new(), Vec::new());
    let mut headers = HeaderMap::new();
    headers.insert("x-event-sequence", HeaderValue::from(7));
    headers.insert("user-agent", HeaderValue::from_static("someone else"));
    let outcome = client.post(&receiver.url(), headers, Bytes::from_static(BODY)).await;
    assert_eq!((outcome.status, outcome.error), (Some(200), None));
    assert_eq!(outcome.response_sample, "O\u{fffd}K");
    assert!(outcome.is_delivered());

    let request = receiver.only_request();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.as_bytes(), BODY);
    let mut lines: Vec<_> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /hook?shop=1 HTTP/1.1");
    lines.sort_unstable();
    // No accept-encoding: a compressed answer was not asked for.
    let agent = format!("user-agent: CryptoPayment/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", receiver.address);
    let length = format!("content-length: {}", BODY.len());
    let mut expected = vec![
        "accept: */*",
        &length,
        "content-type: application/json",
        &host,
        &agent,
        "x-event-sequence: 7",
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let mut logged: Vec<_> =
        outcome.request_headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    logged.sort_unstable();
    assert_eq!(logged, expected, "the log says what was sent, no more and no less");
    assert_eq!(outcome.response_headers, [("content-length".to_owned(), "3".to_owned())]);
    assert!(!outcome.is_response_cut);
}

#[tokio::test]
async fn what_is_kept_of_an_answer_is_bounded() {
    let many: String = (0..90).map(|n| format!("x-{n}: {}\r\n", "v".repeat(20))).collect();
    let body = "x".repeat(16_385);
    let receiver = Receiver::answering(format!("HTTP/1.1 200 OK\r\n{many}\r\n{body}")).await;
    let outcome = deliver(&receiver.url()).await;
    assert_eq!((outcome.status, outcome.error), (Some(200), None));
    assert_eq!(outcome.response_headers.len(), 64);
    assert_eq!((outcome.response_sample.len(), outcome.is_response_cut), (16_384, true));

    let long = format!("x-long: {}\r\n", "v".repeat(8_190));
    let receiver = Receiver::answering(format!("HTTP/1.1 200 OK\r\na: \u{e9}\r\n{long}\r\n")).await;
    let outcome = deliver(&receiver.url()).await;
    assert_eq!(outcome.response_headers, [("a".to_owned(), "\u{e9}".to_owned())]);
    // Each byte becomes a replacement character of three: the text is cut, not the bytes.
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.extend([0xff; 6_000]);
    let outcome = deliver(&Receiver::answering(answer).await.url()).await;
    assert_eq!((outcome.response_sample.len(), outcome.is_response_cut), (16_383, true));
}

#[tokio::test]
async fn the_status_decides_and_a_redirect_is_not_followed() {
    for status in [204, 299, 400, 410, 500, 503] {
        let receiver = Receiver::answering(format!("HTTP/1.1 {status} X\r\n\r\n")).await;
        let outcome = deliver(&receiver.url()).await;
        assert_eq!((outcome.status, outcome.error), (Some(status), None));
        assert_eq!(outcome.is_delivered(), status < 300);
    }
    for status in [301, 302, 303, 307, 308] {
        let receiver = Receiver::start(move |mut stream| async move {
            let own = stream.local_addr().unwrap();
            let head = format!("HTTP/1.1 {status} X\r\nlocation: http://{own}/\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let outcome = deliver(&receiver.url()).await;
        assert_eq!((outcome.status, outcome.error), (Some(status), Some(DeliveryError::Redirect)));
        assert!(!outcome.is_delivered());
        assert_eq!(receiver.connections(), 1);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_and_the_status_kept() {
    let (closed, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let receiver = Receiver::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'a'; 8_192]).await.is_ok() {}
            closed.send(()).unwrap();
        }
    })
    .await;
    let outcome = deliver(&receiver.url()).await;
    assert_eq!((outcome.status, outcome.error), (Some(200), Some(DeliveryError::TooLarge)));
    assert_eq!(outcome.response_sample, "a".repeat(16_384));
    timeout(DEADLINE, seen.recv()).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    for (length, error) in [(65_536, None), (65_537, Some(DeliveryError::TooLarge))] {
        let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(length));
        let outcome = deliver(&Receiver::answering(answer).await.url()).await;
        assert_eq!((outcome.status, outcome.error), (Some(200), error), "{length}");
        assert!(outcome.is_delivered());
    }
}

#[tokio::test]
async fn slow_answers_end_at_the_deadline() {
    let dripping = Receiver::start(|mut stream| async move {
        let mut start: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        loop {
            let Ok(()) = stream.write_all(start).await else { return };
            start = b".";
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let outcome = deliver_hurried(&dripping.url()).await;
    assert_eq!((outcome.status, outcome.error), (Some(200), Some(DeliveryError::Timeout)));
    assert!(outcome.response_sample.starts_with('.'));
    // By the system's clock, which a test machine may set back: only the order of size is asked.
    assert!((500..15_000).contains(&outcome.duration_ms), "{} ms", outcome.duration_ms);

    let slow_head = Receiver::start(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await;
        while stream.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let silent = Receiver::start(|stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    for receiver in [slow_head, silent] {
        let outcome = deliver_hurried(&receiver.url()).await;
        assert_eq!((outcome.status, outcome.error), (None, Some(DeliveryError::Timeout)));
        assert_eq!(outcome.response_sample, "");
        assert!(!outcome.is_delivered());
    }
}

#[tokio::test]
async fn a_compressed_answer_stays_compressed() {
    // gzip of 200,000 times the digit 0, 230 bytes: start, null bytes, end.
    let start = hex::decode("1f8b08000000000002ffedc13101000000c2a04aeb9fce0cfe4001").unwrap();
    let end = hex::decode("af01947d2336400d0300").unwrap();
    let mut bomb = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n".to_vec();
    bomb.extend(start);
    bomb.extend([0; 193]);
    bomb.extend(end);
    let outcome = deliver(&Receiver::answering(bomb).await.url()).await;
    assert_eq!((outcome.status, outcome.error), (Some(200), None));
    assert!(outcome.response_sample.starts_with("\u{1f}\u{fffd}"), "bytes as they came");
    assert!(outcome.response_sample.len() < 1_000);
}

#[tokio::test]
async fn broken_answers_and_oversized_heads_are_protocol_errors() {
    let heads: [Vec<u8>; 4] = [
        b"".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101)).into_bytes(),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1_000_000)).into_bytes(),
    ];
    for head in heads {
        let start = String::from_utf8_lossy(&head[..head.len().min(30)]).into_owned();
        let receiver = Receiver::start(move |mut stream| {
            let head = head.clone();
            async move {
                let _ = stream.write_all(&head).await;
            }
        })
        .await;
        let outcome = deliver(&receiver.url()).await;
        assert_eq!(
            (outcome.status, outcome.error),
            (None, Some(DeliveryError::Protocol)),
            "{start}"
        );
    }
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let outcome = deliver(&Receiver::answering(cut).await.url()).await;
    assert_eq!((outcome.status, outcome.error), (Some(200), Some(DeliveryError::Protocol)));
    assert_eq!(outcome.response_sample, "abc");
}

#[tokio::test]
async fn no_connection_and_no_name_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(deliver(&closed).await.error, Some(DeliveryError::Connect));
    let outcome = deliver("http://nowhere.example/").await;
    assert_eq!((outcome.status, outcome.error), (None, Some(DeliveryError::Dns)));
}

#[tokio::test]
async fn a_name_with_one_private_address_is_not_connected_to() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let port = receiver.address.port();
    let policy = TargetPolicy { allow_http: true, allow_private: false, ports: None };
    let answers = vec![vec!["8.8.8.8", "127.0.0.1"], vec!["127.0.0.1"], vec!["::ffff:127.0.0.1"]];
    let client = client_with(policy, answers, Vec::new());
    for _ in 0..3 {
        let outcome = post(&client, &format!("http://shop.example:{port}/")).await;
        assert_eq!((outcome.status, outcome.error), (None, Some(DeliveryError::BlockedTarget)));
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_name_that_turns_private_after_its_first_check_is_not_connected_to() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let url = format!("http://shop.example:{}/", receiver.address.port());
    // Loopback stands for the public address of the first delivery: the policy in force allows it.
    let client = client_with(
        TargetPolicy::sandbox(),
        vec![vec!["127.0.0.1"], vec!["169.254.169.254"], vec!["127.0.0.1", "0.0.0.0"]],
        Vec::new(),
    );
    assert_eq!(post(&client, &url).await.status, Some(200));
    for _ in 0..2 {
        assert_eq!(post(&client, &url).await.error, Some(DeliveryError::BlockedTarget));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn literal_addresses_are_checked_at_each_delivery() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let policy = TargetPolicy { allow_http: true, allow_private: false, ports: None };
    let client = client_with(policy, Vec::new(), Vec::new());
    let port = receiver.address.port();
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0"] {
        let outcome = post(&client, &format!("http://{host}:{port}/")).await;
        assert_eq!((outcome.status, outcome.error), (None, Some(DeliveryError::BlockedTarget)));
    }
    assert_eq!(receiver.connections(), 0);
}

/// A receiver that speaks TLS for `receiver.test` and answers 204 once; what it read is returned.
fn tls_receiver() -> (u16, std::thread::JoinHandle<io::Result<String>>) {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::{Read as _, Write as _};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("testdata/receiver.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/receiver.key")).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let session = rustls::ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(session, stream);
        let mut request = Vec::new();
        while !request.ends_with(BODY) {
            let mut part = [0; 1_024];
            let read = stream.read(&mut part)?;
            request.extend(&part[..read]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        stream.flush()?;
        Ok(String::from_utf8(request).unwrap())
    });
    (port, thread)
}

#[tokio::test]
async fn https_delivers_to_whom_the_certificate_names_and_to_no_one_else() {
    let root = reqwest::Certificate::from_pem(include_bytes!("testdata/ca.pem")).unwrap();
    let rows = [
        ("receiver.test", vec![root.clone()], None),
        ("receiver.test", Vec::new(), Some(DeliveryError::Tls)),
        ("another.test", vec![root], Some(DeliveryError::Tls)),
    ];
    for (name, roots, error) in rows {
        let (port, thread) = tls_receiver();
        let client = client_with(TargetPolicy::sandbox(), vec![vec!["127.0.0.1"]], roots);
        let outcome = post(&client, &format!("https://{name}:{port}/")).await;
        let received = thread.join().unwrap();
        assert_eq!(outcome.error, error, "{name}: {received:?}");
        assert_eq!(received.is_ok(), error.is_none(), "{name}: {received:?}");
        assert_eq!(outcome.status, error.is_none().then_some(204));
    }
}

#[tokio::test]
async fn a_receiver_without_tls_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Holds the connection until the client has made up its mind.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    assert_eq!(deliver(&url).await.error, Some(DeliveryError::Tls));
    timeout(DEADLINE, server).await.unwrap().unwrap();
}

#[test]
fn the_systems_certificates_make_a_live_client() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = WebhookClient::new(TargetPolicy::live(), WebhookLimits::default(), Env::system());
    // A machine without CA certificates gets a reason, not a panic.
    match made {
        Ok(_) => {}
        Err(ClientError::Setup(error)) => assert!(error.is_builder()),
        Err(other) => panic!("{other}"),
    }
}
