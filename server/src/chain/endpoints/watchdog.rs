//! What is known of each endpoint of one chain, and which of them is read from: observations go in,
//! states and a choice come out. No I/O and no clock of its own, so that every case is a line in a
//! table. Not here: asking the endpoints (`mod.rs`), which of them agree (`agreement.rs`).

use std::time::Duration;

use super::agreement::Agreement;
use crate::domain::asset::Network;
use crate::domain::endpoint::EndpointState as State;
use crate::domain::time::Micros;

/// Looks in a row, or reads in a row, that may fail before an endpoint counts as unreachable.
pub const FAILURES_MAX: u32 = 3;
/// Looks in a row, or reads in a row, in which an endpoint may state a block that it cannot give.
pub const LIES_MAX: u32 = 3;
/// Times that the chain takes for a block, after which one without a new block stands still: by chance
/// once in many years.
const QUIET_BLOCKS_MAX: u32 = 20;
/// The same, where another endpoint has blocks that it lacks.
const QUIET_BLOCKS_BESIDE_OTHERS_MAX: u32 = 6;
/// The least that both must be, for chains that are fast and sometimes pause.
const QUIET_SECONDS_MIN: u64 = 180;
const QUIET_SECONDS_BESIDE_OTHERS_MIN: u64 = 60;
/// Seconds for which an endpoint that comes before must be healthy until it is read from again, and
/// for which one whose reads failed is left alone. A test chain's owner need not wait so long.
const TRUST_SECONDS: u64 = 60;
const TRUST_SECONDS_WITHOUT_PACE: u64 = 3;

/// Where the lines are drawn for one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blocks below the lower of two heads at which their hashes must be the same: half as deep as
    /// payments must be. Above it two sound nodes may differ for a moment.
    pub agreement_blocks: u64,
    /// Blocks of another that an endpoint may lack.
    pub behind_blocks_max: u64,
    /// Blocks that an endpoint may lose of its own: deeper than any fork of a live chain.
    pub lost_blocks_max: u64,
    /// Scanned blocks that a fork may replace without another endpoint to confirm it: as deep as
    /// payments must be, or six.
    pub unconfirmed_fork_blocks_max: u64,
    /// How long a head may stand still; `None` where blocks come on demand.
    pub quiet_max: Option<Duration>,
    /// The same, where another endpoint is ahead.
    pub quiet_beside_others_max: Option<Duration>,
    /// How long an endpoint must be healthy before it takes over from another that is healthy too.
    pub trust_after: Duration,
}

impl Limits {
    /// The lines of a network. `has_pace` says that its blocks come by themselves.
    pub fn of(network: Network, has_pace: bool) -> Self {
        let deep = u64::from(network.default_confirmations());
        let quiet = |blocks: u32, least: u64| {
            let time = (network.block_time() * blocks).max(Duration::from_secs(least));
            has_pace.then_some(time)
        };
        let agreement_blocks = (deep / 2).max(1);
        let trust = if has_pace { TRUST_SECONDS } else { TRUST_SECONDS_WITHOUT_PACE };
        Self {
            agreement_blocks,
            behind_blocks_max: (deep * 2).max(3),
            lost_blocks_max: (agreement_blocks * 10).max(20),
            unconfirmed_fork_blocks_max: deep.max(6),
            quiet_max: quiet(QUIET_BLOCKS_MAX, QUIET_SECONDS_MIN),
            quiet_beside_others_max: quiet(
                QUIET_BLOCKS_BESIDE_OTHERS_MAX,
                QUIET_SECONDS_BESIDE_OTHERS_MIN,
            ),
            trust_after: Duration::from_secs(trust),
        }
    }
}

/// What an endpoint that answers says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The newest block's height.
    pub height: u64,
    /// The time that block states.
    pub time: Micros,
    /// See `Head::finalized_height`.
    pub finalized_height: Option<u64>,
    /// Whether it could give the block that it states.
    pub gives_it: bool,
}

/// Why an endpoint that was looked at says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It may say something the next time.
    Unreachable(String),
    /// It cannot be used as it is.
    Unfit(String),
}

/// How the reads of one turn through an endpoint went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Every read was answered.
    Answered,
    /// One failed.
    Failed(String),
    /// A block that it had stated was not given.
    Lied(String),
}

/// An endpoint that is left alone because its reads went wrong, whatever it says when it is looked at.
#[derive(Debug, Clone)]
struct Bench {
    until: Micros,
    state: State,
    error: String,
}

/// One endpoint.
#[derive(Debug, Clone)]
struct Watched {
    name: String,
    seen: Option<Seen>,
    fault: Option<Fault>,
    /// How it stands, and how by what it says when it is looked at alone.
    state: State,
    by_looks: State,
    since: Micros,
    error: String,
    /// The highest block it ever stated and gave.
    highest: u64,
    /// When it last had news: the time that the newest block states which was above all before.
    advanced_at: Micros,
    looks_failed: u32,
    looks_lied: u32,
    reads_failed: u32,
    reads_lied: u32,
    bench: Option<Bench>,
    /// What it was known to contradict before this process began.
    remembered: String,
}

/// Every endpoint of one chain.
#[derive(Debug, Clone)]
pub struct Watchdog {
    limits: Limits,
    watched: Vec<Watched>,
    agreement: Agreement,
    serving: usize,
    serving_since: Micros,
}

impl Watchdog {
    /// Endpoints by their names, the preferred first. None is known yet.
    pub fn new(names: &[String], limits: Limits, now: Micros) -> Self {
        let one = |name: &String| Watched {
            name: name.clone(),
            seen: None,
            fault: None,
            state: State::Unreachable,
            by_looks: State::Unreachable,
            since: now,
            error: "was not asked yet".to_owned(),
            highest: 0,
            advanced_at: now,
            looks_failed: 0,
            looks_lied: 0,
            reads_failed: 0,
            reads_lied: 0,
            bench: None,
            remembered: String::new(),
        };
        Self {
            limits,
            watched: names.iter().map(one).collect(),
            agreement: Agreement::new(names.len()),
            serving: 0,
            serving_since: now,
        }
    }

    /// Where the lines are drawn.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Which endpoint is read from.
    pub const fn serving(&self) -> usize {
        self.serving
    }

    /// The state of an endpoint, since when, why, and what it said last.
    pub fn stands(&self, n: usize) -> (State, Micros, &str, Option<Seen>) {
        let one = &self.watched[n];
        (one.state, one.since, &one.error, one.seen)
    }

    /// Whether the serving endpoint keeps up with the chain, by what it says when it is looked at: also one
    /// that fails at something else that is asked of it.
    pub fn keeps_up(&self) -> bool {
        self.watched[self.serving].by_looks == State::Healthy
    }

    /// Holds against an endpoint that it contradicted another before this process began, and how.
    pub fn remember(&mut self, n: usize, error: &str) {
        error.clone_into(&mut self.watched[n].remembered);
        self.agreement.hold_against(n);
    }

    /// Notes what an endpoint said when it was looked at.
    pub fn note_look(&mut self, n: usize, look: Result<Seen, Fault>, now: Micros) {
        let one = &mut self.watched[n];
        match look {
            Ok(seen) => {
                if one.seen.is_none() {
                    // Its newest block's own time tells how long it stands still already.
                    one.advanced_at = seen.time.min(now);
                } else if seen.gives_it && seen.height > one.highest {
                    // Old blocks are caught up with: that is no news of the chain.
                    one.advanced_at = seen.time.max(one.advanced_at).min(now);
                }
                if seen.gives_it {
                    one.looks_lied = 0;
                    one.highest = one.highest.max(seen.height);
                } else {
                    // Such a height may be any number: what comes later is not held against it.
                    one.looks_lied += 1;
                }
                one.looks_failed = 0;
                one.fault = None;
                one.seen = Some(seen);
            }
            Err(fault) => {
                one.looks_failed += 1;
                one.fault = Some(fault);
            }
        }
    }

    /// Notes how the reads of a turn through the serving endpoint went.
    pub fn note_turn(&mut self, turn: Turn, now: Micros) {
        let until = now.plus(self.limits.trust_after);
        let one = &mut self.watched[self.serving];
        let (state, error) = match turn {
            Turn::Answered => {
                (one.reads_failed, one.reads_lied) = (0, 0);
                one.bench = None;
                return;
            }
            Turn::Failed(error) => {
                one.reads_failed += 1;
                (State::Unreachable, error)
            }
            Turn::Lied(error) => {
                one.reads_lied += 1;
                (State::Lying, error)
            }
        };
        if one.reads_failed >= FAILURES_MAX || one.reads_lied >= LIES_MAX {
            (one.reads_failed, one.reads_lied) = (0, 0);
            one.bench = Some(Bench { until, state, error });
        }
    }

    /// The heights at which endpoints are to be compared, ascending, and for each who is asked.
    pub fn questions(&self) -> Vec<(u64, Vec<usize>)> {
        let seen = |one: &Watched| if one.fault.is_none() { one.seen } else { None };
        let heads: Vec<Option<Seen>> = self.watched.iter().map(seen).collect();
        self.agreement.questions(&heads, self.limits.agreement_blocks)
    }

    /// Notes what they answered: for each height the hash that each endpoint gave, if it gave one.
    pub fn note_answers(&mut self, answers: &[(u64, Vec<Option<String>>)]) {
        self.agreement.judge(answers);
    }

    /// Decides how each endpoint stands.
    pub fn judge(&mut self, now: Micros) {
        let best = |one: &Watched| {
            let given = one.seen.filter(|seen| one.fault.is_none() && seen.gives_it);
            given.map_or(0, |seen| seen.height)
        };
        let best = self.watched.iter().map(best).max().unwrap_or(0);
        for n in 0..self.watched.len() {
            let (by_looks, error) = self.judged_by_looks(n, best, now);
            let one = &mut self.watched[n];
            one.by_looks = by_looks;
            let bench = one.bench.as_ref().filter(|bench| now < bench.until);
            let (state, error) = match bench.filter(|_| by_looks != State::Unfit) {
                Some(bench) => (bench.state, bench.error.clone()),
                None => (by_looks, error),
            };
            if one.state != state {
                one.since = now;
            }
            (one.state, one.error) = (state, error);
        }
    }

    fn judged_by_looks(&self, n: usize, best: u64, now: Micros) -> (State, String) {
        let one = &self.watched[n];
        if let Some(Fault::Unfit(error)) = &one.fault {
            return (State::Unfit, error.clone());
        }
        let Some(seen) = one.seen else { return (State::Unreachable, self.silence(n)) };
        if one.looks_failed >= FAILURES_MAX {
            return (State::Unreachable, self.silence(n));
        }
        if one.looks_lied >= LIES_MAX {
            return (State::Lying, format!("states block {} and does not give it", seen.height));
        }
        if seen.height + self.limits.lost_blocks_max < one.highest {
            let error = format!("had block {} and has {} now", one.highest, seen.height);
            return (State::WentBack, error);
        }
        if !self.agreement.is_trusted(n) {
            let error = match self.agreement.contradicted(n) {
                Some((other, height)) => {
                    format!("has another block {height} than {}", self.watched[other].name)
                }
                None => one.remembered.clone(),
            };
            return (State::Disagrees, error);
        }
        let quiet = now.since(one.advanced_at);
        let is_behind = seen.height + self.limits.behind_blocks_max < best;
        let most =
            if is_behind { self.limits.quiet_beside_others_max } else { self.limits.quiet_max };
        if most.is_some_and(|most| quiet > most) {
            let error = format!("no block after {} for {} s", one.highest, quiet.as_secs());
            return (State::Stalled, error);
        }
        if is_behind {
            let error = format!("has block {} and another has {best}", seen.height);
            return (State::Behind, error);
        }
        (State::Healthy, String::new())
    }

    fn silence(&self, n: usize) -> String {
        match &self.watched[n].fault {
            Some(Fault::Unreachable(error) | Fault::Unfit(error)) => error.clone(),
            None => "was not asked yet".to_owned(),
        }
    }

    /// Chooses the endpoint to read from next. It stays the same until it is worse than another, or
    /// until one that comes before it has been healthy for long enough.
    ///
    /// # Errors
    /// When none can be believed, with what is wrong with each.
    pub fn choose(&mut self, now: Micros) -> Result<usize, String> {
        self.judge(now);
        let ranks = self.watched.iter().map(|one| one.state.rank());
        let Some(best) = ranks.flatten().min() else {
            let each = self.watched.iter().map(|one| format!("{} {}", one.name, one.error));
            return Err(each.collect::<Vec<_>>().join("; "));
        };
        let current = &self.watched[self.serving];
        let stays = current.state.rank() == Some(best);
        let takes_over = |(n, one): &(usize, &Watched)| {
            let healthy_for = now.since(one.since);
            one.state.rank() == Some(best)
                && (!stays
                    || (*n < self.serving
                        && one.state == State::Healthy
                        && healthy_for >= self.limits.trust_after))
        };
        let found = self.watched.iter().enumerate().find(takes_over).map(|(n, _)| n);
        if let Some(n) = found.filter(|n| *n != self.serving) {
            (self.serving, self.serving_since) = (n, now);
        }
        Ok(self.serving)
    }

    /// Whether `depth` scanned blocks above `root` may be given up because the serving endpoint has
    /// others. A shallow fork is an everyday thing; a deeper one must be confirmed by another endpoint,
    /// or, while none answers, by one that has served for long enough.
    ///
    /// # Errors
    /// Why not.
    pub fn confirms_fork(&self, root: u64, depth: u64, now: Micros) -> Result<(), String> {
        let limits = &self.limits;
        if self.watched.len() < 2 || depth <= limits.agreement_blocks {
            return Ok(());
        }
        let others = || (0..self.watched.len()).filter(|n| *n != self.serving);
        if others().any(|n| self.agreement.agree_above(self.serving, n, root)) {
            return Ok(());
        }
        let name = &self.watched[self.serving].name;
        let nobody_answers = others().all(|n| self.watched[n].state == State::Unreachable);
        let served = now.since(self.serving_since) >= limits.trust_after;
        if nobody_answers && served && depth <= limits.unconfirmed_fork_blocks_max {
            return Ok(());
        }
        Err(format!(
            "{name} replaces {depth} blocks above {root}, and no other endpoint confirms it"
        ))
    }
}
