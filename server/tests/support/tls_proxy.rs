//! Takes TLS off connections to a port of the loopback interface, as the proxy in front of a deployment does,
//! by a throw-away certificate for `localhost`. Not here: what is said inside.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Forwards connections until dropped.
pub struct TlsProxy {
    /// Where it is, `https://localhost:PORT`.
    pub url: String,
    accepting: JoinHandle<()>,
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsProxy {
    /// Forwards to what is at `http://HOST:PORT`.
    pub async fn to(url: &str) -> Self {
        let target = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let acceptor = acceptor();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, acceptor.clone(), target.clone()));
            }
        });
        Self { url, accepting }
    }
}

/// The file of the authority that made the certificate: who trusts it trusts the proxy.
pub fn authority() -> PathBuf {
    fixture("ca.pem")
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls")).join(name)
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(fixture("localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("localhost.key")).unwrap();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn forward(near: TcpStream, acceptor: TlsAcceptor, target: String) {
    // Whoever does not trust the certificate goes away here.
    let Ok(mut near) = acceptor.accept(near).await else { return };
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let _ = copy_bidirectional(&mut near, &mut far).await;
}
