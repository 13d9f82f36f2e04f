//! The deliverer: claims due deliveries, signs and sends them side by side, writes down what came of
//! each. At least once: a process that dies between sending and writing sends again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::Step;
use super::attempts::Attempts;
use crate::env::Env;
use crate::failpoint;
use crate::metrics::AttemptMeter;
use crate::secret_box::SecretBox;
use crate::signals::Signals;
use crate::store::Db;
use crate::store::deliveries::{self, ClaimedDelivery, FinishedAttempt, NextStep};
use crate::usecase::webhook_secrets::{self, Sealed};
use crate::webhook::body::BodyWriter;
use crate::webhook::{DeliveryError, Message, Outcome, SignedRequest, WebhookClient, schedule};

/// Deliveries claimed at a time. Several deliverers work side by side, so that receivers that do not
/// answer hold up their own group alone.
pub const CLAIMED_MAX: u32 = 16;
/// How long a claim lasts, by the database's clock: longer than any attempt may take.
const CLAIM_SECONDS: i64 = 25;

/// The deliverer.
pub struct Deliverer {
    db: Db,
    env: Env,
    attempts: Arc<Attempts>,
    counted: AttemptMeter,
    client: WebhookClient,
    bodies: BodyWriter,
    secrets: Arc<SecretBox>,
    signals: Signals,
    concurrency: usize,
    holder: uuid::Uuid,
}

/// What a deliverer works with.
pub struct DelivererParts {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Writes down what came of attempts; one for all deliverers.
    pub attempts: Arc<Attempts>,
    /// Counts them.
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
    pub concurrency: usize,
    /// Who claims.
    pub holder: uuid::Uuid,
}

impl Deliverer {
    /// A deliverer.
    pub fn new(parts: DelivererParts) -> Self {
        let DelivererParts {
            db,
            env,
            attempts,
            counted,
            client,
            bodies,
            secrets,
            signals,
            concurrency,
            holder,
        } = parts;
        Self { db, env, attempts, counted, client, bodies, secrets, signals, concurrency, holder }
    }

    /// Sends one group of due deliveries.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        let now = self.env.now();
        let claimed =
            deliveries::claim(&self.db, self.holder, now, CLAIMED_MAX, CLAIM_SECONDS).await?;
        if claimed.is_empty() {
            return Ok(Step::Idle);
        }
        // A slow receiver holds up nobody else's record: each is written as it ends.
        stream::iter(claimed)
            .map(|delivery| async { self.attempts.write(self.attempt(delivery).await).await })
            .buffer_unordered(self.concurrency.max(1))
            .fold(Ok(()), async |all, one| all.and(one))
            .await?;
        self.signals.deliveries.notify_one();
        Ok(Step::More)
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
