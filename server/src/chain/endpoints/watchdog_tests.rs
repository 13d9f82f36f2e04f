//! Observations in, states and the choice out: what a chain's endpoints may do to each other, case by
//! case. Not here: endpoints that answer (`tests.rs`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::time::Duration;

use super::watchdog::{FAILURES_MAX, Fault, LIES_MAX, Limits, Seen, Turn, Watchdog};
use crate::domain::asset::Network;
use crate::domain::endpoint::EndpointState as State;
use crate::domain::time::Micros;
use Says::{Fork, Head, Lie, Nothing, Old, Unfit};
use State::{Behind, Disagrees, Healthy, Lying, Stalled, Unreachable, WentBack};

/// When every story begins.
const START: Micros = Micros::from_seconds(1_000_000);

/// What one endpoint does in a look.
#[derive(Clone, Copy)]
enum Says {
    /// States this head; on the main chain.
    Head(u64),
    /// States this head; above the block its chain is another one.
    Fork(u64, u64),
    /// States this head, whose block is so many seconds old.
    Old(u64, u64),
    /// States a head that it does not give.
    Lie(u64),
    Nothing,
    Unfit,
}

struct Story {
    watchdog: Watchdog,
    now: Micros,
}

impl Story {
    fn of(network: Network, count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|n| format!("e{n}")).collect();
        let watchdog = Watchdog::new(&names, Limits::of(network, true), START);
        Self { watchdog, now: START }
    }

    /// One look of all, `seconds` after the one before.
    fn look(&mut self, seconds: u64, says: &[Says]) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        for (n, says) in says.iter().enumerate() {
            let seen = |height| {
                Ok(Seen { height, time: self.now, finalized_height: None, gives_it: true })
            };
            let look = match *says {
                Says::Head(height) | Says::Fork(height, _) => seen(height),
                Says::Old(height, age) => seen(height).map(|seen| {
                    let age = i64::try_from(age).unwrap();
                    Seen { time: Micros::from_seconds(self.now.seconds() - age), ..seen }
                }),
                Says::Lie(height) => seen(height).map(|seen| Seen { gives_it: false, ..seen }),
                Says::Nothing => Err(Fault::Unreachable("refused".to_owned())),
                Says::Unfit => Err(Fault::Unfit("another chain".to_owned())),
            };
            self.watchdog.note_look(n, look, self.now);
        }
        let hash = |n: usize, height: u64| match says[n] {
            Says::Fork(_, above) if height > above => format!("fork {n} {height}"),
            _ => format!("main {height}"),
        };
        let answers = self.watchdog.questions().into_iter().map(|(height, asked)| {
            let of_each = 0..says.len();
            (height, of_each.map(|n| asked.contains(&n).then(|| hash(n, height))).collect())
        });
        let answers: Vec<(u64, Vec<Option<String>>)> = answers.collect();
        self.watchdog.note_answers(&answers);
        self.watchdog.judge(self.now);
    }

    fn states(&self, count: usize) -> Vec<State> {
        (0..count).map(|n| self.watchdog.stands(n).0).collect()
    }

    fn chosen(&mut self) -> Option<usize> {
        self.watchdog.choose(self.now).ok()
    }
}

/// Looks, each so many seconds after the one before; the states after the last; who is read from.
type Case = (&'static str, &'static [(u64, &'static [Says])], &'static [State], Option<usize>);

/// Litecoin: compared 3 blocks deep, behind by more than 12, more than 30 lost blocks are no fork, a
/// block takes 150 s.
const CASES: &[Case] = &[
    ("one", &[(0, &[Head(100)])], &[Healthy], Some(0)),
    ("one that never answered is tried", &[(0, &[Nothing])], &[Unreachable], Some(0)),
    (
        "one look without an answer says nothing",
        &[(0, &[Head(100)]), (9, &[Nothing]), (9, &[Nothing])],
        &[Healthy],
        Some(0),
    ),
    (
        "three do",
        &[(0, &[Head(100)]), (9, &[Nothing]), (9, &[Nothing]), (9, &[Nothing])],
        &[Unreachable],
        Some(0),
    ),
    (
        "an answer between begins anew",
        &[(0, &[Head(100)]), (9, &[Nothing]), (9, &[Nothing]), (9, &[Head(100)]), (9, &[Nothing])],
        &[Healthy],
        Some(0),
    ),
    ("of another chain", &[(0, &[Unfit])], &[State::Unfit], None),
    (
        "of another chain, beside a good one",
        &[(0, &[Unfit, Head(100)])],
        &[State::Unfit, Healthy],
        Some(1),
    ),
    (
        "twenty block times without a block",
        &[(0, &[Head(100)]), (3_000, &[Head(100)])],
        &[Healthy],
        Some(0),
    ),
    (
        "and one second more: read from all the same",
        &[(0, &[Head(100)]), (3_001, &[Head(100)])],
        &[Stalled],
        Some(0),
    ),
    (
        "a new block ends it",
        &[(0, &[Head(100)]), (3_001, &[Head(100)]), (9, &[Head(101)])],
        &[Healthy],
        Some(0),
    ),
    (
        "an old block does not: it is catching up",
        &[(0, &[Head(100)]), (9_001, &[Head(100)]), (9, &[Old(150, 4_000)])],
        &[Stalled],
        Some(0),
    ),
    (
        "until it comes to what is new",
        &[(0, &[Head(100)]), (9_001, &[Old(150, 4_000)]), (9, &[Old(160, 600)])],
        &[Healthy],
        Some(0),
    ),
    (
        "stalled while the other goes on is left sooner",
        &[(0, &[Head(100), Head(100)]), (901, &[Head(100), Head(113)])],
        &[Stalled, Healthy],
        Some(1),
    ),
    (
        "twelve blocks less is no trouble",
        &[(0, &[Head(100), Head(112)])],
        &[Healthy, Healthy],
        Some(0),
    ),
    ("thirteen is", &[(0, &[Head(100), Head(113)])], &[Behind, Healthy], Some(1)),
    (
        "a liar's height makes nobody late",
        &[
            (0, &[Head(100), Lie(9_000)]),
            (9, &[Head(100), Lie(9_000)]),
            (9, &[Head(100), Lie(9_000)]),
        ],
        &[Healthy, Lying],
        Some(0),
    ),
    (
        "a height that was not given is not held against the heights after it",
        &[(0, &[Head(100)]), (9, &[Lie(1_000_100)]), (9, &[Head(101)])],
        &[Healthy],
        Some(0),
    ),
    (
        "and is no news",
        &[(0, &[Head(100)]), (2_999, &[Lie(1_000_100)]), (2, &[Head(100)])],
        &[Stalled],
        Some(0),
    ),
    ("and makes nobody late", &[(0, &[Head(100), Lie(9_000)])], &[Healthy, Healthy], Some(0)),
    ("two lies may be a fork", &[(0, &[Lie(100)]), (9, &[Lie(100)])], &[Healthy], Some(0)),
    ("three are none", &[(0, &[Lie(100)]), (9, &[Lie(100)]), (9, &[Lie(100)])], &[Lying], None),
    (
        "thirty blocks lost may be a fork",
        &[(0, &[Head(130)]), (9, &[Head(100)])],
        &[Healthy],
        Some(0),
    ),
    ("more is an old snapshot", &[(0, &[Head(131)]), (9, &[Head(100)])], &[WentBack], None),
    (
        "until it has caught up",
        &[(0, &[Head(131)]), (9, &[Head(100)]), (9, &[Head(101)])],
        &[Healthy],
        Some(0),
    ),
    (
        "an old snapshot beside a good one",
        &[(0, &[Head(131), Head(131)]), (9, &[Head(100), Head(131)])],
        &[WentBack, Healthy],
        Some(1),
    ),
    (
        "two tips differ near the head",
        &[(0, &[Head(100), Fork(100, 97)])],
        &[Healthy, Healthy],
        Some(0),
    ),
    (
        "two chains differ deeper: nobody knows which",
        &[(0, &[Head(100), Fork(100, 96)])],
        &[Disagrees, Disagrees],
        None,
    ),
    (
        "of three the one is wrong",
        &[(0, &[Fork(100, 90), Head(100), Head(101)])],
        &[Disagrees, Healthy, Healthy],
        Some(1),
    ),
    (
        "three chains",
        &[(0, &[Fork(100, 90), Fork(100, 90), Head(100)])],
        &[Disagrees, Disagrees, Disagrees],
        None,
    ),
    (
        "one that is far behind and on both chains decides nothing, and is read from",
        &[(0, &[Head(100), Fork(100, 90), Head(60)])],
        &[Disagrees, Disagrees, Behind],
        Some(2),
    ),
    (
        "they agree again",
        &[(0, &[Head(100), Fork(100, 90)]), (9, &[Head(101), Head(101)])],
        &[Healthy, Healthy],
        Some(0),
    ),
];

#[test]
fn states_and_choice_case_by_case() {
    for (what, looks, states, chosen) in CASES {
        let count = states.len();
        let mut story = Story::of(Network::Ltc, count);
        for (seconds, says) in *looks {
            story.look(*seconds, says);
        }
        assert_eq!(story.states(count), *states, "{what}");
        assert_eq!(story.chosen(), *chosen, "{what}");
    }
}

#[test]
fn a_contradiction_lasts_until_it_is_seen_to_be_over() {
    let mut two = Story::of(Network::Ltc, 2);
    two.look(0, &[Says::Head(100), Says::Fork(100, 90)]);
    for _ in 0..FAILURES_MAX + 1 {
        two.look(9, &[Says::Nothing, Says::Fork(101, 90)]);
    }
    assert_eq!(two.states(2), [State::Unreachable, State::Disagrees]);
    assert_eq!(two.chosen(), Some(0), "the one that is gone may be the right one");

    // Whoever was outvoted has no vote: with one of the majority gone it is still the one against.
    let mut three = Story::of(Network::Ltc, 3);
    three.look(0, &[Says::Head(100), Says::Head(100), Says::Fork(100, 90)]);
    for _ in 0..FAILURES_MAX {
        three.look(9, &[Says::Nothing, Says::Head(101), Says::Fork(101, 90)]);
    }
    assert_eq!(three.states(3), [State::Unreachable, State::Healthy, State::Disagrees]);
    assert_eq!(three.chosen(), Some(1));
    three.look(9, &[Says::Nothing, Says::Head(102), Says::Head(102)]);
    assert_eq!(three.states(3)[2], State::Healthy);
}

#[test]
fn failing_reads_move_to_the_next_and_back_after_a_while() {
    let mut story = Story::of(Network::Ltc, 2);
    let both = [Says::Head(100), Says::Head(100)];
    story.look(0, &both);
    for _ in 1..FAILURES_MAX {
        story.watchdog.note_turn(Turn::Failed("reset".to_owned()), story.now);
        assert_eq!(story.chosen(), Some(0));
    }
    story.watchdog.note_turn(Turn::Answered, story.now);
    for _ in 0..FAILURES_MAX {
        assert_eq!(story.chosen(), Some(0), "an answer between begins anew");
        story.watchdog.note_turn(Turn::Failed("reset".to_owned()), story.now);
    }
    assert_eq!(story.chosen(), Some(1));
    assert_eq!(story.states(2)[0], State::Unreachable);
    // It answers when it is looked at, and is left alone for a minute all the same.
    story.look(59, &both);
    assert_eq!((story.states(2)[0], story.chosen()), (State::Unreachable, Some(1)));
    story.look(1, &both);
    assert_eq!((story.states(2)[0], story.chosen()), (State::Healthy, Some(1)));
    story.look(59, &both);
    assert_eq!(story.chosen(), Some(1), "not healthy for long enough");
    story.look(1, &both);
    assert_eq!(story.chosen(), Some(0));
}

#[test]
fn blocks_that_are_not_given_are_lies_of_reads_too() {
    let mut story = Story::of(Network::Ltc, 1);
    story.look(0, &[Says::Head(100)]);
    for _ in 0..LIES_MAX {
        assert_eq!(story.chosen(), Some(0));
        story.watchdog.note_turn(Turn::Lied("no block 100".to_owned()), story.now);
    }
    assert_eq!((story.chosen(), story.states(1)[0]), (None, State::Lying));
    story.look(60, &[Says::Head(101)]);
    assert_eq!(story.chosen(), Some(0), "it is tried again");
}

#[test]
fn a_fork_deeper_than_everyday_ones_needs_another_to_confirm_it() {
    // (depth of the fork, what the other says, seconds served, whether it may be followed); root 80.
    let cases = [
        (3, Says::Fork(100, 80), 0, true),
        (4, Says::Fork(100, 80), 600, false),
        (4, Says::Head(100), 0, true),
        (900, Says::Head(100), 0, true),
        (4, Says::Nothing, 59, false),
        (4, Says::Nothing, 60, true),
        (6, Says::Nothing, 60, true),
        (7, Says::Nothing, 600, false),
        // It agrees, and below the fork: that confirms nothing.
        (4, Says::Head(80), 600, false),
    ];
    for (depth, other, served, follows) in cases {
        let mut story = Story::of(Network::Ltc, 2);
        story.look(served, &[Says::Head(100), other]);
        let confirmed = story.watchdog.confirms_fork(80, depth, story.now);
        assert_eq!(confirmed.is_ok(), follows, "{depth} {served} {confirmed:?}");
    }
    let mut alone = Story::of(Network::Ltc, 1);
    alone.look(0, &[Says::Head(100)]);
    assert_eq!(alone.watchdog.confirms_fork(80, 900, alone.now), Ok(()), "it cannot compare");
}

#[test]
fn the_lines_follow_the_depth_of_payments() {
    for network in Network::ALL {
        let limits = Limits::of(network, true);
        let deep = u64::from(network.default_confirmations());
        assert!(limits.agreement_blocks < deep, "{network}: compared before a payment is credited");
        assert!(limits.lost_blocks_max > limits.unconfirmed_fork_blocks_max, "{network}");
        assert!(limits.quiet_max > limits.quiet_beside_others_max, "{network}");
        assert_eq!(Limits::of(network, false).quiet_max, None, "nobody mines in a test");
    }
}
