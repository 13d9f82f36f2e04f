//! The sandbox's own merchant: made at the first start, so that somebody who has just started the
//! program can call it. Its credentials are kept in a private file and printed at every start, with what
//! the database says of the key by then.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Config;
use crate::private_file;
use crate::store::merchants;
use crate::usecase::manage_keys::{EndpointChange, ManageKeys};
use crate::usecase::webhook_secrets;

/// The file below `data_dir`.
const FILE: &str = "sandbox-credentials.json";
/// The merchant's name.
const NAME: &str = "Sandbox merchant";
/// Who stands in the audit log.
const ACTOR: &str = "sandbox";

/// What to call with: what the file keeps, and what of a key never changes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The public part of the key.
    pub api_key: String,
    /// The secret part.
    pub api_secret: String,
}

/// The sandbox's own key as it is now.
#[derive(Clone)]
pub struct Demo {
    /// What to call with.
    pub credentials: Credentials,
    /// Whose it is.
    pub merchant_id: Uuid,
    /// What signs its webhooks, base64; `None` if another `secrets.key` sealed it.
    pub app_key: Option<String>,
    /// Where its events are sent.
    pub webhook_url: Option<String>,
    /// Whether calls with it are refused for good.
    pub is_revoked: bool,
}

/// The credentials that an earlier start of the sandbox here has kept; `None` if there are none.
pub fn kept(config: &Config) -> Option<Credentials> {
    let text = std::fs::read_to_string(config.data_dir.join(FILE)).ok()?;
    serde_json::from_str(&text).ok()
}

/// The demo merchant's key, made if there is no merchant at all; `None` if the database has not the key
/// of the file.
pub async fn ensure(config: &Config, manage: &ManageKeys) -> anyhow::Result<Option<Demo>> {
    if !config.is_sandbox() || !config.sandbox.demo_merchant {
        return Ok(None);
    }
    let credentials = kept_or_made(config, manage).await?;
    let Ok(mut key) = manage.key(&credentials.api_key).await else { return Ok(None) };
    if !config.sandbox.demo_webhook_url.is_empty() {
        let url = Some(config.sandbox.demo_webhook_url.clone());
        let change = EndpointChange { url, events: Vec::new() };
        key = manage.set_endpoint(&credentials.api_key, &change, ACTOR).await?;
    }
    let signers = manage.signers(&key).ok();
    Ok(Some(Demo {
        credentials,
        merchant_id: key.merchant_id,
        app_key: signers.map(|signers| webhook_secrets::app_key_text(&signers.app_key)),
        webhook_url: key.webhook_url,
        is_revoked: key.revoked_at.is_some(),
    }))
}

async fn kept_or_made(config: &Config, manage: &ManageKeys) -> anyhow::Result<Credentials> {
    let path = config.data_dir.join(FILE);
    if path.exists() {
        let text = std::fs::read_to_string(&path)?;
        return serde_json::from_str(&text).with_context(|| format!("{}", path.display()));
    }
    // Every step may have been done by a start that did not get to its end.
    let merchants = merchants::list(&manage.db).await?;
    let merchant = match merchants.into_iter().find(|merchant| merchant.name == NAME) {
        Some(merchant) => merchant,
        None => manage.create_merchant(NAME, ACTOR).await?,
    };
    manage.approve_merchant(merchant.id, ACTOR).await?;
    let created = manage.create_key(merchant.id, "sandbox", false, ACTOR).await?;
    let credentials = Credentials { api_key: created.key.public_id, api_secret: created.secret };
    private_file::write(&path, serde_json::to_string_pretty(&credentials)?.as_bytes())?;
    Ok(credentials)
}
