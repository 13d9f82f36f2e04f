//! The second gate: the only resolver the webhook client has. A name is refused if any of its
//! addresses is, and connections go to the addresses checked here and to no others, so that a name
//! cannot change between check and connection (DNS rebinding). Not here: literal addresses, which
//! no client resolves (`target.rs`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::target::{TargetError, TargetPolicy, check_url};

/// Names looked up at once; the system's resolver takes a thread for each, also when the delivery
/// that asked has given up.
const LOOKUPS_MAX: usize = 64;

/// Turns names into addresses. The system's resolver in production.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// All addresses of `name`.
    ///
    /// # Errors
    /// The name does not exist, or the resolver does not answer.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
pub(super) struct SystemLookup {
    running: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        // A task of its own: the permit must last as long as the resolver's thread, not as long as
        // the delivery that waits for it.
        let looking = tokio::spawn(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            drop(permit);
            Ok(found?.map(|address| address.ip()).collect())
        });
        looking.await.map_err(io::Error::other)?
    }
}

/// A name led to an address the policy refuses. The address stays in this type: what a private name
/// resolves to is not the merchant's to learn.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to an address that is not allowed")]
pub(super) struct BlockedAddress;

/// The resolver handed to the HTTP client.
pub(super) struct GuardedResolver {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) policy: TargetPolicy,
}

/// Why nothing would be sent to a URL.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// Its text is not allowed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Its name does not resolve.
    #[error("the name {0} does not resolve")]
    Dns(String),
    /// Its name resolves to an address that is not allowed.
    #[error("the name {0} resolves to an address that is not allowed")]
    Blocked(String),
}

/// Whether deliveries to a URL would be sent: both gates are passed, nothing is sent. Returns where to.
///
/// # Errors
/// See [`Unreachable`].
pub async fn resolve(policy: &TargetPolicy, url: &str) -> Result<Vec<IpAddr>, Unreachable> {
    let url = check_url(policy, url)?;
    let host = url.host_str().unwrap_or_default();
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found = SystemLookup::default().lookup(name).await.unwrap_or_default();
    if found.is_empty() {
        return Err(Unreachable::Dns(name.to_owned()));
    }
    if found.iter().all(|ip| policy.allows(*ip)) {
        Ok(found)
    } else {
        Err(Unreachable::Blocked(name.to_owned()))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.lookup);
        let policy = self.policy.clone();
        Box::pin(async move {
            let found = lookup.lookup(name.as_str()).await?;
            if let Some(refused) = found.iter().find(|ip| !policy.allows(**ip)) {
                tracing::warn!(name = name.as_str(), %refused, "webhook target blocked");
                return Err(BlockedAddress.into());
            }
            // Port 0 stands for the port of the URL.
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}
