//! Merchants, their API keys and where each key is told. Every change stands in the operator's audit
//! log, in the same unit of work. Secrets are made here and shown once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::event::EventKind;
use crate::domain::failure::{Class, Failure, Reason};
use crate::env::Env;
use crate::secret_box::SecretBox;
use crate::store::keys::{self, ApiKey, NewEndpoint};
use crate::store::merchants::{self, Merchant};
use crate::store::{Db, UnitOfWork, audit};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 100;

/// The use cases with what they need.
pub struct ManageKeys {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Seals APP_KEYs.
    pub secrets: Arc<SecretBox>,
    /// Whether this deployment is a sandbox: its keys are test keys.
    pub is_sandbox: bool,
    /// Whether a webhook URL is allowed; the text says why not.
    pub check_url: fn(bool, &str) -> Result<(), String>,
}

/// A new key with what is shown this once.
#[derive(Clone)]
pub struct CreatedKey {
    /// The key.
    pub key: ApiKey,
    /// The secret part, `sk_...`.
    pub secret: String,
    /// The APP_KEY, padded base64.
    pub app_key: String,
}

/// A change of a key's endpoint; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct EndpointChange {
    /// The new URL; empty removes it.
    pub url: Option<String>,
    /// The new event types; an empty list stays.
    pub events: Vec<String>,
}

impl ManageKeys {
    /// Creates a merchant, not approved yet.
    pub async fn create_merchant(&self, name: &str, actor: &str) -> Result<Merchant, Failure> {
        let now = self.env.now();
        let merchant = Merchant {
            id: self.env.new_id(),
            name: checked_name(name, true)?,
            approved_at: None,
            honors_late: false,
            shortfall_basis_points: 0,
            created_at: now.0,
        };
        let unit = self.db.begin("create_merchant").await?;
        merchants::insert(&unit, &merchant).await?;
        let object = merchant.id.to_string();
        audit::append(&unit, actor, "merchant.create", &object, &merchant.name, now).await?;
        unit.commit().await?;
        Ok(merchant)
    }

    /// Approves a merchant.
    pub async fn approve_merchant(&self, id: Uuid, actor: &str) -> Result<Merchant, Failure> {
        let now = self.env.now();
        let unit = self.db.begin("approve_merchant").await?;
        let merchant = merchants::approve(&unit, id, now).await?.ok_or_else(no_merchant)?;
        audit::append(&unit, actor, "merchant.approve", &id.to_string(), "", now).await?;
        unit.commit().await?;
        Ok(merchant)
    }

    /// Creates a key of a merchant.
    pub async fn create_key(
        &self,
        merchant_id: Uuid,
        name: &str,
        full_view: bool,
        actor: &str,
    ) -> Result<CreatedKey, Failure> {
        let merchant = merchants::get(&self.db, merchant_id).await?.ok_or_else(no_merchant)?;
        let mode = if self.is_sandbox { "test" } else { "live" };
        let id = self.env.new_id();
        let secret = format!("sk_{mode}_{}", URL_SAFE_NO_PAD.encode(self.env.random::<32>()));
        let app_key = self.env.random::<32>();
        let now = self.env.now();
        let key = ApiKey {
            id,
            public_id: format!("pk_{mode}_{}", hex::encode(self.env.random::<12>())),
            merchant_id,
            name: checked_name(name, false)?,
            digest: digest(&secret).to_vec(),
            mode: mode.to_owned(),
            scopes: "*".to_owned(),
            rest_view: if full_view { "full" } else { "basic" }.to_owned(),
            app_key: self.secrets.seal(id.as_bytes(), &app_key, &self.env),
            expires_at: None,
            revoked_at: None,
            created_at: now.0,
            approved_at: merchant.approved_at,
            honors_late: merchant.honors_late,
            shortfall_basis_points: merchant.shortfall_basis_points,
            app_key_next: None,
            webhook_url: None,
            webhook_events: None,
            signing_secret: None,
            signing_secret_previous: None,
            signing_secret_previous_until: None,
        };
        let unit = self.db.begin("create_key").await?;
        keys::insert(&unit, &key).await?;
        let owner = merchant_id.to_string();
        audit::append(&unit, actor, "key.create", &key.public_id, &owner, now).await?;
        unit.commit().await?;
        Ok(CreatedKey { key, secret, app_key: STANDARD.encode(app_key) })
    }

    /// Revokes a key; whoever caches keys must forget it.
    pub async fn revoke_key(&self, public_id: &str, actor: &str) -> Result<ApiKey, Failure> {
        self.key(public_id).await?;
        let now = self.env.now();
        let unit = self.db.begin("revoke_key").await?;
        keys::revoke(&unit, public_id, now).await?;
        audit::append(&unit, actor, "key.revoke", public_id, "", now).await?;
        unit.commit().await?;
        self.key(public_id).await
    }

    /// Changes where and what a key is told.
    pub async fn set_endpoint(
        &self,
        public_id: &str,
        change: &EndpointChange,
        actor: &str,
    ) -> Result<ApiKey, Failure> {
        let key = self.key(public_id).await?;
        let url = match change.url.as_deref() {
            None => key.webhook_url.clone(),
            Some("") => None,
            Some(url) => Some(self.checked_url(url)?),
        };
        let events = if change.events.is_empty() {
            key.webhook_events.clone().unwrap_or_else(default_events)
        } else {
            checked_events(&change.events)?
        };
        // What changes nothing leaves no trace in a log that is kept for ever.
        let is_same = key.webhook_url == url && key.webhook_events.as_ref() == Some(&events);
        if is_same && key.signing_secret.is_some() {
            return Ok(key);
        }
        let now = self.env.now();
        let endpoint = NewEndpoint {
            id: self.env.new_id(),
            api_key_id: key.id,
            merchant_id: key.merchant_id,
            url,
            events,
            signing_secret: self.new_signing_secret(key.id),
        };
        let unit = self.db.begin("set_endpoint").await?;
        keys::set_endpoint(&unit, &endpoint, now).await?;
        self.audit_endpoint(&unit, actor, public_id, &endpoint).await?;
        unit.commit().await?;
        self.key(public_id).await
    }

    async fn audit_endpoint(
        &self,
        unit: &UnitOfWork,
        actor: &str,
        public_id: &str,
        endpoint: &NewEndpoint,
    ) -> Result<(), Failure> {
        let url = endpoint.url.as_deref().unwrap_or("");
        let detail = format!("{url} {}", endpoint.events);
        audit::append(unit, actor, "webhook.set", public_id, &detail, self.env.now()).await?;
        Ok(())
    }

    /// The key with this public part.
    pub async fn key(&self, public_id: &str) -> Result<ApiKey, Failure> {
        let found = keys::get(&self.db, public_id).await?;
        found.ok_or_else(|| {
            Failure::new(Class::NotFound, Reason::ApiKeyNotFound, "there is no such API key")
        })
    }

    fn checked_url(&self, url: &str) -> Result<String, Failure> {
        (self.check_url)(self.is_sandbox, url)
            .map_err(|why| Failure::field("url", Reason::WebhookTargetRefused, why))?;
        Ok(url.to_owned())
    }
}

/// SHA-256 of a secret: secrets have 256 random bits, so that nothing slower is needed.
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The events that a key gets without asking.
pub fn default_events() -> String {
    EventKind::DEFAULT.map(EventKind::as_str).join(",")
}

fn checked_events(events: &[String]) -> Result<String, Failure> {
    for name in events {
        if EventKind::parse(name).is_none() {
            let known = EventKind::ALL.map(EventKind::as_str).join(", ");
            let hint = format!("holds an unknown event; known are {known}");
            return Err(Failure::field("events", Reason::InvalidField, hint));
        }
    }
    let mut names: Vec<&str> = events.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names.join(","))
}

pub(super) fn checked_name(name: &str, required: bool) -> Result<String, Failure> {
    let name = name.trim();
    if required && name.is_empty() {
        return Err(Failure::field("name", Reason::FieldRequired, "is required"));
    }
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let hint = format!("must be at most {NAME_CHARS_MAX} printable characters");
        return Err(Failure::field("name", Reason::InvalidField, hint));
    }
    Ok(name.to_owned())
}

pub(super) fn no_merchant() -> Failure {
    Failure::new(Class::NotFound, Reason::MerchantNotFound, "there is no such merchant")
}
