//! What signs a key's webhooks: the APP_KEY with its rotation by create, test, activate, and the
//! Standard Webhooks secret of its endpoint. All are sealed at rest and can be shown again. Not here:
//! signing (`webhook`).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::manage_keys::ManageKeys;
use super::request_id;
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::time::Micros;
use crate::secret_box::{SecretBox, SecretBoxError};
use crate::store::idempotency::{self, Claim};
use crate::store::keys::{self, ApiKey};
use crate::store::{UnitOfWork, audit};

/// How long a replaced Standard Webhooks secret signs beside its successor.
pub const PREVIOUS_SECRET_HOURS: u64 = 24;
/// What stands before the base64 of a Standard Webhooks secret.
const SECRET_PREFIX: &str = "whsec_";
/// What ties a sealed Standard Webhooks secret to its purpose: it opens as no APP_KEY.
const SECRET_PURPOSE: &[u8] = b"signing secret";
/// The service whose idempotency keys these are.
const CREATE: &str = "cryptopayment.v1.WebhookService/CreateAppKey";
const ACTIVATE: &str = "cryptopayment.v1.WebhookService/ActivateAppKey";
const ROTATE: &str = "cryptopayment.v1.WebhookService/RotateSigningSecret";

/// A change of what signs a key's webhooks, with the new secret, sealed.
enum Change {
    CreateAppKey(Vec<u8>),
    ActivateAppKey,
    RotateSecret(Vec<u8>),
}

impl Change {
    /// The method that request ids belong to, and the action in the audit log.
    const fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::CreateAppKey(_) => (CREATE, "app_key.create"),
            Self::ActivateAppKey => (ACTIVATE, "app_key.activate"),
            Self::RotateSecret(_) => (ROTATE, "signing_secret.rotate"),
        }
    }

    async fn write(self, unit: &UnitOfWork, key: &ApiKey, now: Micros) -> Result<(), Failure> {
        match self {
            Self::CreateAppKey(sealed) => Ok(keys::set_next_app_key(unit, key.id, sealed).await?),
            Self::ActivateAppKey => {
                let is_done = keys::activate_app_key(unit, key.id).await?;
                is_done.then_some(()).ok_or_else(no_next)
            }
            Self::RotateSecret(sealed) => {
                let until = now.plus(Duration::from_secs(PREVIOUS_SECRET_HOURS * 3_600));
                let is_done = keys::rotate_secret(unit, key.id, sealed, until).await?;
                is_done.then_some(()).ok_or_else(no_endpoint)
            }
        }
    }
}

/// The secrets of one key, sealed as they are stored.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// The key's row.
    pub api_key_id: Uuid,
    /// Its active APP_KEY.
    pub app_key: &'a [u8],
    /// Its Standard Webhooks secret.
    pub secret: Option<&'a [u8]>,
    /// The secret before it.
    pub secret_previous: Option<&'a [u8]>,
    /// Until when that signs too, microseconds.
    pub previous_until: Option<i64>,
}

impl<'a> Sealed<'a> {
    /// Those of a key.
    pub fn of(key: &'a ApiKey) -> Self {
        Self {
            api_key_id: key.id,
            app_key: &key.app_key,
            secret: key.signing_secret.as_deref(),
            secret_previous: key.signing_secret_previous.as_deref(),
            previous_until: key.signing_secret_previous_until,
        }
    }
}

/// What signs an attempt.
#[derive(Clone)]
pub struct Signers {
    /// The decoded APP_KEY.
    pub app_key: [u8; 32],
    /// The Standard Webhooks secrets, the newest first.
    pub secrets: Vec<[u8; 32]>,
}

/// Opens what signs an attempt at `now`.
///
/// # Errors
/// When one of them does not open.
pub fn open(
    secrets: &SecretBox,
    sealed: Sealed<'_>,
    now: Micros,
) -> Result<Signers, SecretBoxError> {
    let app_key = open_one(secrets, sealed.api_key_id.as_bytes(), sealed.app_key)?;
    let previous = sealed.secret_previous.filter(|_| sealed.previous_until > Some(now.0));
    let context = secret_context(sealed.api_key_id);
    let both = sealed.secret.into_iter().chain(previous);
    let opened = both.map(|sealed| open_one(secrets, &context, sealed));
    Ok(Signers { app_key, secrets: opened.collect::<Result<_, _>>()? })
}

fn open_one(
    secrets: &SecretBox,
    context: &[u8],
    sealed: &[u8],
) -> Result<[u8; 32], SecretBoxError> {
    let opened = secrets.open(context, sealed)?;
    <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| SecretBoxError::DoesNotOpen)
}

fn secret_context(api_key_id: Uuid) -> Vec<u8> {
    [api_key_id.as_bytes().as_slice(), SECRET_PURPOSE].concat()
}

impl ManageKeys {
    /// Makes a key's next APP_KEY. With a `request_id` that was used before nothing changes.
    pub async fn create_app_key(
        &self,
        public_id: &str,
        request_id: Option<&str>,
        actor: &str,
    ) -> Result<ApiKey, Failure> {
        let key = self.key(public_id).await?;
        let sealed = self.secrets.seal(key.id.as_bytes(), &self.env.random::<32>(), &self.env);
        let unit = self.db.begin("create_app_key").await?;
        self.change(unit, &key, Change::CreateAppKey(sealed), request_id, actor).await
    }

    /// Puts a key's next APP_KEY in the place of the active one. With a `request_id` that was used
    /// before nothing changes.
    pub async fn activate_app_key(
        &self,
        public_id: &str,
        request_id: Option<&str>,
        actor: &str,
    ) -> Result<ApiKey, Failure> {
        let key = self.key(public_id).await?;
        let unit = self.db.begin("activate_app_key").await?;
        self.change(unit, &key, Change::ActivateAppKey, request_id, actor).await
    }

    /// Makes another Standard Webhooks secret for a key's endpoint. With a `request_id` that was
    /// used before nothing changes.
    pub async fn rotate_signing_secret(
        &self,
        public_id: &str,
        request_id: Option<&str>,
        actor: &str,
    ) -> Result<ApiKey, Failure> {
        let key = self.key(public_id).await?;
        let sealed = self.new_signing_secret(key.id);
        let unit = self.db.begin("rotate_signing_secret").await?;
        self.change(unit, &key, Change::RotateSecret(sealed), request_id, actor).await
    }

    /// Makes a change of a key, once for each request, with its line in the audit log.
    async fn change(
        &self,
        unit: UnitOfWork,
        key: &ApiKey,
        change: Change,
        request_id: Option<&str>,
        actor: &str,
    ) -> Result<ApiKey, Failure> {
        let (method, action) = change.names();
        if self.is_new(&unit, key, method, request_id).await? {
            let now = self.env.now();
            change.write(&unit, key, now).await?;
            audit::append(&unit, actor, action, &key.public_id, "", now).await?;
            unit.commit().await?;
        }
        self.key(&key.public_id).await
    }

    /// Whether this request is made for the first time.
    async fn is_new(
        &self,
        unit: &UnitOfWork,
        key: &ApiKey,
        method: &'static str,
        text: Option<&str>,
    ) -> Result<bool, Failure> {
        let Some(request_id) = request_id::read(text)? else { return Ok(true) };
        let claim = Claim {
            // These belong to the key, not to its merchant: two systems of one merchant rotate apart.
            principal_id: key.id,
            method,
            key: request_id,
            request_hash: [0; 32],
            resource_id: key.id,
        };
        Ok(idempotency::claim_one(unit, &claim, self.env.now()).await?.is_new)
    }

    /// A new Standard Webhooks secret, sealed.
    pub(super) fn new_signing_secret(&self, api_key_id: Uuid) -> Vec<u8> {
        let secret = self.env.random::<32>();
        self.secrets.seal(&secret_context(api_key_id), &secret, &self.env)
    }

    /// What signs a key's webhooks now.
    pub fn signers(&self, key: &ApiKey) -> Result<Signers, Failure> {
        let opened = open(&self.secrets, Sealed::of(key), self.env.now());
        opened.map_err(|error| Failure::internal(error.to_string()))
    }

    /// The APP_KEY that will sign a key's webhooks once it is activated.
    pub fn next_app_key(&self, key: &ApiKey) -> Result<Option<[u8; 32]>, Failure> {
        let sealed = key.app_key_next.as_deref();
        sealed
            .map(|sealed| open_one(&self.secrets, key.id.as_bytes(), sealed))
            .transpose()
            .map_err(|error| Failure::internal(error.to_string()))
    }
}

/// An APP_KEY as merchants see it, padded base64.
pub fn app_key_text(app_key: &[u8; 32]) -> String {
    STANDARD.encode(app_key)
}

/// A Standard Webhooks secret as merchants see it.
pub fn secret_text(secret: &[u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(secret))
}

/// There is no next APP_KEY.
pub fn no_next() -> Failure {
    let text = "the key has no next APP_KEY; create one first";
    Failure::new(Class::FailedPrecondition, Reason::AppKeyNextMissing, text)
}

/// There is no endpoint.
pub fn no_endpoint() -> Failure {
    let text = "the key has no webhook endpoint";
    Failure::new(Class::FailedPrecondition, Reason::WebhookEndpointMissing, text)
}
