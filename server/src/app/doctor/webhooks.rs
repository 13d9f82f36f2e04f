//! Where merchants are told: whether what signs their webhooks opens, whether each endpoint's URL is
//! allowed and resolves. Only on request is a test sent. An endpoint that cannot be reached is its
//! merchant's to repair: a warning.

use super::{Check, Readable};
use crate::app::{
    SECRETS_CURE, SECRETS_LOST, secrets_file, target_policy, webhook_bodies, webhook_client,
};
use crate::config::Config;
use crate::env::Env;
use crate::private_file;
use crate::secret_box::SecretBox;
use crate::store::keys::{self, ApiKey};
use crate::usecase::webhook_secrets::{self, Sealed};
use crate::webhook::body::{self, BodyWriter};
use crate::webhook::{DeliveryError, Message, SignedRequest, WebhookClient, resolve};

const WEBHOOKS: &str = "webhooks";
const SECRETS: &str = "webhook secrets";
/// Keys whose secrets are opened, the newest ones.
const KEYS_OPENED_MAX: i64 = 100;

/// Looks at every endpoint.
pub async fn examine(
    config: &Config,
    readable: Option<&Readable>,
    send_test: bool,
    env: &Env,
) -> Vec<Check> {
    let Some(Readable { db, is_current: true }) = readable else { return Vec::new() };
    let (newest, keys) =
        match (keys::newest(db, KEYS_OPENED_MAX).await, keys::with_endpoints(db).await) {
            (Ok(newest), Ok(keys)) => (newest, keys),
            (Err(error), _) | (_, Err(error)) => {
                return vec![Check::fail(WEBHOOKS, error.to_string(), "see the database's log")];
            }
        };
    let mut checks: Vec<Check> = secrets(config, &newest, env).into_iter().collect();
    if keys.is_empty() {
        checks.push(Check::ok(WEBHOOKS, "no key has an endpoint"));
        return checks;
    }
    let policy = target_policy(config.is_sandbox());
    let tester = if send_test { Some(Tester::new(config, env)) } else { None };
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

/// Whether the file `secrets.key` opens what signs the webhooks of these keys.
fn secrets(config: &Config, keys: &[ApiKey], env: &Env) -> Option<Check> {
    let file = secrets_file(config);
    if keys.is_empty() {
        return None;
    }
    if !file.exists() {
        let text = format!("{} is missing: {SECRETS_LOST}", file.display());
        return Some(Check::fail(SECRETS, text, SECRETS_CURE));
    }
    let opened = match SecretBox::from_file(&file) {
        Ok(opened) => opened,
        // Others can read it: told among the files.
        Err(_) if private_file::check(&file).is_err() => return None,
        Err(error) => return Some(Check::fail(SECRETS, error.to_string(), SECRETS_CURE)),
    };
    let shut = |key: &&ApiKey| webhook_secrets::open(&opened, Sealed::of(key), env.now()).is_err();
    let closed: Vec<&str> = keys.iter().filter(shut).map(|key| key.public_id.as_str()).collect();
    Some(if closed.is_empty() {
        Check::ok(SECRETS, format!("secrets.key opens those of the {} newest keys", keys.len()))
    } else {
        let text = format!("another secrets.key sealed those of {}", closed.join(", "));
        Check::fail(SECRETS, text, SECRETS_CURE)
    })
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
        Ok(Self {
            secrets: SecretBox::from_file(&secrets_file(config))?,
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
        let milliseconds = outcome.duration_ms;
        let answer = match (outcome.status, outcome.error) {
            (Some(status), _) => format!("got HTTP {status} in {milliseconds} ms"),
            (None, error) => {
                let why = error.map_or("no answer", DeliveryError::sentence);
                format!("failed in {milliseconds} ms: {why}")
            }
        };
        let text = format!("{place}; a test {answer}");
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
