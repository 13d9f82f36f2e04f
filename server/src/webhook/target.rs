//! The first gate: what the text of a webhook's URL may say. Read once when a merchant sets it and
//! again before every delivery. Not here: what a name resolves to (`resolver.rs`, the second gate).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use serde::Deserialize;

use super::address::{Reach, reach};

/// The longest URL, bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// Names that only a private network resolves (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`).
const PRIVATE_SUFFIXES: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];

/// Ports of a live system.
const LIVE_PORTS: [u16; 2] = [443, 8_443];

/// Which targets an environment allows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPolicy {
    /// Whether `http:` is allowed beside `https:`.
    pub allow_http: bool,
    /// Whether loopback and private networks are allowed. Link-local, multicast and reserved
    /// addresses are refused also then: clouds keep their machines' credentials there.
    pub allow_private: bool,
    /// The ports allowed; absent, every port.
    pub ports: Option<Vec<u16>>,
}

impl TargetPolicy {
    /// Live: https to public addresses on ports 443 and 8443.
    pub fn live() -> Self {
        Self { allow_http: false, allow_private: false, ports: Some(LIVE_PORTS.to_vec()) }
    }

    /// Sandbox: a developer's own machine is a fine receiver.
    pub fn sandbox() -> Self {
        Self { allow_http: true, allow_private: true, ports: None }
    }

    /// Whether a connection to `ip` is allowed.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        match reach(ip) {
            Reach::Global => true,
            Reach::Private => self.allow_private,
            Reach::Never => false,
        }
    }
}

/// Why a URL cannot receive webhooks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// More than [`URL_BYTES_MAX`] bytes.
    #[error("the URL is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Not an absolute URL, or with spaces or control characters.
    #[error("not a valid absolute URL")]
    Malformed,
    /// Another scheme, or `http:` where only `https:` is allowed.
    #[error("the scheme {0} is not allowed")]
    Scheme(String),
    /// A user name or password stands in it; it would end up in logs.
    #[error("a user name or password in the URL is not allowed")]
    Userinfo,
    /// The port is not one of the policy's.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// The name ends in a dot, which certificates do not.
    #[error("the host name must not end with a dot")]
    TrailingDot,
    /// A name that only a private network knows.
    #[error("the host {0} is not a public name")]
    PrivateName(String),
    /// An address that is not public (also when written in octal, hexadecimal or as one number).
    #[error("the address {0} is not public")]
    Address(IpAddr),
}

/// Checks a URL's text against the policy, and returns it as the HTTP client will read it: both
/// sides use one parser, so they cannot understand one text in two ways.
///
/// # Errors
/// The first reason found.
pub fn check_url(policy: &TargetPolicy, text: &str) -> Result<Url, TargetError> {
    if text.len() > URL_BYTES_MAX {
        return Err(TargetError::TooLong);
    }
    // The URL standard drops tabs and line ends silently and trims spaces: no merchant means that.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(TargetError::Malformed);
    }
    let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
    match url.scheme() {
        "https" => {}
        "http" if policy.allow_http => {}
        other => return Err(TargetError::Scheme(other.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Userinfo);
    }
    let port = url.port_or_known_default().ok_or(TargetError::Malformed)?;
    if port == 0 || policy.ports.as_ref().is_some_and(|ports| !ports.contains(&port)) {
        return Err(TargetError::Port(port));
    }
    check_host(policy, url.host_str().ok_or(TargetError::Malformed)?)?;
    Ok(url)
}

/// Checks a host as the URL parser has normalised it: addresses are in their usual form, names are
/// lower-case ASCII.
fn check_host(policy: &TargetPolicy, host: &str) -> Result<(), TargetError> {
    if let Some(ip) = literal(host) {
        return if policy.allows(ip) { Ok(()) } else { Err(TargetError::Address(ip)) };
    }
    if host.ends_with('.') {
        return Err(TargetError::TrailingDot);
    }
    let private = !host.contains('.')
        || PRIVATE_SUFFIXES.iter().any(|suffix| {
            host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
    if private && !policy.allow_private {
        return Err(TargetError::PrivateName(host.to_owned()));
    }
    Ok(())
}

/// The address, if the host is one: IPv6 stands in brackets.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a live system says to each URL: `ok`, or the kind of its refusal.
    const LIVE: &[(&str, &str)] = &[
        ("https://shop.example.com/hook", "ok"),
        ("https://shop.example.com:443/hook?a=b#c", "ok"),
        ("https://shop.example.com:8443/", "ok"),
        ("HTTPS://SHOP.EXAMPLE.COM/Hook", "ok"),
        ("https://bücher.example/", "ok"),
        ("https://xn--bcher-kva.example/", "ok"),
        ("https://8.8.8.8/", "ok"),
        ("https://[2606:4700:4700::1111]/", "ok"),
        ("https://my_shop.example.com/", "ok"),
        ("https://example.com\\@127.0.0.1/", "ok"), // a path: the host is example.com
        ("https://127.0.0.1.example.com/", "ok"),
        ("https://notlocalhost.com/", "ok"),
        ("https://mylocal.shop/", "ok"),
        ("", "malformed"),
        ("shop.example.com/hook", "malformed"),
        ("//shop.example.com/hook", "malformed"),
        ("https://", "malformed"),
        ("https://[fe80::1%25eth0]/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://256.256.256.256/", "malformed"),
        ("https://1.2.3.4.5/", "malformed"),
        ("https://exa mple.com/", "malformed"),
        ("https://example.com/ho\tok", "malformed"),
        ("https://example.com/\r\nx: y", "malformed"),
        ("https://example.com/\u{0}", "malformed"),
        (" https://example.com/", "malformed"),
        ("https://example.com:65536/", "malformed"),
        ("https://example.com:-1/", "malformed"),
        ("https://exam<ple.com/", "malformed"),
        ("http://shop.example.com/hook", "scheme"),
        ("ftp://shop.example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:6379/_x", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("data:text/plain,x", "scheme"),
        ("unix:/var/run/docker.sock", "scheme"),
        ("https://user@example.com/", "userinfo"),
        ("https://user:pass@example.com/", "userinfo"),
        ("https://example.com@127.0.0.1/", "userinfo"),
        ("https://127.0.0.1#@example.com/", "address"),
        ("https://:secret@example.com/", "userinfo"),
        ("https://shop.example.com:22/", "port"),
        ("https://shop.example.com:80/", "port"),
        ("https://shop.example.com:0/", "port"),
        ("https://shop.example.com:6379/", "port"),
        ("https://shop.example.com./", "trailing dot"),
        ("https://localhost./", "trailing dot"),
        ("https://localhost/", "private name"),
        ("https://LOCALHOST/", "private name"),
        ("https://ⓛocalhost/", "private name"),
        ("https://api.localhost/", "private name"),
        ("https://printer.local/", "private name"),
        ("https://metadata.google.internal/", "private name"),
        ("https://router.home.arpa/", "private name"),
        ("https://redis/", "private name"),
        ("https://127.0.0.1/", "address"),
        ("https://127.0.0.1./", "address"),
        ("https://127.1/", "address"),
        ("https://0177.0.0.1/", "address"),
        ("https://0x7f.0.0.1/", "address"),
        ("https://0x7f000001/", "address"),
        ("https://2130706433/", "address"),
        ("https://017700000001/", "address"),
        ("https://１２７．０．０．１/", "address"),
        ("https://127。0。0。1/", "address"),
        ("https://%31%32%37.0.0.1/", "address"),
        ("https://0/", "address"),
        ("https://0.0.0.0/", "address"),
        ("https://10.0.0.1/", "address"),
        ("https://172.16.0.1/", "address"),
        ("https://192.168.1.1/", "address"),
        ("https://100.64.0.1/", "address"),
        ("https://169.254.169.254/latest/meta-data/", "address"),
        ("https://0xa9fea9fe/", "address"),
        ("https://2852039166/", "address"),
        ("https://192.0.0.192/", "address"),
        ("https://168.63.129.16/", "address"),
        ("https://224.0.0.1/", "address"),
        ("https://255.255.255.255/", "address"),
        ("https://[::]/", "address"),
        ("https://[::1]/", "address"),
        ("https://[0:0:0:0:0:0:0:1]/", "address"),
        ("https://[::ffff:127.0.0.1]/", "address"),
        ("https://[::ffff:7f00:1]/", "address"),
        ("https://[::127.0.0.1]/", "address"),
        ("https://[64:ff9b::7f00:1]/", "address"),
        ("https://[64:ff9b:1::a9fe:a9fe]/", "address"),
        ("https://[2002:7f00:1::]/", "address"),
        ("https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "address"),
        ("https://[fc00::1]/", "address"),
        ("https://[fd00:ec2::254]/", "address"),
        ("https://[fe80::1]/", "address"),
        ("https://[fec0::1]/", "address"),
        ("https://[ff02::1]/", "address"),
        ("https://[100::1]/", "address"),
        ("https://[2001:db8::1]/", "address"),
    ];

    fn word(result: &Result<Url, TargetError>) -> &'static str {
        match result {
            Ok(_) => "ok",
            Err(TargetError::TooLong) => "too long",
            Err(TargetError::Malformed) => "malformed",
            Err(TargetError::Scheme(_)) => "scheme",
            Err(TargetError::Userinfo) => "userinfo",
            Err(TargetError::Port(_)) => "port",
            Err(TargetError::TrailingDot) => "trailing dot",
            Err(TargetError::PrivateName(_)) => "private name",
            Err(TargetError::Address(_)) => "address",
        }
    }

    #[test]
    fn a_live_system_reaches_only_public_https() {
        assert!(LIVE.len() >= 60);
        for (text, expected) in LIVE {
            let result = check_url(&TargetPolicy::live(), text);
            assert_eq!(word(&result), *expected, "{text}: {result:?}");
        }
    }

    #[test]
    fn a_sandbox_reaches_the_developers_machine_but_no_credentials() {
        let rows = [
            ("http://localhost:3000/hook", "ok"),
            ("http://127.0.0.1:8080/", "ok"),
            ("http://[::1]:8080/", "ok"),
            ("http://php:9000/hook", "ok"),
            ("http://192.168.1.20/", "ok"),
            ("http://[fd12::1]/", "ok"),
            ("https://shop.example.com/", "ok"),
            ("http://169.254.169.254/latest/meta-data/", "address"),
            ("http://[fd00:ec2::254]/", "address"),
            ("http://[::ffff:169.254.169.254]/", "address"),
            ("http://100.100.100.200/", "address"),
            ("http://0.0.0.0:8080/", "address"),
            ("http://user@localhost/", "userinfo"),
            ("ftp://localhost/", "scheme"),
            ("http://localhost:0/", "port"),
        ];
        for (text, expected) in rows {
            let result = check_url(&TargetPolicy::sandbox(), text);
            assert_eq!(word(&result), expected, "{text}: {result:?}");
        }
    }

    #[test]
    fn the_length_limit_is_exact() {
        let start = "https://shop.example.com/";
        let longest = format!("{start}{}", "a".repeat(URL_BYTES_MAX - start.len()));
        assert_eq!(word(&check_url(&TargetPolicy::live(), &longest)), "ok");
        assert_eq!(word(&check_url(&TargetPolicy::live(), &format!("{longest}a"))), "too long");
    }
}
