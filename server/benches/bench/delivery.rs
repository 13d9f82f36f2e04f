//! Deliveries: claimed, signed, sent to a receiver on loopback and marked, beside claiming and marking
//! alone in the same database. Not here: how events become deliveries.

use std::sync::Arc;

use axum::Router;
use cryptopayment::domain::event::EventBody;
use cryptopayment::domain::time::Micros;
use cryptopayment::metrics::AttemptMeter;
use cryptopayment::secret_box::SecretBox;
use cryptopayment::signals::Signals;
use cryptopayment::store::deliveries::{self, Claim, FinishedAttempt, NextStep};
use cryptopayment::transport::listener::{self, ListenerLimits};
use cryptopayment::webhook::body::BodyWriter;
use cryptopayment::webhook::{TargetPolicy, WebhookClient, WebhookLimits};
use cryptopayment::worker::Step;
use cryptopayment::worker::deliver::{CLAIMED_MAX, Deliverer, DelivererParts};
use cryptopayment_proto::DESCRIPTOR_SET;
use rpc_gateway::{Gateway, Settings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::measure::{Series, goal, heading};
use crate::support::core::Core;
use crate::support::server::{Engine, fresh_database};

/// Rounds of each.
const ROUNDS: usize = 3;
/// Deliveries of a round.
const DELIVERIES: u64 = 2_000;
/// Attempts under way at once.
const CONCURRENCY_MAX: usize = 128;
/// Who claim and mark side by side where nothing is sent.
const CLAIMERS: usize = 4;
/// How long a claim lasts.
const CLAIM_SECONDS: i64 = 25;
/// What is to be reached of the rate of the SQL alone.
const SQL_GOAL: f64 = 0.5;

/// Runs it on one engine.
pub async fn run(engine: Engine) {
    heading(&format!("Webhook deliveries, {engine:?}"));
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(engine, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    let stop = CancellationToken::new();
    let receiver = receiver(stop.clone()).await;
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
    let deliverer = deliverer(&core, directory.path());

    let mut whole = Series::new("claim, sign, send, mark", "deliveries/s");
    let mut sql = Series::new("claim and mark alone", "deliveries/s");
    let mut seq = 0;
    for round in 0..=ROUNDS {
        let (mut warm, mut warm_sql) = (Series::new("", ""), Series::new("", ""));
        let (whole, sql) =
            if round == 0 { (&mut warm, &mut warm_sql) } else { (&mut whole, &mut sql) };
        enqueue(&core, [&merchant, &key, &endpoint], &id, &mut seq).await;
        sql.round(DELIVERIES, sql_alone(&core)).await;
        enqueue(&core, [&merchant, &key, &endpoint], &id, &mut seq).await;
        whole.round(DELIVERIES, deliver(&deliverer)).await;
    }
    sql.print();
    whole.print();
    goal("deliveries / the SQL alone", whole.rate() / sql.rate(), SQL_GOAL, false);
    let count =
        "SELECT COUNT(*) FROM delivery_attempt WHERE status_code = 200 OR status_code IS NULL";
    let expected = i64::try_from(DELIVERIES).unwrap() * 2 * (ROUNDS as i64 + 1);
    assert_eq!(core.number(count).await, expected, "each was delivered, once");
    stop.cancel();
}

/// A receiver that takes everything.
async fn receiver(stop: CancellationToken) -> String {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    let app = Router::new().fallback(|_body: axum::body::Bytes| async { "" });
    tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop));
    url
}

fn deliverer(core: &Core, directory: &std::path::Path) -> Deliverer {
    let (db, env) = (core.db.clone(), core.env.clone());
    let secrets = SecretBox::open_or_create(&directory.join("secrets.key"), &env).unwrap();
    let gateway = Gateway::new(DESCRIPTOR_SET, Settings::default()).unwrap();
    let client = WebhookClient::new(TargetPolicy::sandbox(), WebhookLimits::default(), env.clone());
    Deliverer::new(DelivererParts {
        counted: AttemptMeter::default(),
        client: client.unwrap(),
        bodies: BodyWriter::new(&gateway).unwrap(),
        secrets: Arc::new(secrets),
        signals: Signals::default(),
        concurrency_max: CONCURRENCY_MAX,
        holder: env.new_id(),
        db,
        env,
    })
}

async fn deliver(deliverer: &Deliverer) {
    while deliverer.tick().await.unwrap() == Step::More {}
    deliverer.settle().await;
    // What was left alone while so many were under way.
    while deliverer.tick().await.unwrap() == Step::More {
        deliverer.settle().await;
    }
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
                    request_headers: Vec::new(),
                    request_body: String::new(),
                    response_headers: Vec::new(),
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
