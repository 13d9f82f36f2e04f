//! Which version a node states, and whether it is too old to be believed. Versions are counted as in the
//! settings: major * 10000 + minor * 100 + patch. Not here: how a node is asked, which versions are known
//! to be sound (each chain's own room), and Bitcoin-like nodes, which count themselves.

use std::sync::atomic::{AtomicU32, Ordering};

use super::ChainError;
use crate::domain::asset::Network;

/// Looks at a chain's head between two questions for the version: it changes only with a restart, and
/// services count what they are asked.
const LOOKS_BETWEEN: u32 = 60;
/// The largest minor and patch number that the count tells apart.
const PART_MAX: u64 = 99;

/// A version as a number.
pub const fn counted(major: u64, minor: u64, patch: u64) -> u64 {
    major * 10_000 + minor * 100 + patch
}

/// The count of `4.8.0`, `v1.16.7-stable`, `4.8.2.1` and the like; `None` for what is no version.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut parts = text.get(..end)?.split('.');
    let mut next = || parts.next().map(str::parse::<u32>);
    let (major, minor) = (next()?.ok()?.into(), u64::from(next()?.ok()?));
    let patch = next().and_then(Result::ok).map_or(0, u64::from);
    Some(counted(major, minor.min(PART_MAX), patch.min(PART_MAX)))
}

/// A count as people write it.
pub fn written(count: u64) -> String {
    format!("{}.{}.{}", count / 10_000, count / 100 % 100, count % 100)
}

/// Holds one node against the oldest version that is believed.
#[derive(Debug)]
pub struct VersionCheck {
    network: Network,
    /// What the operator says instead of what is known.
    accepted: Option<u64>,
    /// Looks until the node is asked again.
    looks_left: AtomicU32,
}

impl VersionCheck {
    /// A check that was never made.
    pub const fn new(network: Network) -> Self {
        Self { network, accepted: None, looks_left: AtomicU32::new(0) }
    }

    /// Believes nodes from `version` on, whatever is known.
    pub const fn accept(&mut self, version: u64) {
        self.accepted = Some(version);
    }

    /// Whether the operator says which version is the oldest.
    pub const fn is_overridden(&self) -> bool {
        self.accepted.is_some()
    }

    /// Whether the node is to be asked at this look.
    pub fn is_due(&self) -> bool {
        let count = |left: u32| left.checked_sub(1);
        self.looks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_err()
    }

    /// Notes that the node is being asked.
    pub fn begin(&self) {
        self.looks_left.store(LOOKS_BETWEEN, Ordering::Relaxed);
    }

    /// Why a node of this version is not believed; `known` is the oldest that is known to be sound.
    pub fn outdated(&self, stated: u64, known: Option<u64>) -> Option<String> {
        let oldest = self.accepted.or(known)?;
        let (stated_text, oldest_text) = (written(stated), written(oldest));
        (stated < oldest).then(|| format!("node version {stated_text} is older than {oldest_text}"))
    }

    /// The error of a node that is not believed, which is asked again at the next look.
    pub fn refuse(&self, why: &str) -> ChainError {
        self.looks_left.store(0, Ordering::Relaxed);
        let network = self.network;
        ChainError::Unsupported(format!(
            "{why}: update the node (or lower networks.{network}.node.oldest_version)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_counted_in_whatever_way_they_are_written() {
        for (text, count) in [
            ("4.8.0", Some(40_800)),
            ("4.8.2.1", Some(40_802)),
            ("v1.16.7-stable", Some(11_607)),
            ("v1.7.7-2ded28f2", Some(10_707)),
            ("25.11.0", Some(251_100)),
            ("1.35.2+8b7f1c", Some(13_502)),
            ("v3.2-rc.9", Some(30_200)),
            ("4.8.", Some(40_800)),
            ("1.101603.5", Some(19_905)),
            ("", None),
            ("v", None),
            ("4", None),
            ("20261126", None),
            (".8.0", None),
            ("4..0", None),
            ("-4.8.0", None),
            ("go1.25.1", None),
            ("4294967296.0.0", None),
        ] {
            assert_eq!(parse(text), count, "{text}");
        }
        assert_eq!(written(counted(4, 8, 0)), "4.8.0");
        assert_eq!(written(251_100), "25.11.0");
    }

    #[test]
    fn what_the_operator_says_goes_before_what_is_known() {
        let mut check = VersionCheck::new(Network::Trc20);
        assert_eq!(check.outdated(40_707, None), None, "nothing is known");
        assert_eq!(check.outdated(40_800, Some(40_800)), None);
        let why = check.outdated(40_707, Some(40_800));
        assert_eq!(why.as_deref(), Some("node version 4.7.7 is older than 4.8.0"));
        check.accept(40_707);
        assert_eq!(check.outdated(40_707, Some(40_800)), None);
        assert!(check.outdated(40_706, None).is_some());
    }

    #[test]
    fn a_node_is_asked_at_the_first_look_and_then_now_and_again() {
        let check = VersionCheck::new(Network::Eth);
        let asked = |looks: u32| (0..looks).filter(|_| check.is_due()).count();
        assert_eq!(asked(1), 1);
        check.begin();
        assert_eq!(asked(LOOKS_BETWEEN), 0);
        assert_eq!(asked(1), 1);
        check.begin();
        let refused = check.refuse("too old").to_string();
        assert!(refused.contains("networks.eth.node.oldest_version"), "{refused}");
        assert_eq!(asked(1), 1, "an updated node is read at once");
    }
}
