//! Deliveries: claimed, signed, sent to a receiver on loopback and marked, beside what they are made of:
//! claiming and marking alone in the same database, signing and sending alone to the same receiver.
//! Not here: how events become deliveries.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cryptopayment::domain::event::EventBody;
use cryptopayment::domain::time::Micros;
use cryptopayment::metrics::AttemptMeter;
use cryptopayment::secret_box::SecretBox;
use cryptopayment::signals::Signals;
use cryptopayment::store::deliveries::{self, Claim, FinishedAttempt, NextStep};
use cryptopayment::transport::listener::{self, ListenerLimits};
use cryptopayment::webhook::body::BodyWriter;
use cryptopayment::webhook::{Message, SignedRequest, TargetPolicy, WebhookClient, WebhookLimits};
use cryptopayment::worker::deliver::{CLAIMED_MAX, Deliverer, DelivererParts};
use cryptopayment::worker::reconcile;
use cryptopayment_proto::DESCRIPTOR_SET;
use rpc_gateway::{Gateway, Settings};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::measure::{Series, figure, goal, heading};
use crate::support::core::Core;
use crate::support::server::{Engine, fresh_database};

/// Rounds of each.
const ROUNDS: usize = 3;
/// Deliveries of a round.
const DELIVERIES: u64 = 2_000;
/// Attempts under way at once, as configured by default.
const CONCURRENCY_MAX: usize = 256;
/// Who claim and mark side by side where nothing is sent.
const CLAIMERS: usize = 4;
/// How often the server looks for what is due, without news.
const TICK: Duration = Duration::from_millis(500);
/// How long a claim lasts.
const CLAIM_SECONDS: i64 = 25;
/// Who sign and send side by side where nothing is claimed: as many as one merchant's deliveries.
const SENDERS: u64 = 125;
/// What is written down of an attempt.
const REQUEST_HEADERS: usize = 8;
const REQUEST_BODY_BYTES: usize = 480;
const RESPONSE_HEADERS: usize = 3;
/// What is to be reached of the rate of the SQL alone.
const SQL_GOAL: f64 = 0.5;

/// Runs it on one engine.
pub async fn run(engine: Engine) {
    heading(&format!("Webhook deliveries, {engine:?}"));
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(engine, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    let stop = CancellationToken::new();
    let received = Arc::new(Semaphore::new(0));
    let receiver = receiver(Arc::clone(&received), stop.clone()).await;
    let id = |id: Uuid| match engine {
        Engine::Sqlite => format!("x'{}'", id.simple()),
        Engine::Postgres => format!("'{id}'"),
    };
    let (merchant, key) = (id(core.caller.merchant_id), id(core.caller.api_key_id));
    let endpoint = id(core.env.new_id());
    core.execute(&format!(
        "INSERT INTO endpoint (id, api_key_id, merchant_id, url, events, created_at)
         VALUES ({endpoint}, {key}, {merchant}, '{receiver}', 'payment.confirmed', 1)"
    ))
    .await;
    let signals = Signals::default();
    let deliverer = deliverer(&core, directory.path(), signals.clone());
    let wire = Arc::new(Wire { client: client(&core), bodies: bodies(), url: receiver.clone() });

    let mut whole = Series::new("claim, sign, send, mark", "deliveries/s");
    let mut sql = Series::new("claim and mark alone", "deliveries/s");
    let mut sent = Series::new("sign and send alone", "deliveries/s");
    let mut seq = 0;
    for round in 0..=ROUNDS {
        let mut warm = [(); 3].map(|()| Series::new("", ""));
        let [whole, sql, sent] =
            if round == 0 { warm.each_mut() } else { [&mut whole, &mut sql, &mut sent] };
        enqueue(&core, [&merchant, &key, &endpoint], &id, &mut seq).await;
        sql.round(DELIVERIES, sql_alone(&core)).await;
        sent.round(DELIVERIES, send_alone(&core, &wire, &received)).await;
        enqueue(&core, [&merchant, &key, &endpoint], &id, &mut seq).await;
        whole.round(DELIVERIES, deliver(&core, &deliverer, &signals, &received)).await;
    }
    sql.print();
    sent.print();
    whole.print();
    let parts = 1.0 / (1.0 / sql.rate() + 1.0 / sent.rate());
    goal("deliveries / the SQL alone", whole.rate() / sql.rate(), SQL_GOAL, false);
    figure("deliveries / one part after the other", whole.rate() / parts, "");
    let count =
        "SELECT COUNT(*) FROM delivery_attempt WHERE status_code = 200 OR status_code IS NULL";
    let expected = i64::try_from(DELIVERIES).unwrap() * 2 * (ROUNDS as i64 + 1);
    assert_eq!(core.number(count).await, expected, "each was delivered, once");
    stop.cancel();
}

/// A receiver that takes everything, and counts it.
async fn receiver(received: Arc<Semaphore>, stop: CancellationToken) -> String {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    let app = Router::new().fallback(async move |_body: axum::body::Bytes| {
        received.add_permits(1);
        ""
    });
    tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop));
    url
}

fn bodies() -> BodyWriter {
    BodyWriter::new(&Gateway::new(DESCRIPTOR_SET, Settings::default()).unwrap()).unwrap()
}

fn client(core: &Core) -> WebhookClient {
    let limits = WebhookLimits::default();
    WebhookClient::new(TargetPolicy::sandbox(), limits, core.env.clone()).unwrap()
}

fn deliverer(core: &Core, directory: &std::path::Path, signals: Signals) -> Deliverer {
    let (db, env) = (core.db.clone(), core.env.clone());
    let secrets = SecretBox::open_or_create(&directory.join("secrets.key"), &env).unwrap();
    Deliverer::new(DelivererParts {
        counted: AttemptMeter::default(),
        client: client(core),
        bodies: bodies(),
        secrets: Arc::new(secrets),
        signals,
        concurrency_max: CONCURRENCY_MAX,
        holder: env.new_id(),
        db,
        env,
    })
}

/// Works as the server's loop does, until the receiver has all of a round.
async fn deliver(core: &Core, deliverer: &Deliverer, signals: &Signals, received: &Semaphore) {
    let stop = CancellationToken::new();
    let all = async {
        received.acquire_many(DELIVERIES as u32).await.unwrap().forget();
        stop.cancel();
    };
    let wake = &signals.deliveries;
    let works = reconcile("deliver", &core.env, TICK, wake, &stop, || deliverer.tick());
    tokio::join!(all, works);
    deliverer.settle().await;
}

/// The same statements in the same groups, and nothing sent.
async fn sql_alone(core: &Core) {
    let mut running = JoinSet::new();
    for _ in 0..CLAIMERS {
        let (db, env, holder) = (core.db.clone(), core.env.clone(), core.env.new_id());
        running.spawn(async move {
            loop {
                let now = env.now();
                let (limit, seconds, crowding) = (CLAIMED_MAX, CLAIM_SECONDS, Vec::new());
                let claim = Claim { holder, limit, seconds, crowding };
                let claimed = deliveries::claim(&db, now, &claim).await.unwrap();
                if claimed.is_empty() {
                    return;
                }
                let attempts = claimed.into_iter().map(|delivery| FinishedAttempt {
                    delivery,
                    holder,
                    started_at: now,
                    duration_ms: 1,
                    status_code: Some(200),
                    error: None,
                    request_headers: header(REQUEST_HEADERS),
                    request_body: "b".repeat(REQUEST_BODY_BYTES),
                    response_headers: header(RESPONSE_HEADERS),
                    response: String::new(),
                    is_response_cut: false,
                    next: NextStep::Delivered,
                });
                deliveries::finish(&db, &attempts.collect::<Vec<_>>()).await.unwrap();
            }
        });
    }
    running.join_all().await;
}

/// What signs and sends.
struct Wire {
    client: WebhookClient,
    bodies: BodyWriter,
    url: String,
}

/// The same requests to the same receiver, and nothing written down.
async fn send_alone(core: &Core, wire: &Arc<Wire>, received: &Semaphore) {
    let mut running = JoinSet::new();
    for _ in 0..SENDERS {
        let (env, wire) = (core.env.clone(), Arc::clone(wire));
        running.spawn(async move {
            for _ in 0..DELIVERIES / SENDERS {
                let body = body(env.new_id(), env.now());
                let message = Message {
                    body: &body,
                    event_id: &body.event_id(1),
                    sequence: Some(1),
                    attempt: 1,
                    sent_at: env.system_now(),
                    app_key: &[7; 32],
                    secrets: &[],
                };
                let SignedRequest { headers, body } =
                    SignedRequest::new(&wire.bodies, &message).unwrap();
                assert!(wire.client.post(&wire.url, headers, body).await.is_delivered());
            }
        });
    }
    running.join_all().await;
    received.acquire_many(DELIVERIES as u32).await.unwrap().forget();
}

/// As many headers as are written down of an attempt.
fn header(count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("x-header-name-{n}"), "v".repeat(24))).collect()
}

/// Writes the events and deliveries of a round, as the dispatcher would.
async fn enqueue(
    core: &Core,
    [merchant, key, endpoint]: [&str; 3],
    id: &impl Fn(Uuid) -> String,
    seq: &mut u64,
) {
    let (mut events, mut rows) = (Vec::new(), Vec::new());
    for _ in 0..DELIVERIES {
        *seq += 1;
        let (invoice, now) = (core.env.new_id(), core.env.now());
        let payload = serde_json::to_string(&body(invoice, now)).unwrap();
        let invoice = id(invoice);
        events.push(format!(
            "({merchant}, {seq}, {invoice}, 1, 'payment.confirmed', {key}, '{payload}', {})",
            now.0
        ));
        rows.push(format!(
            "({}, {merchant}, {seq}, {endpoint}, {invoice},
             {}, 0, 'pending')",
            id(core.env.new_id()),
            now.0
        ));
    }
    let events = events.join(", ");
    core.execute(&format!(
        "INSERT INTO event (merchant_id, seq, aggregate_id, aggregate_version, type, api_key_id,
            payload, created_at) VALUES {events}"
    ))
    .await;
    let rows = rows.join(", ");
    core.execute(&format!(
        "INSERT INTO delivery (id, merchant_id, seq, endpoint_id, aggregate_id, due_at, attempt,
            state) VALUES {rows}"
    ))
    .await;
}

fn body(invoice_id: Uuid, now: Micros) -> EventBody {
    EventBody {
        event: "payment.confirmed".to_owned(),
        invoice_id,
        order_id: Some("ORD-12345".to_owned()),
        status: "confirmed".to_owned(),
        network: "ltc".to_owned(),
        coin: "LTC".to_owned(),
        amount_usd: "5.00".to_owned(),
        amount_crypto: "0.0625".to_owned(),
        paid_amount: "0.0625".to_owned(),
        txid: Some("00".repeat(32)),
        confirmations: 6,
        address: "tltc1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq".to_owned(),
        timestamp: now.0,
    }
}
