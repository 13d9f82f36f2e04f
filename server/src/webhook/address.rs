//! Which network addresses a webhook may reach. Not here: names, ports and schemes (`target.rs`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whom an address belongs to, as far as a webhook cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The public internet.
    Global,
    /// This machine or a private network (loopback, RFC 1918, RFC 4193): only in a sandbox.
    Private,
    /// Neither, in no environment: link-local (where clouds keep their credentials), multicast,
    /// reserved, documentation, and every form that hides an IPv4 address inside an IPv6 one.
    Never,
}

/// Networks that are only a sandbox's to reach.
const PRIVATE_V4: [(Ipv4Addr, u32); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// Networks no webhook reaches (IANA's special-purpose registry, RFC 6890 and later).
const NEVER_V4: [(Ipv4Addr, u32); 12] = [
    // "This network" (RFC 1122); Linux takes 0.0.0.0 for loopback.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Shared by carriers (RFC 6598); some clouds keep their metadata here.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // The host agent of Azure: a public number that only the machine's own host answers.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Link-local (RFC 3927), with 169.254.169.254.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Protocol assignments (RFC 6890), and the old relay of 6to4 (RFC 7526).
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Documentation (RFC 5737) and benchmarks (RFC 2544).
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Multicast (RFC 5771), reserved and broadcast (RFC 1112, RFC 919).
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Where global unicast is (RFC 4291, 2.4): everything else is refused, which covers v4-mapped,
/// v4-compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard (100::/64), link-local, site-local
/// (fec0::/10) and multicast without naming them. A NAT64 prefix of an operator's own looks like
/// any other global address; keeping it from private targets is that translator's task.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What is special inside of it.
const NEVER_V6: [(Ipv6Addr, u32); 4] = [
    // Protocol assignments (RFC 2928) with Teredo (2001::/32), benchmarks and ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation (RFC 3849, RFC 9637).
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4 (RFC 3056): an IPv4 address inside.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// Unique local addresses (RFC 4193).
const PRIVATE_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);

/// The metadata service of AWS over IPv6, inside of them.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whom `ip` belongs to.
pub(super) fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let within = |networks: &[(Ipv4Addr, u32)]| {
        networks
            .iter()
            .any(|(network, length)| (ip.to_bits() ^ network.to_bits()).leading_zeros() >= *length)
    };
    if within(&NEVER_V4) {
        Reach::Never
    } else if within(&PRIVATE_V4) {
        Reach::Private
    } else {
        Reach::Global
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let within = |(network, length): &(Ipv6Addr, u32)| {
        (ip.to_bits() ^ network.to_bits()).leading_zeros() >= *length
    };
    if ip == Ipv6Addr::LOCALHOST || (within(&PRIVATE_V6) && ip != METADATA_V6) {
        Reach::Private
    } else if within(&GLOBAL_V6) && !NEVER_V6.iter().any(within) {
        Reach::Global
    } else {
        Reach::Never
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const EDGES: &[(&str, Reach)] = {
        use Reach::{Global, Never, Private};
        &[
            ("0.255.255.255", Never),
            ("1.0.0.0", Global),
            ("9.255.255.255", Global),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Global),
            ("100.63.255.255", Global),
            ("100.64.0.0", Never),
            ("100.127.255.255", Never),
            ("100.128.0.0", Global),
            ("126.255.255.255", Global),
            ("127.0.0.0", Private),
            ("127.255.255.255", Private),
            ("128.0.0.0", Global),
            ("168.63.129.15", Global),
            ("168.63.129.16", Never),
            ("168.63.129.17", Global),
            ("169.253.255.255", Global),
            ("169.254.0.0", Never),
            ("169.254.255.255", Never),
            ("169.255.0.0", Global),
            ("172.15.255.255", Global),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Global),
            ("192.0.0.255", Never),
            ("192.0.1.0", Global),
            ("192.0.2.0", Never),
            ("192.0.3.0", Global),
            ("192.88.99.1", Never),
            ("192.167.255.255", Global),
            ("192.168.255.255", Private),
            ("192.169.0.0", Global),
            ("198.17.255.255", Global),
            ("198.18.0.0", Never),
            ("198.19.255.255", Never),
            ("198.20.0.0", Global),
            ("198.51.100.1", Never),
            ("203.0.113.1", Never),
            ("223.255.255.255", Global),
            ("224.0.0.0", Never),
            ("239.255.255.255", Never),
            ("240.0.0.0", Never),
            ("255.255.255.255", Never),
            ("::", Never),
            ("::1", Private),
            ("::2", Never),
            ("::8.8.8.8", Never),
            ("::ffff:8.8.8.8", Never),
            ("::ffff:127.0.0.1", Never),
            ("64:ff9b::8.8.8.8", Never),
            ("64:ff9b:1::7f00:1", Never),
            ("100::1", Never),
            ("1fff:ffff::", Never),
            ("2001::1", Never),
            ("2001:1ff:ffff::", Never),
            ("2001:200::", Global),
            ("2001:db7:ffff::", Global),
            ("2001:db8::1", Never),
            ("2001:db9::", Global),
            ("2002:7f00:1::", Never),
            ("2003::", Global),
            ("2606:4700::1111", Global),
            ("3ffe:ffff::", Global),
            ("3fff::1", Never),
            ("3fff:1000::", Global),
            ("4000::", Never),
            ("fbff::", Never),
            ("fc00::1", Private),
            ("fd00:ec2::254", Never),
            ("fdff:ffff::1", Private),
            ("fe80::1", Never),
            ("fec0::1", Never),
            ("ff02::1", Never),
        ]
    };

    #[test]
    fn each_network_is_denied_from_its_first_to_its_last_address_and_no_further() {
        for (text, expected) in EDGES {
            assert_eq!(reach(text.parse().unwrap()), *expected, "{text}");
        }
    }
}
