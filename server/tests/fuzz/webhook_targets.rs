//! Webhook targets: what a live system takes is https to a public host on an allowed port, without
//! user, and a reader that knows only RFC 3986 finds the same host in the text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cryptopayment::webhook::{TargetPolicy, check_url};

pub fn webhook_targets(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (live, sandbox) = (TargetPolicy::live(), TargetPolicy::sandbox());
    let allowed_in_sandbox = check_url(&sandbox, &text);
    if let Ok(url) = &allowed_in_sandbox {
        assert!(matches!(url.scheme(), "http" | "https"), "{text}");
        assert!(url.port_or_known_default().is_some_and(|port| port > 0), "{text}");
        assert!(!is_link_local(url.host_str().unwrap_or_default()), "{text}");
    }
    let Ok(url) = check_url(&live, &text) else { return };
    assert!(allowed_in_sandbox.is_ok(), "a sandbox allows less: {text}");
    assert_eq!(url.scheme(), "https", "{text}");
    assert!(url.port_or_known_default().is_some_and(|port| [443, 8_443].contains(&port)), "{text}");
    assert!(url.username().is_empty() && url.password().is_none(), "{text}");
    assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{text} became {url}");
    let host = url.host_str().expect("a host");
    public(host, &text);
    // Read again as it will be sent, it is the same target.
    let again = check_url(&live, url.as_str()).expect("its own text");
    assert_eq!(again, url, "{text}");
    if let Some(named) = named_host(&text) {
        assert_eq!(named.to_ascii_lowercase(), host, "{text} is read in two ways");
    }
}

/// An address is public, a name has a dot and is none that only private networks know.
fn public(host: &str, text: &str) {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match ip {
        Ok(IpAddr::V4(ip)) => assert!(is_public(ip), "{text} reaches {ip}"),
        Ok(IpAddr::V6(ip)) => {
            assert_eq!(ip.segments()[0] & 0xe000, 0x2000, "{text} reaches {ip}");
            assert!(ip.to_ipv4().is_none() && ip.segments()[0] != 0x2002, "{text} hides {ip}");
        }
        Err(_) => {
            assert!(host.contains('.') && !host.ends_with('.'), "{text}");
            let last = host.rsplit('.').next().unwrap_or_default();
            assert!(
                !["localhost", "local", "internal"].contains(&last)
                    && !host.ends_with(".home.arpa"),
                "{text}"
            );
            assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{text} is a number");
        }
    }
}

fn is_public(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_unspecified();
    !special && a != 0 && a < 224 && !(a == 100 && (64..128).contains(&b))
}

fn is_link_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_link_local())
        || host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_unicast_link_local())
}

/// The host as RFC 3986 has it (3.2), if the text has nothing that browsers read in a way of their
/// own: only names of letters, digits, dots and hyphens, whose last label is no number.
fn named_host(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked("https://".len())?;
    if !scheme.eq_ignore_ascii_case("https://") {
        return None;
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let last = host.rsplit('.').next()?;
    let named = last.starts_with(|c: char| c.is_ascii_alphabetic());
    (host.bytes().all(plain) && named).then_some(host)
}
