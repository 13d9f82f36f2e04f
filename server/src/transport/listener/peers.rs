//! Who is at the other end, and how many connections each network address holds.
//! Not here: who a caller is by key or token (authentication).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The network address of a caller, as a request extension. Behind a reverse proxy it is the
/// proxy's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddress(pub SocketAddr);

impl PeerAddress {
    /// The address that callers are counted by: IPv4 whole, IPv6 by its /64.
    pub fn network(&self) -> IpAddr {
        network_of(self.0.ip())
    }
}

/// The process of a caller on the Unix socket, as the kernel tells it; a request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProcess {
    /// The user the process runs as.
    pub uid: u32,
    /// The process, where the system tells it.
    pub pid: Option<i32>,
}

/// The other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Network(PeerAddress),
    /// Over a Unix socket.
    Process(PeerProcess),
}

impl Peer {
    /// Puts what is known of the caller into a request's extensions: [`PeerAddress`] over TCP,
    /// [`PeerProcess`] over a Unix socket, never both.
    pub(super) fn insert_into(self, extensions: &mut http::Extensions) {
        match self {
            Self::Network(address) => drop(extensions.insert(address)),
            Self::Process(process) => drop(extensions.insert(process)),
        }
    }
}

/// Counts open connections by network address.
pub(super) struct PerAddress {
    max: usize,
    loopback_exempt: bool,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One counted connection; dropping it gives its place back.
pub(super) struct Place {
    counts: Arc<PerAddress>,
    key: IpAddr,
}

impl PerAddress {
    pub(super) fn new(max: usize, loopback_exempt: bool) -> Arc<Self> {
        Arc::new(Self { max, loopback_exempt, open: Mutex::default() })
    }

    /// A place for one more connection of `peer`: `Ok(None)` where no count is kept (Unix sockets,
    /// exempt loopback), `Err` if the address already holds all it may.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Result<Option<Place>, TooMany> {
        let Peer::Network(address) = peer else { return Ok(None) };
        let key = address.network();
        if self.loopback_exempt && key.is_loopback() {
            return Ok(None);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(key).or_insert(0);
        if *count >= self.max {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(Place { counts: Arc::clone(self), key }))
    }
}

/// The address holds all the connections it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.counts.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// The address counted by: IPv4 whole (also when mapped into IPv6), IPv6 by its /64.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6 != Ipv6Addr::LOCALHOST => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn peer(ip: &str) -> Peer {
        Peer::Network(PeerAddress(SocketAddr::new(ip.parse().unwrap(), 40_000)))
    }

    #[test]
    fn an_address_holds_its_share_and_gets_it_back() {
        let counts = PerAddress::new(2, true);
        let first = counts.admit(peer("198.51.100.7")).unwrap();
        let _second = counts.admit(peer("::ffff:198.51.100.7")).unwrap();
        assert!(counts.admit(peer("198.51.100.7")).is_err());
        assert!(counts.admit(peer("198.51.100.8")).is_ok(), "another address is not affected");
        drop(first);
        assert!(counts.admit(peer("198.51.100.7")).is_ok());
    }

    #[test]
    fn a_whole_ipv6_64_is_one_address() {
        let counts = PerAddress::new(1, true);
        let _held = counts.admit(peer("2001:db8:1:2::1")).unwrap();
        assert!(counts.admit(peer("2001:db8:1:2:ffff::9")).is_err());
        assert!(counts.admit(peer("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn loopback_is_counted_only_when_asked() {
        let exempt = PerAddress::new(1, true);
        let counted = PerAddress::new(1, false);
        for ip in ["127.0.0.1", "::1"] {
            assert!(exempt.admit(peer(ip)).unwrap().is_none());
            let _held = counted.admit(peer(ip)).unwrap().unwrap();
            assert!(counted.admit(peer(ip)).is_err());
        }
    }

    #[test]
    fn no_count_is_left_behind() {
        let counts = PerAddress::new(2, true);
        drop(counts.admit(peer("198.51.100.7")).unwrap());
        assert!(counts.open.lock().unwrap().is_empty());
    }
}
