//! How the nodes that a network is read from stand, and what that makes of the network as a whole.
//! Not here: how a node is judged (`chain::endpoints`).

use std::time::Duration;

use super::time::Micros;

/// Business seconds without a complete read after which a network no longer counts as read.
const READ_SECONDS_MAX: u64 = 60;

/// How one node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// It answers, keeps up and contradicts nobody.
    Healthy,
    /// It does not answer, or fails again and again.
    Unreachable,
    /// It cannot be used whatever it says: another chain or token, too old, without what is needed.
    Unfit,
    /// It answers and has had no new block for far longer than the chain takes.
    Stalled,
    /// It states blocks that it cannot give.
    Lying,
    /// It lacks many blocks that another has.
    Behind,
    /// It lost many blocks that it had itself, as a node does that was put back to an old snapshot.
    WentBack,
    /// It has another block than others have at a depth where that is no ordinary fork.
    Disagrees,
}

impl EndpointState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Healthy,
        Self::Unreachable,
        Self::Unfit,
        Self::Stalled,
        Self::Lying,
        Self::Behind,
        Self::WentBack,
        Self::Disagrees,
    ];

    /// The name in database, API and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unreachable => "unreachable",
            Self::Unfit => "unfit",
            Self::Stalled => "stalled",
            Self::Lying => "lying",
            Self::Behind => "behind",
            Self::WentBack => "went_back",
            Self::Disagrees => "disagrees",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// How gladly a node in this state is read from, the least first; `None` where it is not: what it
    /// says may be wrong. One that does not answer says nothing wrong.
    pub const fn rank(self) -> Option<u8> {
        match self {
            Self::Healthy => Some(0),
            Self::Behind | Self::Stalled => Some(1),
            Self::Unreachable => Some(2),
            Self::Unfit | Self::Lying | Self::WentBack | Self::Disagrees => None,
        }
    }
}

/// One node as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which: `node`, `fallback 1` and so on.
    pub name: String,
    /// Its host and port, without path and credentials.
    pub host: String,
    /// How it stands.
    pub state: EndpointState,
    /// Whether the network is read from it now.
    pub is_serving: bool,
    /// The newest block it stated.
    pub height: Option<u64>,
    /// The newest block it called irreversible, where the chain has such a notion.
    pub finalized_height: Option<u64>,
    /// Since when it is in this state, system time.
    pub since: Micros,
    /// Why it is not healthy; empty when it is.
    pub error: String,
}

/// How a network is read as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkState {
    /// Everything up to the newest block, and what waits.
    Reading,
    /// Blocks that were missed are read now.
    CatchingUp,
    /// No node answers or has anything new, or none was read yet. Nothing expires meanwhile.
    Waiting,
    /// No node can be believed: they disagree, lie, or went back. Nothing is credited meanwhile.
    Held,
}

/// The newest block that is known of: `noted` by the last complete read, or what a node that is believed
/// has stated since then.
pub fn head(noted: u64, endpoints: &[Endpoint]) -> u64 {
    let believed = endpoints.iter().filter(|one| one.state.rank().is_some());
    believed.filter_map(|one| one.height).fold(noted, u64::max)
}

impl NetworkState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Reading, Self::CatchingUp, Self::Waiting, Self::Held];

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::CatchingUp => "catching_up",
            Self::Waiting => "waiting",
            Self::Held => "held",
        }
    }

    /// The state of a network that was read up to `scanned` when `node` was the newest block, `age`
    /// ago; `None` before its first read.
    pub fn of(scanned: Option<(u64, u64)>, age: Duration, endpoints: &[Endpoint]) -> Self {
        let is_refused = endpoints.iter().any(|one| one.state.rank().is_none());
        let mut answering = endpoints
            .iter()
            .filter(|one| one.state.rank().is_some() && one.state != EndpointState::Unreachable);
        if is_refused && answering.clone().next().is_none() {
            return Self::Held;
        }
        let Some((scanned, node)) = scanned else { return Self::Waiting };
        if age.as_secs() <= READ_SECONDS_MAX {
            return Self::Reading;
        }
        let newest = answering.by_ref().filter_map(|one| one.height).max();
        if newest.unwrap_or(node) > scanned { Self::CatchingUp } else { Self::Waiting }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn states_read_back() {
        for state in EndpointState::ALL {
            assert_eq!(EndpointState::parse(state.as_str()), Some(state));
        }
        assert_eq!(EndpointState::parse("Healthy"), None);
    }

    #[test]
    fn a_network_is_what_its_reads_and_nodes_make_of_it() {
        use EndpointState::{Behind, Disagrees, Healthy, Lying, Unreachable};
        use NetworkState::{CatchingUp, Held, Reading, Waiting};

        let (fresh, old) = (Duration::from_secs(60), Duration::from_secs(61));
        type Case<'a> = (Option<(u64, u64)>, Duration, &'a [(EndpointState, u64)], NetworkState);
        let cases: [Case<'_>; 12] = [
            (None, fresh, &[], Waiting),
            (None, fresh, &[(Healthy, 9)], Waiting),
            (Some((9, 9)), fresh, &[], Reading),
            (Some((9, 9)), fresh, &[(Unreachable, 9)], Reading),
            (Some((9, 9)), old, &[], Waiting),
            (Some((8, 9)), old, &[], CatchingUp),
            (Some((9, 9)), old, &[(Healthy, 5_000)], CatchingUp),
            (Some((9, 9)), old, &[(Unreachable, 5_000)], Waiting),
            (Some((9, 9)), fresh, &[(Disagrees, 9), (Disagrees, 9)], Held),
            (Some((9, 9)), old, &[(Lying, 9)], Held),
            (Some((9, 9)), fresh, &[(Disagrees, 9), (Unreachable, 9), (Disagrees, 9)], Held),
            (Some((9, 9)), fresh, &[(Disagrees, 9), (Behind, 9)], Reading),
        ];
        for (scanned, age, stand, expected) in cases {
            let endpoints: Vec<Endpoint> = stand.iter().map(|(s, h)| standing(*s, *h)).collect();
            assert_eq!(
                NetworkState::of(scanned, age, &endpoints),
                expected,
                "{scanned:?} {stand:?}"
            );
        }
    }

    #[test]
    fn the_head_is_what_believed_nodes_say() {
        use EndpointState::{Healthy, Lying, Unreachable};

        assert_eq!(head(9, &[]), 9);
        assert_eq!(head(9, &[standing(Healthy, 12), standing(Healthy, 11)]), 12);
        assert_eq!(head(9, &[standing(Unreachable, 10), standing(Lying, 99)]), 10);
        assert_eq!(head(9, &[standing(Healthy, 3)]), 9);
    }

    fn standing(state: EndpointState, height: u64) -> Endpoint {
        Endpoint {
            name: String::new(),
            host: String::new(),
            state,
            is_serving: true,
            height: Some(height),
            finalized_height: None,
            since: Micros(0),
            error: String::new(),
        }
    }
}
