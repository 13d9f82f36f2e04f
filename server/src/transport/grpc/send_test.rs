//! Sends a test to a key's webhook endpoint when its merchant or the operator asks, and waits for what comes
//! back. Not here: deliveries of events (`worker`).

use std::sync::Arc;

use super::watchers::Watchers;
use crate::domain::failure::{Class, Failure, Reason};
use crate::usecase::manage_keys::ManageKeys;
use crate::usecase::webhook_secrets::{no_endpoint, no_next};
use crate::webhook::body::{self, BodyWriter};
use crate::webhook::{Message, Outcome, SignedRequest, WebhookClient};

/// Tests under way at once of all keys, and of one. Each is a connection and may be a name that nobody
/// resolves: neither may keep deliveries from theirs.
const TESTS_MAX: usize = 8;
const TESTS_PER_KEY_MAX: usize = 1;

/// What sends tests.
#[derive(Clone)]
pub struct TestSender {
    /// Knows the key and what signs for it.
    pub manage: Arc<ManageKeys>,
    /// Sends.
    pub client: WebhookClient,
    /// Writes and signs bodies.
    pub bodies: BodyWriter,
    /// How many at once.
    pub places: TestPlaces,
}

/// The places of tests under way.
#[derive(Clone)]
pub struct TestPlaces(Watchers);

impl Default for TestPlaces {
    fn default() -> Self {
        Self(Watchers::new(TESTS_MAX, TESTS_PER_KEY_MAX))
    }
}

impl TestSender {
    /// Sends a test, signed with the next APP_KEY instead of the active one if `with_next`.
    ///
    /// # Errors
    /// When there is no such key, it has no endpoint, or no next APP_KEY where that is asked for, and while
    /// a test of it is under way or too many of others.
    pub async fn send(&self, public_id: &str, with_next: bool) -> Result<Outcome, Failure> {
        let key = self.manage.key(public_id).await?;
        let url = key.webhook_url.clone().ok_or_else(no_endpoint)?;
        let _place = self.places.0.enter(key.id).map_err(|_| busy())?;
        let signers = self.manage.signers(&key)?;
        let app_key = if with_next {
            self.manage.next_app_key(&key)?.ok_or_else(no_next)?
        } else {
            signers.app_key
        };
        let message = Message {
            body: &body::test_event(self.manage.env.now()),
            event_id: &format!("test-{}", self.manage.env.new_id()),
            sequence: None,
            attempt: 1,
            sent_at: self.manage.env.system_now(),
            app_key: &app_key,
            secrets: &signers.secrets,
        };
        let SignedRequest { headers, body } = SignedRequest::new(&self.bodies, &message)
            .map_err(|error| Failure::internal(error.to_string()))?;
        Ok(self.client.post(&url, headers, body).await)
    }
}

fn busy() -> Failure {
    let text = "a test of this key, or many of others, is under way: try again when it has ended";
    Failure::new(Class::ResourceExhausted, Reason::TooManyWaiting, text)
}

/// The time of an outcome as answers tell it, milliseconds.
pub(super) fn duration_ms(outcome: &Outcome) -> u32 {
    u32::try_from(outcome.duration_ms).unwrap_or(u32::MAX)
}
