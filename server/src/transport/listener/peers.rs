//! Who is at the other end, and how many connections each network address holds.
//! Not here: who a caller is by key or token (authentication).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::held::{Held, Hold};

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

/// How many times what one /64 may hold a /48 may: one site often has a whole /48, which is 65,536 of them.
const SITE_SHARE: usize = 4;

/// What connections are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Network {
    /// IPv4 whole, IPv6 by its /64.
    Own(IpAddr),
    /// IPv6 by its /48.
    Site(IpAddr),
}

/// Counts open connections by network address, over IPv6 by the site's besides.
pub(super) struct PerAddress {
    max: usize,
    loopback_exempt: bool,
    open: Held<Network>,
}

/// One counted connection; dropping it gives its place back.
pub(super) type Place = Hold<Network>;

impl PerAddress {
    pub(super) fn new(max: usize, loopback_exempt: bool) -> Self {
        Self { max, loopback_exempt, open: Held::default() }
    }

    /// A place for one more connection of `peer`: `Ok(None)` where no count is kept (Unix sockets,
    /// exempt loopback), `Err` if the address already holds all it may.
    pub(super) fn admit(&self, peer: Peer) -> Result<Option<Place>, TooMany> {
        let Peer::Network(address) = peer else { return Ok(None) };
        let key = address.network();
        if self.loopback_exempt && key.is_loopback() {
            return Ok(None);
        }
        let mut shares = vec![(Network::Own(key), self.max)];
        if let Some(site) = site_of(key) {
            shares.push((Network::Site(site), self.max.saturating_mul(SITE_SHARE)));
        }
        let networks = shares.iter().map(|(network, _)| *network).collect();
        let place = self
            .open
            .take_if(networks, |open| shares.iter().all(|(network, max)| open.of(network) < *max));
        place.map(Some).ok_or(TooMany)
    }
}

/// The address holds all the connections it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The address counted by: IPv4 whole (also when mapped into IPv6), IPv6 by its /64.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6 != Ipv6Addr::LOCALHOST => IpAddr::V6(leading(v6, 64)),
        other => other,
    }
}

/// The /48 of an IPv6 address; of others there is none.
fn site_of(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V6(v6) if v6 != Ipv6Addr::LOCALHOST => Some(IpAddr::V6(leading(v6, 48))),
        _ => None,
    }
}

/// The address with only its first bits, at least one.
fn leading(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (Ipv6Addr::BITS - bits)))
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
    fn a_site_of_many_64s_holds_four_shares() {
        let counts = PerAddress::new(2, true);
        let site = |n: u16| peer(&format!("2001:db8:1:{n:x}::1"));
        let held: Vec<_> = (0..8).map(|n| counts.admit(site(n)).unwrap()).collect();
        assert_eq!(counts.admit(site(8)).err(), Some(TooMany));
        assert!(counts.admit(peer("2001:db8:2::1")).is_ok(), "another site is not affected");
        drop(held);
        // Its first /64 begins with the same bits as the whole: the two are counted apart.
        let _both = [counts.admit(site(0)).unwrap(), counts.admit(site(0)).unwrap()];
        assert!(counts.admit(site(0)).is_err());
        assert!(counts.admit(site(1)).is_ok());
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
        assert_eq!(counts.open.read(|open| open.iter().count()), 0);
    }
}
