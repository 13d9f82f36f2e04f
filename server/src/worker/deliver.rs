//! The deliverer: claims due deliveries, signs and sends them side by side, writes down what came of
//! each. At least once: a process that dies between sending and writing sends again. Not here: who may
//! have how many under way (`places`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{JoinError, JoinSet};

use super::Step;
use super::attempts::Attempts;
use super::places::{Places, Room};
use crate::env::Env;
use crate::failpoint;
use crate::metrics::AttemptMeter;
use crate::secret_box::SecretBox;
use crate::signals::Signals;
use crate::store::Db;
use crate::store::deliveries::{self, Claim, ClaimedDelivery, FinishedAttempt, NextStep};
use crate::usecase::webhook_secrets::{self, Sealed};
use crate::webhook::body::BodyWriter;
use crate::webhook::{DeliveryError, Message, Outcome, SignedRequest, WebhookClient, schedule};

/// Deliveries claimed at a time.
pub const CLAIMED_MAX: u32 = 64;
/// How long a claim lasts, by the database's clock: longer than any attempt may take.
const CLAIM_SECONDS: i64 = 25;

/// The deliverer.
pub struct Deliverer {
    sender: Arc<Sender>,
    db: Db,
    signals: Signals,
    places: Places,
    under_way: Mutex<JoinSet<anyhow::Result<()>>>,
}

/// What a deliverer works with.
pub struct DelivererParts {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Counts attempts.
    pub counted: AttemptMeter,
    /// Sends.
    pub client: WebhookClient,
    /// Writes and signs bodies.
    pub bodies: BodyWriter,
    /// Opens APP_KEYs.
    pub secrets: Arc<SecretBox>,
    /// Wakes others.
    pub signals: Signals,
    /// Attempts under way at once.
    pub concurrency_max: usize,
    /// Who claims.
    pub holder: uuid::Uuid,
}

impl Deliverer {
    /// A deliverer.
    pub fn new(parts: DelivererParts) -> Self {
        let DelivererParts {
            db,
            env,
            counted,
            client,
            bodies,
            secrets,
            signals,
            concurrency_max,
            holder,
        } = parts;
        let attempts = Attempts::new(db.clone());
        let sender = Arc::new(Sender { env, attempts, counted, client, bodies, secrets, holder });
        let (places, under_way) = (Places::new(concurrency_max), Mutex::default());
        Self { sender, db, signals, places, under_way }
    }

    /// Begins as many due deliveries as there are places for, and waits for one to end when there are
    /// none. Those under way end with the deliverer.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        let mut under_way = self.under_way.lock().await;
        while let Some(ended) = under_way.try_join_next() {
            said(ended);
        }
        let Room { places, crowding } = self.places.room();
        if places == 0 {
            if let Some(ended) = under_way.join_next().await {
                said(ended);
            }
            return Ok(Step::More);
        }
        let limit = u32::try_from(places).unwrap_or(u32::MAX).min(CLAIMED_MAX);
        let now = self.sender.env.now();
        // Nobody who writes waits for a look past their backlogs.
        if !crowding.is_empty() && !deliveries::is_any_due_beside(&self.db, now, &crowding).await? {
            return Ok(Step::Idle);
        }
        let claim = Claim { holder: self.sender.holder, limit, seconds: CLAIM_SECONDS, crowding };
        let claimed = deliveries::claim(&self.db, now, &claim).await?;
        if claimed.is_empty() {
            return Ok(Step::Idle);
        }
        for delivery in claimed {
            let (sender, signals) = (Arc::clone(&self.sender), self.signals.clone());
            let (places, merchant_id) = (self.places.clone(), delivery.merchant_id);
            let place = places.take(merchant_id);
            under_way.spawn(async move {
                let written = sender.deliver(delivery).await;
                // Who may have no more yet gets the places that become free later, many at once.
                if places.give_back(place, merchant_id) {
                    signals.deliveries.notify_one();
                }
                written
            });
        }
        Ok(Step::More)
    }

    /// Waits until nothing is under way any more.
    pub async fn settle(&self) {
        let mut under_way = self.under_way.lock().await;
        while let Some(ended) = under_way.join_next().await {
            said(ended);
        }
    }
}

/// Says of a delivery that ended what nobody else could: its claim lapses, and it is sent again.
fn said(ended: Result<anyhow::Result<()>, JoinError>) {
    if let Err(error) = ended.map_err(Into::into).flatten() {
        tracing::warn!(error = format!("{error:#}"), "attempt was not written down");
    }
}

/// Makes attempts.
struct Sender {
    env: Env,
    attempts: Attempts,
    counted: AttemptMeter,
    client: WebhookClient,
    bodies: BodyWriter,
    secrets: Arc<SecretBox>,
    holder: uuid::Uuid,
}

impl Sender {
    /// Sends a delivery and writes down what came of it.
    async fn deliver(&self, delivery: ClaimedDelivery) -> anyhow::Result<()> {
        self.attempts.write(self.attempt(delivery).await).await
    }

    async fn attempt(&self, delivery: ClaimedDelivery) -> FinishedAttempt {
        let started_at = self.env.now();
        let (outcome, request_body) = match self.request(&delivery) {
            Ok(SignedRequest { headers, body }) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                failpoint::hit("deliver", "before_send");
                let outcome = self.client.post(&delivery.url, headers, body).await;
                failpoint::hit("deliver", "after_send");
                (outcome, text)
            }
            Err(error) => {
                tracing::error!(delivery = %delivery.id, error = %error, "delivery can not be signed");
                let error = Some(DeliveryError::Signing);
                (Outcome { error, ..Outcome::default() }, String::new())
            }
        };
        let took = Duration::from_millis(outcome.duration_ms);
        self.counted.ended(counted_as(&outcome), took);
        FinishedAttempt {
            next: self.next_step(&delivery, &outcome),
            delivery,
            holder: self.holder,
            started_at,
            duration_ms: outcome.duration_ms,
            status_code: outcome.status,
            error: outcome.error.map(|error| error.as_str().to_owned()),
            request_headers: outcome.request_headers,
            request_body,
            response_headers: outcome.response_headers,
            response: outcome.response_sample,
            is_response_cut: outcome.is_response_cut,
        }
    }

    /// What follows an attempt. One out of turn can end the schedule by arriving, and does nothing
    /// else to it.
    fn next_step(&self, delivery: &ClaimedDelivery, outcome: &Outcome) -> NextStep {
        if outcome.is_delivered() {
            return NextStep::Delivered;
        }
        if delivery.is_redelivery {
            return NextStep::Unchanged;
        }
        schedule::retry_delay(delivery.scheduled + 1)
            .map_or(NextStep::Failed, |delay| NextStep::RetryAt(self.env.now().plus(delay)))
    }

    /// The signed request of a delivery's next attempt.
    fn request(&self, delivery: &ClaimedDelivery) -> anyhow::Result<SignedRequest> {
        let sealed = Sealed {
            api_key_id: delivery.api_key_id,
            app_key: &delivery.sealed_app_key,
            secret: delivery.sealed_secret.as_deref(),
            secret_previous: delivery.sealed_secret_previous.as_deref(),
            previous_until: delivery.previous_until,
        };
        let signers = webhook_secrets::open(&self.secrets, sealed, self.env.now())?;
        let message = Message {
            body: &delivery.body,
            event_id: &delivery.body.event_id(delivery.seq),
            sequence: Some(delivery.seq),
            attempt: delivery.number(),
            sent_at: self.env.system_now(),
            app_key: &signers.app_key,
            secrets: &signers.secrets,
        };
        Ok(SignedRequest::new(&self.bodies, &message)?)
    }
}

/// What an attempt counts as.
fn counted_as(outcome: &Outcome) -> &'static str {
    if outcome.is_delivered() {
        return "delivered";
    }
    outcome.error.map_or("refused", DeliveryError::as_str)
}
