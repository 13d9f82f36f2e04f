//! Where merchants are told: whether each endpoint's URL is allowed and resolves. Only on request is a
//! test sent. An endpoint that cannot be reached is its merchant's to repair: a warning.

use super::{Check, Readable};
use crate::app::{secrets_file, target_policy, webhook_bodies, webhook_client};
use crate::config::Config;
use crate::env::Env;
use crate::secret_box::SecretBox;
use crate::store::keys::{self, ApiKey};
use crate::usecase::webhook_secrets::{self, Sealed};
use crate::webhook::body::{self, BodyWriter};
use crate::webhook::{Message, SignedRequest, WebhookClient, resolve};

const WEBHOOKS: &str = "webhooks";

/// Looks at every endpoint.
pub async fn examine(
    config: &Config,
    readable: Option<&Readable>,
    send_test: bool,
    env: &Env,
) -> Vec<Check> {
    let Some(Readable { db, is_current: true }) = readable else { return Vec::new() };
    let keys = match keys::with_endpoints(db).await {
        Ok(keys) => keys,
        Err(error) => {
            return vec![Check::fail(WEBHOOKS, error.to_string(), "see the database's log")];
        }
    };
    if keys.is_empty() {
        return vec![Check::ok(WEBHOOKS, "no key has an endpoint")];
    }
    let policy = target_policy(config.is_sandbox());
    let tester = if send_test { Some(Tester::new(config, env)) } else { None };
    let mut checks = Vec::new();
    for key in &keys {
        let name = format!("webhook {}", key.public_id);
        let url = key.webhook_url.as_deref().unwrap_or_default();
        let place = match resolve(&policy, url).await {
            Ok(addresses) => format!("{url} resolves to {} allowed addresses", addresses.len()),
            Err(why) => {
                let cure = "its events wait and are retried; the merchant should set another URL";
                checks.push(Check::warn(name, format!("{url}: {why}"), cure));
                continue;
            }
        };
        checks.push(match &tester {
            None => Check::ok(name, place),
            Some(Err(error)) => Check::fail(name, format!("{error:#}"), "see the files above"),
            Some(Ok(tester)) => tester.test(name, place, url, key).await,
        });
    }
    checks
}

/// Sends tests as the server would.
struct Tester {
    secrets: SecretBox,
    bodies: BodyWriter,
    client: WebhookClient,
    env: Env,
}

impl Tester {
    fn new(config: &Config, env: &Env) -> anyhow::Result<Self> {
        let file = secrets_file(config);
        anyhow::ensure!(file.exists(), "{} is missing", file.display());
        Ok(Self {
            secrets: SecretBox::open_or_create(&file, env)?,
            bodies: webhook_bodies(config)?,
            client: webhook_client(config, env)?,
            env: env.clone(),
        })
    }

    async fn test(&self, name: String, place: String, url: &str, key: &ApiKey) -> Check {
        let request = match self.request(key) {
            Ok(request) => request,
            Err(error) => {
                let cure = "the file secrets.key is not the one that sealed this key's secrets";
                return Check::fail(name, format!("{error:#}"), cure);
            }
        };
        let outcome = self.client.post(url, request.headers, request.body).await;
        let answer = match (outcome.status, outcome.error) {
            (Some(status), _) => format!("HTTP {status}"),
            (None, Some(error)) => error.as_str().to_owned(),
            (None, None) => "no answer".to_owned(),
        };
        let text = format!("{place}; a test got {answer} in {} ms", outcome.duration_ms);
        if outcome.is_delivered() {
            Check::ok(name, text)
        } else {
            Check::warn(name, text, "its receiver must answer with a 2xx status")
        }
    }

    fn request(&self, key: &ApiKey) -> anyhow::Result<SignedRequest> {
        let now = self.env.now();
        let signers = webhook_secrets::open(&self.secrets, Sealed::of(key), now)?;
        let message = Message {
            body: &body::test_event(now),
            event_id: &format!("test-{}", self.env.new_id()),
            sequence: None,
            attempt: 1,
            sent_at: self.env.system_now(),
            app_key: &signers.app_key,
            secrets: &signers.secrets,
        };
        Ok(SignedRequest::new(&self.bodies, &message)?)
    }
}
