//! What is printed when the server is ready: where it is, and in the sandbox what to call it with.

use std::io::Write as _;

use crate::app::Running;
use crate::app::demo::Demo;
use crate::config::Config;

/// Prints it to standard output; logs go to standard error. A server whose output nobody reads serves all
/// the same.
pub fn print(config: &Config, running: &Running) {
    let _ = std::io::stdout().lock().write_all(text(config, running).as_bytes());
}

fn text(config: &Config, running: &Running) -> String {
    let environment = config.environment.as_str();
    let Some(address) = running.address else {
        return format!("CryptoPayment works ({environment})\n");
    };
    let networks: Vec<&str> = config.enabled().into_keys().map(|n| n.as_str()).collect();
    let key = running.demo.as_ref().map(key).unwrap_or_default();
    format!(
        "CryptoPayment serves at http://{address} ({environment})\n  networks      {}\n{key}",
        networks.join(", ")
    )
}

/// The sandbox's own key, with the line that a shell takes; a revoked one opens nothing any more.
fn key(demo: &Demo) -> String {
    let (key, secret) = (&demo.credentials.api_key, &demo.credentials.api_secret);
    if demo.is_revoked {
        return format!(
            "  api key       {key} was revoked\n\n  cryptopayment admin keys create {}\n",
            demo.merchant_id
        );
    }
    let app_key = demo.app_key.as_deref().unwrap_or("sealed by another secrets.key");
    let url = demo.webhook_url.as_deref().unwrap_or("not set");
    format!(
        "  api key       {key}\n  api secret    {secret}\n  app key       {app_key}\n\
         \x20 webhook url   {url}\n\n  export AUTH='Authorization: Bearer {key}:{secret}'\n"
    )
}
