//! Attempts that ended, written down in groups: while one group is written the next one gathers by
//! itself. Not here: what an attempt is (`deliver`), its SQL.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{anyhow, bail};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::failpoint;
use crate::store::Db;
use crate::store::deliveries::{self, FinishedAttempt};

/// Attempts written by one unit of work.
const GROUP_ATTEMPTS_MAX: usize = 128;

/// Where attempts are written down.
pub struct Attempts {
    db: Db,
    /// Bounded by the deliveries that are under way.
    ended: Mutex<VecDeque<Ended>>,
    writing: tokio::sync::Mutex<()>,
}

struct Ended {
    attempt: FinishedAttempt,
    written: oneshot::Sender<Result<(), String>>,
}

impl Attempts {
    /// In that database.
    pub fn new(db: Db) -> Self {
        Self { db, ended: Mutex::default(), writing: tokio::sync::Mutex::default() }
    }

    /// Writes an attempt down; returns once that is durable. Whose turn it is writes what others
    /// brought meanwhile too.
    pub async fn write(&self, attempt: FinishedAttempt) -> anyhow::Result<()> {
        let (written, mut outcome) = oneshot::channel();
        self.lock().push_back(Ended { attempt, written });
        let _turn = self.writing.lock().await;
        loop {
            match outcome.try_recv() {
                Ok(result) => return result.map_err(|error| anyhow!(error)),
                Err(TryRecvError::Closed) => bail!("who wrote the attempt down gave up"),
                Err(TryRecvError::Empty) => self.write_group().await,
            }
        }
    }

    async fn write_group(&self) {
        let (attempts, replies): (Vec<_>, Vec<_>) = {
            let mut ended = self.lock();
            let count = ended.len().min(GROUP_ATTEMPTS_MAX);
            ended.drain(..count).map(|ended| (ended.attempt, ended.written)).unzip()
        };
        failpoint::hit("deliver", "before_mark");
        let result = deliveries::finish(&self.db, &attempts).await;
        failpoint::hit("deliver", "after_mark");
        let result = result.map_err(|error| error.to_string());
        for reply in replies {
            // Who no longer waits was stopped: the attempt is on record all the same.
            let _ = reply.send(result.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
