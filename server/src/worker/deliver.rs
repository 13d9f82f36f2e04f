//! The deliverer: claims due deliveries, signs and sends them side by side, writes down what came of
//! each. At least once: a process that dies between sending and writing sends again.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;

use super::Step;
use crate::env::Env;
use crate::failpoint;
use crate::secret_box::SecretBox;
use crate::signals::Signals;
use crate::store::Db;
use crate::store::deliveries::{self, ClaimedDelivery, FinishedAttempt, NextStep};
use crate::webhook::body::BodyWriter;
use crate::webhook::{Outcome, WebhookClient, schedule};

/// Deliveries claimed at a time. Several deliverers work side by side, so that receivers that do not
/// answer hold up their own group alone.
pub const CLAIMED_MAX: u32 = 16;
/// How long a claim lasts, by the database's clock: longer than any attempt may take.
const CLAIM_SECONDS: i64 = 25;

/// The deliverer.
pub struct Deliverer {
    db: Db,
    env: Env,
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
        let DelivererParts { db, env, client, bodies, secrets, signals, concurrency, holder } =
            parts;
        Self { db, env, client, bodies, secrets, signals, concurrency, holder }
    }

    /// Sends one group of due deliveries.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        let now = self.env.now();
        let claimed =
            deliveries::claim(&self.db, self.holder, now, CLAIMED_MAX, CLAIM_SECONDS).await?;
        if claimed.is_empty() {
            return Ok(Step::Idle);
        }
        let (done, finished) = mpsc::channel(claimed.len());
        let send = async move {
            stream::iter(claimed)
                .for_each_concurrent(self.concurrency.max(1), |delivery| async {
                    // There is room for all of them.
                    let _ = done.send(self.attempt(delivery).await).await;
                })
                .await;
            drop(done);
            Ok(())
        };
        tokio::try_join!(self.mark(finished), send)?;
        self.signals.deliveries.notify_one();
        Ok(Step::More)
    }

    /// Writes results down as they come, those together that came while others were written: a slow
    /// receiver holds up nobody else's record.
    async fn mark(&self, mut finished: mpsc::Receiver<FinishedAttempt>) -> anyhow::Result<()> {
        let mut group = Vec::new();
        let limit = usize::try_from(CLAIMED_MAX)?;
        while finished.recv_many(&mut group, limit).await > 0 {
            failpoint::hit("deliver", "before_mark");
            deliveries::finish(&self.db, &group).await?;
            failpoint::hit("deliver", "after_mark");
            group.clear();
        }
        Ok(())
    }

    async fn attempt(&self, delivery: ClaimedDelivery) -> FinishedAttempt {
        let started_at = self.env.now();
        let attempt = delivery.attempt + 1;
        let outcome = match self.request(&delivery) {
            Ok((headers, body)) => {
                failpoint::hit("deliver", "before_send");
                let outcome = self.client.post(&delivery.url, headers, body).await;
                failpoint::hit("deliver", "after_send");
                outcome
            }
            Err(error) => {
                tracing::error!(delivery = %delivery.id, error = %error, "delivery can not be signed");
                Outcome::default()
            }
        };
        let next = if outcome.is_delivered() {
            NextStep::Delivered
        } else {
            schedule::retry_delay(attempt)
                .map_or(NextStep::Failed, |delay| NextStep::RetryAt(self.env.now().plus(delay)))
        };
        FinishedAttempt {
            delivery_id: delivery.id,
            holder: self.holder,
            attempt,
            url: delivery.url,
            started_at,
            duration_ms: outcome.duration_ms,
            status_code: outcome.status,
            error: outcome.error.map(|error| error.as_str().to_owned()),
            response: outcome.response_sample,
            next,
        }
    }

    /// The headers and signed body of a delivery.
    fn request(&self, delivery: &ClaimedDelivery) -> anyhow::Result<(HeaderMap, bytes::Bytes)> {
        let opened = self.secrets.open(delivery.api_key_id.as_bytes(), &delivery.sealed_app_key)?;
        let app_key = <[u8; 32]>::try_from(opened.as_slice())?;
        let body = self.bodies.write(&delivery.body, &app_key)?;
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: String| -> anyhow::Result<()> {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
            Ok(())
        };
        set("x-cryptopayment-event-id", format!("{}-{}", delivery.body.invoice_id, delivery.seq))?;
        set("x-cryptopayment-sequence", delivery.seq.to_string())?;
        set("x-cryptopayment-attempt", (delivery.attempt + 1).to_string())?;
        Ok((headers, body))
    }
}
