//! When connections begin and end: greeting, caps, age, shutdown.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, mpsc};

use super::super::{ConnectionDrain, PeerAddress};
use super::*;

/// Tells the test what happens inside a handler.
#[derive(Clone)]
struct Probe {
    entered: mpsc::UnboundedSender<&'static str>,
    release: Arc<Notify>,
}

/// Reports when the future that holds it is dropped.
struct OnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// `/slow` answers when released, `/hang` never.
fn probed() -> (Router, mpsc::UnboundedReceiver<&'static str>, Arc<Notify>) {
    let (entered, events) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let probe = Probe { entered, release: Arc::clone(&release) };
    let slow = async |State(probe): State<Probe>| {
        probe.entered.send("slow").unwrap();
        probe.release.notified().await;
        "done"
    };
    let hang = async |State(probe): State<Probe>| {
        probe.entered.send("hang").unwrap();
        let _guard = OnDrop(probe.entered.clone());
        std::future::pending::<&'static str>().await
    };
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/slow", get(slow))
        .route("/hang", get(hang))
        .with_state(probe);
    (app, events, release)
}

async fn next(events: &mut mpsc::UnboundedReceiver<&'static str>) -> &'static str {
    timeout(DEADLINE, events.recv()).await.expect("an event in time").expect("the server runs")
}

#[tokio::test]
async fn who_does_not_greet_is_dropped_and_who_does_is_not() {
    let (app, mut events, release) = probed();
    let limits = ListenerLimits { preface_timeout_seconds: 1, ..Default::default() };
    let server = Running::start(app, limits).await;
    // The shortest request there is, 22 bytes: fewer than a preface has, and not to be dropped.
    let mut short = server.send(b"GET /slow HTTP/1.0\r\n\r\n").await;
    assert_eq!(next(&mut events).await, "slow");

    let mut silent = server.connect().await;
    let mut one_byte = server.send(b"P").await;
    let mut most_of_it = server.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await;
    for stream in [&mut silent, &mut one_byte, &mut most_of_it] {
        assert_eq!(read_until_closed(stream).await, "");
    }
    release.notify_one();
    assert!(read_until_closed(&mut short).await.ends_with("done"));
}

#[tokio::test]
async fn half_a_request_head_is_dropped() {
    let limits = ListenerLimits { header_read_timeout_seconds: 1, ..Default::default() };
    let server = Running::start(hello(), limits).await;
    let mut half = server.send(b"GET / HTTP/1.1\r\nhost: shop").await;
    let answer = read_until_closed(&mut half).await;
    assert!(!answer.contains("200"), "{answer}");

    let mut idle = server.send(HELLO).await;
    assert!(read_answer(&mut idle).await.ends_with("hello"));
    assert_eq!(read_until_closed(&mut idle).await, "", "an idle connection ends too");
}

#[tokio::test]
async fn the_connection_cap_holds_and_recovers() {
    let limits = ListenerLimits { connections_max: 2, ..Default::default() };
    let server = Running::start(hello(), limits).await;
    let mut first = server.send(HELLO).await;
    let mut second = server.send(HELLO).await;
    assert!(read_answer(&mut first).await.ends_with("hello"));
    assert!(read_answer(&mut second).await.ends_with("hello"));

    let mut third = server.send(HELLO).await;
    let early = timeout(Duration::from_millis(300), read_answer(&mut third)).await;
    assert!(early.is_err(), "served over the cap: {early:?}");
    drop(first);
    assert!(read_answer(&mut third).await.ends_with("hello"));
}

#[tokio::test]
async fn an_address_over_its_share_is_closed_at_once() {
    let limits = ListenerLimits {
        connections_per_ip_max: 1,
        connections_per_ip_loopback_exempt: false,
        // Longer than the test: only the share may close a connection here.
        preface_timeout_seconds: 60,
        ..Default::default()
    };
    let server = Running::start(hello(), limits).await;
    let mut first = server.send(HELLO).await;
    assert!(read_answer(&mut first).await.ends_with("hello"));
    let mut second = server.connect().await;
    assert_eq!(read_until_closed(&mut second).await, "");
    // The first is not disturbed, and its place comes back when it leaves.
    first.write_all(HELLO).await.unwrap();
    assert!(read_answer(&mut first).await.ends_with("hello"));
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_until_closed(&mut first).await.ends_with("hello"));
    let recovered = async {
        loop {
            let mut again = server.connect().await;
            if again.write_all(HELLO).await.is_ok() && again.readable().await.is_ok() {
                let mut start = [0; 8];
                if matches!(again.try_read(&mut start), Ok(8)) {
                    break;
                }
            }
        }
    };
    timeout(DEADLINE, recovered).await.expect("the place comes back");
}

#[tokio::test]
async fn an_old_connection_is_asked_to_end_and_then_cut() {
    let (app, mut events, _release) = probed();
    let until_drain = async |Extension(drain): Extension<ConnectionDrain>| {
        drain.0.cancelled().await;
        "ended by itself"
    };
    let app = app.route("/stream", get(until_drain));
    let limits = ListenerLimits {
        preface_timeout_seconds: 1,
        connection_age_seconds_max: 1,
        connection_age_grace_seconds: 1,
        ..Default::default()
    };
    let server = Running::start(app, limits).await;
    let mut idle = server.send(HELLO).await;
    let mut stream = server.send(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut hanging = server.send(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(next(&mut events).await, "hang");

    assert!(read_until_closed(&mut idle).await.ends_with("hello"));
    let answer = read_until_closed(&mut stream).await;
    assert!(answer.contains("connection: close") && answer.ends_with("ended by itself"));
    assert_eq!(read_until_closed(&mut hanging).await, "");
    assert_eq!(next(&mut events).await, "dropped", "a cut handler is dropped");
    assert!(read_answer(&mut server.send(HELLO).await).await.ends_with("hello"));
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_cuts_the_hanging_ones() {
    let (app, mut events, release) = probed();
    let limits = ListenerLimits { drain_seconds_max: 2, ..Default::default() };
    let mut server = Running::start(app, limits).await;
    let mut idle = server.send(HELLO).await;
    assert!(read_answer(&mut idle).await.ends_with("hello"));
    let mut slow = server.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(next(&mut events).await, "slow");
    let mut hanging = server.send(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(next(&mut events).await, "hang");

    server.stop.cancel();
    assert_eq!(read_until_closed(&mut idle).await, "", "idle connections end at once");
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
    release.notify_one();
    assert!(read_until_closed(&mut slow).await.ends_with("done"));
    let drained = timeout(DEADLINE, &mut server.task).await.expect("drained in time").unwrap();
    assert_eq!(drained, Drained { connections_cut: 1 });
    assert_eq!(read_until_closed(&mut hanging).await, "");
    assert_eq!(next(&mut events).await, "dropped");
}

#[tokio::test]
async fn a_quiet_server_stops_at_once() {
    let mut server = Running::start(hello(), ListenerLimits::default()).await;
    let mut silent = server.connect().await;
    assert!(read_answer(&mut server.send(HELLO).await).await.ends_with("hello"));
    server.stop.cancel();
    // Well below the default drain deadline of 20 s: nothing was in flight.
    let drained = timeout(Duration::from_secs(10), &mut server.task).await.expect("at once");
    assert_eq!(drained.unwrap(), Drained { connections_cut: 0 });
    assert_eq!(read_until_closed(&mut silent).await, "");
}

#[tokio::test]
async fn handlers_learn_the_callers_address() {
    let app = Router::new().route(
        "/",
        get(async |Extension(PeerAddress(address)): Extension<PeerAddress>| address.to_string()),
    );
    let server = Running::start(app, ListenerLimits::default()).await;
    let mut stream = server.send(HELLO).await;
    let own = stream.local_addr().unwrap().to_string();
    assert!(read_answer(&mut stream).await.ends_with(&own));
}
