//! One chain read through several endpoints. One of them serves, and goes on serving until it fails or
//! the watchdog condemns it; all are looked at from time to time and compared with each other. Where
//! they contradict each other and none has most with it, nothing is read. Not here: the rules
//! (`watchdog`, `agreement`), and how a node is asked (each chain's own room).

mod agreement;
#[cfg(test)]
mod tests;
mod watchdog;
#[cfg(test)]
mod watchdog_tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Block, BlockRef, ChainError, ChainReader, Head, Mempool, Watch};
use crate::domain::asset::Network;
use crate::domain::endpoint::{Endpoint, EndpointState};
use crate::domain::time::Micros;
use crate::env::Env;
use crate::metrics::ReadMeter;
pub use watchdog::Limits;
use watchdog::{Fault, Seen, Turn, Watchdog};

/// Seconds that one endpoint may take for what it is asked in a look.
const LOOK_SECONDS_MAX: u64 = 10;
/// The longest and the shortest time between two looks, where blocks come by themselves.
const LOOK_EVERY_SECONDS_MAX: u64 = 10;
const LOOK_EVERY_SECONDS_MIN: u64 = 2;
/// Seconds after which nothing is read before the next look: nobody may have looked.
const LOOK_AGE_SECONDS_MAX: u64 = 60;
/// Seconds between two looks at a test chain.
const LOOK_EVERY_SECONDS_WITHOUT_PACE: u64 = 1;

/// A reader with the name it is known by.
pub struct NamedReader {
    /// `node`, `fallback 1` and so on.
    pub name: String,
    /// Its host and port, without path and credentials.
    pub host: String,
    /// The reader.
    pub reader: Arc<dyn ChainReader>,
}

/// Reads one chain through one of several endpoints.
pub struct Endpoints {
    network: Network,
    env: Env,
    readers: Vec<NamedReader>,
    look_every: Duration,
    known: Mutex<Known>,
    reads: ReadMeter,
}

/// What changes.
struct Known {
    watchdog: Watchdog,
    looked_at: Option<Micros>,
    /// The genesis block of the chain that is meant: the first that was told.
    genesis: Option<String>,
    /// Whether each endpoint is known to be of that chain.
    is_checked: Vec<bool>,
    /// The head that the serving endpoint stated at the beginning of this turn.
    turn_height: Option<u64>,
    /// What went wrong in this turn.
    trouble: Option<Turn>,
}

impl Endpoints {
    /// The endpoints of one network, the preferred first; at least one. `has_pace` says that the
    /// chain's blocks come by themselves, as those of a private chain do not.
    pub fn new(network: Network, readers: Vec<NamedReader>, has_pace: bool, env: Env) -> Self {
        let limits = Limits::of(network, has_pace);
        let look_every = if has_pace {
            let seconds = network.block_time().as_secs() / 2;
            Duration::from_secs(seconds.clamp(LOOK_EVERY_SECONDS_MIN, LOOK_EVERY_SECONDS_MAX))
        } else {
            Duration::from_secs(LOOK_EVERY_SECONDS_WITHOUT_PACE)
        };
        let names: Vec<String> = readers.iter().map(|one| one.name.clone()).collect();
        let known = Known {
            watchdog: Watchdog::new(&names, limits, env.system_now()),
            looked_at: None,
            genesis: None,
            is_checked: vec![false; readers.len()],
            turn_height: None,
            trouble: None,
        };
        let (known, reads) = (Mutex::new(known), ReadMeter::default());
        Self { network, env, readers, look_every, known, reads }
    }

    /// The same, counting reads there.
    #[must_use]
    pub fn counting(self, reads: ReadMeter) -> Self {
        Self { reads, ..self }
    }

    /// How often [`Self::look`] is to be called.
    pub const fn look_every(&self) -> Duration {
        self.look_every
    }

    /// How each endpoint stands, the preferred first.
    pub fn report(&self) -> Vec<Endpoint> {
        let known = self.known();
        let one = |(n, reader): (usize, &NamedReader)| {
            let (state, since, error, seen) = known.watchdog.stands(n);
            Endpoint {
                name: reader.name.clone(),
                host: reader.host.clone(),
                state,
                is_serving: n == known.watchdog.serving(),
                height: seen.map(|seen| seen.height),
                finalized_height: seen.and_then(|seen| seen.finalized_height),
                since,
                error: error.to_owned(),
            }
        };
        self.readers.iter().enumerate().map(one).collect()
    }

    /// Takes over which endpoints contradicted each other when that was noted last, so that a restart
    /// while one is away forgets nothing. Where other endpoints are configured now it means nothing.
    pub fn remember(&self, noted: &[Endpoint]) {
        let hosts = self.readers.iter().map(|one| &one.host);
        if !hosts.eq(noted.iter().map(|one| &one.host)) {
            return;
        }
        let mut known = self.known();
        for (n, one) in noted.iter().enumerate() {
            if one.state == EndpointState::Disagrees {
                known.watchdog.remember(n, &one.error);
            }
        }
    }

    /// Looks at every endpoint, side by side, and compares those that answer.
    pub async fn look(&self) {
        let looks = join_all((0..self.readers.len()).map(|n| self.look_at(n))).await;
        let now = self.env.system_now();
        let questions = {
            let mut known = self.known();
            for (n, look) in looks.into_iter().enumerate() {
                known.watchdog.note_look(n, look, now);
            }
            known.watchdog.questions()
        };
        let asked = questions.iter().map(|(height, asked)| self.hashes(*height, asked));
        let answers = join_all(asked).await;
        let mut known = self.known();
        known.watchdog.note_answers(&answers);
        let before = self.states(&known);
        known.watchdog.judge(now);
        known.looked_at = Some(now);
        for (n, (before, after)) in before.iter().zip(self.states(&known)).enumerate() {
            if *before != after {
                let (_, _, error, _) = known.watchdog.stands(n);
                let (network, name) = (self.network, &self.readers[n].name);
                tracing::warn!(%network, endpoint = name, state = after, error, "endpoint changed");
            }
        }
    }

    fn states(&self, known: &Known) -> Vec<&'static str> {
        (0..self.readers.len()).map(|n| known.watchdog.stands(n).0.as_str()).collect()
    }

    async fn look_at(&self, n: usize) -> Result<Seen, Fault> {
        let asked = timeout(Duration::from_secs(LOOK_SECONDS_MAX), self.ask(n)).await;
        let late = || format!("did not answer within {LOOK_SECONDS_MAX} s");
        asked.unwrap_or_else(|_| Err(Fault::Unreachable(late())))
    }

    async fn ask(&self, n: usize) -> Result<Seen, Fault> {
        let reader = &self.readers[n].reader;
        if !self.known().is_checked[n] {
            let genesis = reader.genesis().await.map_err(fault)?;
            self.check_genesis(n, &genesis)?;
        }
        let head = reader.head().await.map_err(fault)?;
        let height = head.tip.height;
        let gives_it = match reader.header_at(height).await {
            Ok(block) => block.is_some(),
            Err(ChainError::Transient(error)) => return Err(Fault::Unreachable(error)),
            Err(_) => false,
        };
        let finalized_height = head.finalized_height;
        Ok(Seen { height, time: head.tip.time, finalized_height, gives_it })
    }

    /// An endpoint of another chain than the others' is never read from.
    fn check_genesis(&self, n: usize, genesis: &str) -> Result<(), Fault> {
        let mut known = self.known();
        let meant = known.genesis.get_or_insert_with(|| genesis.to_owned());
        if meant != genesis {
            return Err(Fault::Unfit(format!("is on another chain ({genesis})")));
        }
        known.is_checked[n] = true;
        Ok(())
    }

    async fn hashes(&self, height: u64, asked: &[usize]) -> (u64, Vec<Option<String>>) {
        let one = |n: usize| async move {
            if !asked.contains(&n) {
                return None;
            }
            let answer = self.readers[n].reader.header_at(height);
            let answer = timeout(Duration::from_secs(LOOK_SECONDS_MAX), answer).await;
            Some(answer.ok()?.ok()??.hash)
        };
        (height, join_all((0..self.readers.len()).map(one)).await)
    }

    /// Ends a turn and begins the next with the endpoint that is to be read from.
    async fn next_turn(&self) -> Result<&NamedReader, ChainError> {
        if self.readers.len() > 1 && self.is_look_stale() {
            self.look().await;
        }
        let now = self.env.system_now();
        let mut known = self.known();
        let before = known.watchdog.serving();
        if known.turn_height.take().is_some() || known.trouble.is_some() {
            let turn = known.trouble.take().unwrap_or(Turn::Answered);
            known.watchdog.note_turn(turn, now);
        }
        let chosen = known.watchdog.choose(now).map_err(ChainError::Transient)?;
        if chosen != before {
            let (network, from, to) = (self.network, before, chosen);
            let (from, to) = (&self.readers[from].name, &self.readers[to].name);
            tracing::warn!(%network, from, to, "another endpoint is read");
        }
        Ok(&self.readers[chosen])
    }

    fn is_look_stale(&self) -> bool {
        let fresh = Duration::from_secs(LOOK_AGE_SECONDS_MAX);
        let now = self.env.system_now();
        self.known().looked_at.is_none_or(|at| now.since(at) > fresh)
    }

    fn serving(&self) -> &NamedReader {
        &self.readers[self.known().watchdog.serving()]
    }

    /// Who may have an old block: the serving endpoint, then the others that are believed and answer.
    fn asked_for_old_blocks(&self) -> Vec<usize> {
        let known = self.known();
        let serving = known.watchdog.serving();
        let may_be_asked = |n: &usize| {
            let (state, ..) = known.watchdog.stands(*n);
            *n != serving && state != EndpointState::Unreachable && state.rank().is_some()
        };
        let others = (0..self.readers.len()).filter(may_be_asked);
        std::iter::once(serving).chain(others).collect()
    }

    /// Counts a read.
    fn counted<T>(&self, answer: Result<T, ChainError>) -> Result<T, ChainError> {
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(ChainError::Transient(_)) => "failed",
            Err(_) => "refused",
        };
        self.reads.ended(self.network.as_str(), outcome);
        answer
    }

    /// Counts a read through the serving endpoint, and notes what became of it.
    fn noted<T>(&self, answer: Result<T, ChainError>) -> Result<T, ChainError> {
        let answer = self.counted(answer);
        // What one node can not answer, as a pruned block, another one may.
        if let Err(error) = &answer {
            let (ChainError::Transient(text)
            | ChainError::Invalid(text)
            | ChainError::TooLarge(text)
            | ChainError::Unsupported(text)) = error;
            self.known().trouble.get_or_insert_with(|| Turn::Failed(text.clone()));
        }
        answer
    }

    /// Notes that a block was not given that the serving endpoint had stated to have.
    fn noted_block<T>(
        &self,
        height: u64,
        answer: Result<Option<T>, ChainError>,
    ) -> Result<Option<T>, ChainError> {
        let mut known = self.known();
        if matches!(answer, Ok(None)) && known.turn_height.is_some_and(|stated| height <= stated) {
            let error = format!("states block {height} and does not give it");
            known.trouble.get_or_insert(Turn::Lied(error));
        }
        drop(known);
        self.noted(answer)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing in here is left half changed by a panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault(error: ChainError) -> Fault {
    match error {
        ChainError::Transient(error) => Fault::Unreachable(error),
        other => Fault::Unfit(other.to_string()),
    }
}

#[async_trait]
impl ChainReader for Endpoints {
    fn network(&self) -> Network {
        self.network
    }

    /// Asks every endpoint: those that answer must be of one chain.
    async fn genesis(&self) -> Result<String, ChainError> {
        let answers = join_all(self.readers.iter().map(|one| one.reader.genesis())).await;
        let mut silent = None;
        for (n, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(genesis) => self.check_genesis(n, &genesis).map_err(|fault| {
                    let (Fault::Unfit(error) | Fault::Unreachable(error)) = fault;
                    ChainError::Invalid(format!("{} {error}", self.readers[n].name))
                })?,
                Err(ChainError::Transient(error)) => silent = silent.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        let unknown = || silent.unwrap_or_else(|| "no endpoint answers".to_owned());
        self.known().genesis.clone().ok_or_else(|| ChainError::Transient(unknown()))
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let head = self.next_turn().await?.reader.head().await;
        if let Ok(head) = &head {
            self.known().turn_height = Some(head.tip.height);
        }
        self.noted(head)
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        self.noted(self.serving().reader.header_at(height).await)
    }

    async fn block_at(&self, height: u64, watch: Watch<'_>) -> Result<Option<Block>, ChainError> {
        self.noted_block(height, self.serving().reader.block_at(height, watch).await)
    }

    /// Fails as one that may have the block yet, where there is one.
    async fn old_block_at(
        &self,
        height: u64,
        watch: Watch<'_>,
    ) -> Result<Option<Block>, ChainError> {
        let mut failed = None;
        for n in self.asked_for_old_blocks() {
            match self.counted(self.readers[n].reader.block_at(height, watch).await) {
                Ok(None) => {}
                Ok(block) => return Ok(block),
                Err(error @ ChainError::Transient(_)) => failed = Some(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        self.noted(self.serving().reader.mempool(watch).await)
    }

    /// The serving endpoint may be one that stands still or lacks blocks, if there is no better one, and one
    /// that answers again and was not looked at since: it has what it had when it went away.
    fn is_current(&self) -> bool {
        self.known().watchdog.keeps_up()
    }

    fn settles_after(&self) -> Option<Duration> {
        self.known().watchdog.limits().quiet_beside_others_max
    }

    async fn waiting_since(&self, txids: &[String]) -> Result<Vec<Option<Micros>>, ChainError> {
        self.noted(self.serving().reader.waiting_since(txids).await)
    }

    fn note_contradiction(&self, error: &str) {
        self.known().trouble.get_or_insert_with(|| Turn::Failed(error.to_owned()));
    }

    /// Beside the turns of whoever reads blocks: it changes nothing about who serves, and asks nobody who
    /// is not believed.
    async fn balances(&self, at: &BlockRef, keys: &[Vec<u8>]) -> Result<Vec<u128>, ChainError> {
        let serving = self.serving();
        {
            let known = self.known();
            let (state, _, error, _) = known.watchdog.stands(known.watchdog.serving());
            if state.rank().is_none() {
                let text = format!("{} is not asked for balances: {error}", serving.name);
                return Err(ChainError::Transient(text));
            }
        }
        serving.reader.balances(at, keys).await
    }

    /// Looks once more first: what is known of the others may be older than the fork.
    async fn confirm_fork(&self, root: u64, depth: u64) -> Result<(), ChainError> {
        if self.readers.len() > 1 {
            self.look().await;
        }
        let confirmed = self.known().watchdog.confirms_fork(root, depth, self.env.system_now());
        confirmed.map_err(ChainError::Transient)
    }
}
