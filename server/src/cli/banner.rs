//! What is printed when the server is ready: where it is, and in the sandbox what to call it with.

use crate::app::Running;
use crate::config::Config;

/// Prints it to standard output; logs go to standard error.
pub fn print(config: &Config, running: &Running) {
    let Some(address) = running.address else {
        println!("CryptoPayment works ({})", config.environment.as_str());
        return;
    };
    let networks: Vec<&str> = config.enabled().into_keys().map(|n| n.as_str()).collect();
    println!("CryptoPayment serves at http://{address} ({})", config.environment.as_str());
    println!("  networks      {}", networks.join(", "));
    if let Some(demo) = &running.demo {
        let url = &config.sandbox.demo_webhook_url;
        let url = if url.is_empty() { "not set (sandbox.demo_webhook_url)" } else { url };
        println!("  api key       {}", demo.api_key);
        println!("  api secret    {}", demo.api_secret);
        println!("  app key       {}", demo.app_key);
        println!("  webhook url   {url}");
        println!();
        println!("  export AUTH='Authorization: Bearer {}:{}'", demo.api_key, demo.api_secret);
    }
}
