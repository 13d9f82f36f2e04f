//! Commands that call a deployment behind a proxy that speaks TLS: `listen` and `trigger` follow an
//! `https://` URL where the certificate is trusted, and nowhere else.

use cryptopayment_sdk::v1::UpdateWebhookEndpointRequest;

use crate::program::{Said, confirmed_invoice, program, run};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::server::{Engine, TestServer};
use crate::tls_proxy::{TlsProxy, authority};

/// Runs a command against the proxy, trusting its authority or only the system's.
async fn through(proxy: &TlsProxy, server: &TestServer, trusts: bool, words: &[&str]) -> Said {
    let (key, secret) = &server.credentials;
    let mut command = program();
    command
        .args(words)
        .env("CRYPTOPAYMENT_URL", &proxy.url)
        .env("CRYPTOPAYMENT_API_KEY", key)
        .env("CRYPTOPAYMENT_API_SECRET", secret)
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR");
    if trusts {
        command.env("SSL_CERT_FILE", authority());
    }
    run(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listen_and_trigger_go_through_tls_that_is_trusted() {
    let server = TestServer::start(Engine::Sqlite).await;
    let proxy = TlsProxy::to(&server.url).await;
    // Told before anything happens: what is delivered is decided some time after an event.
    let local = Receiver::start().await;
    let change = UpdateWebhookEndpointRequest {
        url: Some(local.url.clone()),
        events: vec!["payment.confirmed".to_owned()],
    };
    server.client().update_webhook_endpoint(change).await.unwrap();
    let played = through(&proxy, &server, true, &["trigger", "paid", "--json"]).await.ok().lines();
    assert_eq!(played.last().unwrap()["status"], "confirmed", "{played:?}");
    local.wait_for(1).await;
    confirmed_invoice(&server).await;
    let delivered = local.wait_for(2).await;
    let listen = ["listen", "--forward-to", &local.url, "--from", "earliest", "--count", "2"];
    let listen = [&listen[..], &["--events", "payment.confirmed"]].concat();
    let said = through(&proxy, &server, true, &listen).await.ok();
    assert!(said.out.contains("payment.confirmed") && said.out.contains("HTTP 200"), "{said:?}");
    let bodies = |of: &[Delivery]| of.iter().map(|one| one.body.clone()).collect::<Vec<_>>();
    let forwarded = bodies(&local.got()[2..]);
    assert_eq!(forwarded, bodies(&delivered), "to the byte");

    let refused = through(&proxy, &server, false, &["trigger", "paid"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("cannot be reached"), "{refused:?}");
    server.finish().await;
}
