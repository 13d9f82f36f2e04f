//! The sandbox's own merchant: made at the first start, so that somebody who has just started the
//! program can call it. Its credentials are kept in a private file and printed at every start.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::private_file;
use crate::store::merchants;
use crate::usecase::manage_keys::{EndpointChange, ManageKeys};

/// The file below `data_dir`.
const FILE: &str = "sandbox-credentials.json";
/// The merchant's name.
const NAME: &str = "Sandbox merchant";
/// Who stands in the audit log.
const ACTOR: &str = "sandbox";

/// What to call with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Demo {
    /// The public part of the key.
    pub api_key: String,
    /// The secret part.
    pub api_secret: String,
    /// What signs its webhooks, base64.
    pub app_key: String,
}

/// The credentials that an earlier start of the sandbox here has kept; `None` if there are none.
pub fn kept(config: &Config) -> Option<Demo> {
    let text = std::fs::read_to_string(config.data_dir.join(FILE)).ok()?;
    serde_json::from_str(&text).ok()
}

/// The demo merchant's credentials, made if there is no merchant at all.
pub async fn ensure(config: &Config, manage: &ManageKeys) -> anyhow::Result<Option<Demo>> {
    if !config.is_sandbox() || !config.sandbox.demo_merchant {
        return Ok(None);
    }
    let path = config.data_dir.join(FILE);
    let demo = if path.exists() {
        let text = std::fs::read_to_string(&path)?;
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?
    } else {
        // Every step may have been done by a start that did not get to its end.
        let merchants = merchants::list(&manage.db).await?;
        let merchant = match merchants.into_iter().find(|merchant| merchant.name == NAME) {
            Some(merchant) => merchant,
            None => manage.create_merchant(NAME, ACTOR).await?,
        };
        manage.approve_merchant(merchant.id, ACTOR).await?;
        let created = manage.create_key(merchant.id, "sandbox", false, ACTOR).await?;
        let demo = Demo {
            api_key: created.key.public_id,
            api_secret: created.secret,
            app_key: created.app_key,
        };
        private_file::write(&path, serde_json::to_string_pretty(&demo)?.as_bytes())?;
        demo
    };
    let known = manage.key(&demo.api_key).await.is_ok();
    if known && !config.sandbox.demo_webhook_url.is_empty() {
        let url = Some(config.sandbox.demo_webhook_url.clone());
        let change = EndpointChange { url, events: Vec::new() };
        manage.set_endpoint(&demo.api_key, &change, ACTOR).await?;
    }
    Ok(known.then_some(demo))
}
