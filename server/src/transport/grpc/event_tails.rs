//! The ends of the event logs that somebody streams, read once for everybody who does: one task asks
//! which logs grew, reads what is new and wakes their streams. A stream that is further behind than
//! what is kept here reads the database by itself. Not here: the streams (`events`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::env::Env;
use crate::signals::Signals;
use crate::store::events::{self, Event};
use crate::store::{Db, Result};

/// Events of one log kept for its streams.
const KEPT_EVENTS_MAX: usize = 256;
/// Events read at a time.
const READ_EVENTS_MAX: u32 = 100;
/// How often the logs are looked at without a signal: another process may have written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every log that is streamed.
#[derive(Clone)]
pub struct EventTails {
    db: Db,
    logs: Arc<Mutex<HashMap<Uuid, Weak<Tail>>>>,
}

/// The end of one merchant's log.
pub struct Tail {
    /// The newest sequence that is kept or was passed.
    newest: watch::Sender<u64>,
    /// Events without a gap, up to `newest`.
    kept: Mutex<VecDeque<Arc<Event>>>,
}

/// One stream's view of a log's end.
pub struct TailReader {
    tail: Arc<Tail>,
    newest: watch::Receiver<u64>,
}

impl EventTails {
    /// Starts the task that reads them.
    pub fn start(
        db: &Db,
        env: &Env,
        signals: &Signals,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let tails = Self { db: db.clone(), logs: Arc::default() };
        let (reading, env, stop) = (tails.clone(), env.clone(), stop.clone());
        let mut events = signals.events();
        tasks.spawn(async move {
            while !stop.is_cancelled() {
                events.mark_unchanged();
                if let Err(error) = reading.look().await {
                    tracing::warn!(%error, "event logs could not be read for their streams");
                }
                tokio::select! {
                    _ = events.changed() => {}
                    () = env.sleep(LOOK_EVERY) => {}
                    () = stop.cancelled() => {}
                }
            }
        });
        tails
    }

    /// The end of a merchant's log, which was at `newest` when this is called or later.
    pub fn reader(&self, merchant_id: Uuid, newest: u64) -> TailReader {
        let mut logs = lock(&self.logs);
        let tail = logs.get(&merchant_id).and_then(Weak::upgrade).unwrap_or_else(|| {
            let tail =
                Arc::new(Tail { newest: watch::Sender::new(newest), kept: Mutex::default() });
            logs.insert(merchant_id, Arc::downgrade(&tail));
            tail
        });
        let newest = tail.newest.subscribe();
        TailReader { tail, newest }
    }

    /// Reads what is new in every log that is streamed, and forgets the others.
    async fn look(&self) -> Result<()> {
        let tails: HashMap<Uuid, Arc<Tail>> = {
            let mut logs = lock(&self.logs);
            logs.retain(|_, tail| tail.strong_count() > 0);
            logs.iter().filter_map(|(id, tail)| Some((*id, tail.upgrade()?))).collect()
        };
        let merchants: Vec<Uuid> = tails.keys().copied().collect();
        for (merchant_id, newest) in events::newest(&self.db, &merchants).await? {
            let Some(tail) = tails.get(&merchant_id) else { continue };
            while *tail.newest.borrow() < newest {
                let after = *tail.newest.borrow();
                let read = events::list(&self.db, merchant_id, after, READ_EVENTS_MAX).await?;
                if read.is_empty() {
                    break;
                }
                tail.push(read);
            }
        }
        Ok(())
    }
}

impl Tail {
    fn push(&self, read: Vec<Event>) {
        let Some(newest) = read.last().map(|event| event.seq) else { return };
        let mut kept = lock(&self.kept);
        kept.extend(read.into_iter().map(Arc::new));
        let surplus = kept.len().saturating_sub(KEPT_EVENTS_MAX);
        kept.drain(..surplus);
        drop(kept);
        self.newest.send_replace(newest);
    }
}

impl TailReader {
    /// The events after a sequence, as far as they are here. `None` when the next one has to be read
    /// from the database.
    pub fn after(&mut self, after: u64) -> Option<Vec<Arc<Event>>> {
        let newest = *self.newest.borrow_and_update();
        if after >= newest {
            return Some(Vec::new());
        }
        let kept = lock(&self.tail.kept);
        let first = kept.front()?.seq;
        let skipped = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        Some(kept.iter().skip(skipped).cloned().collect())
    }

    /// Returns when the log grew since [`TailReader::after`] was called.
    pub async fn grown(&mut self) {
        // The sender lives as long as this reader.
        let _ = self.newest.changed().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
