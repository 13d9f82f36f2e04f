//! Group commit: requests that arrive while a commit runs form the next group by themselves, without
//! a timer. Each request has its own result, after the commit that holds it; one that can not be
//! written is split off and spoils nothing for its neighbours. Not here: what an invoice says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::claims::Claims;
use super::{CreateInvoice, Prepared};
use crate::domain::failure::{Class, Failure, Reason};
use crate::domain::time::Micros;
use crate::store::invoices::{self, InvoiceView};
use crate::store::{StoreError, UnitOfWork, addresses};
use crate::usecase::CONFLICT_RETRIES_MAX;

/// Requests written by one unit of work.
const GROUP_REQUESTS_MAX: usize = 256;
/// Requests that wait for a unit of work; more are turned away.
const WAITING_REQUESTS_MAX: usize = 16_384;
/// Groups under way at once on PostgreSQL: while one waits for the disk the next one is written.
const POSTGRES_GROUPS_MAX: usize = 2;

/// Requests on their way into the database.
pub struct Groups {
    queue: Mutex<Queue>,
    /// Groups under way at once.
    groups_max: usize,
    /// Groups committed since the start.
    committed: AtomicU64,
    /// Where groups run: they end by themselves, also when their callers went away, and the end of
    /// the process waits for them.
    tasks: TaskTracker,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Tasks that write groups until nothing waits.
    committers: usize,
}

struct Waiting {
    prepared: Prepared,
    reply: oneshot::Sender<Outcome>,
}

/// What became of one request.
pub(super) enum Outcome {
    /// Its invoice, created now or by a twin of this request.
    Done(Box<InvoiceView>),
    /// Its address went to another process; nothing was written.
    Lost,
    /// It failed; nothing was written.
    Failed(Failure),
}

/// Why a group was not written. Nothing of it was, unless that is unknown.
enum GroupError {
    /// Some addresses are not this process's any more; the others may be written without them.
    AddressesLost,
    /// Another transaction was in the way.
    Conflict(Failure),
    /// A row of the group was refused: the others may pass without it.
    Refused(Failure),
    /// Nothing can be written.
    Failed(Failure),
    /// The commit was not answered: it may have gone through, and is not tried again.
    Unknown(Failure),
}

impl From<StoreError> for GroupError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) => Self::Conflict(error.into()),
            StoreError::Unavailable(_) => Self::Failed(error.into()),
            StoreError::Corrupt(_) | StoreError::Database(_) => Self::Refused(error.into()),
        }
    }
}

impl Groups {
    /// No request yet. `is_sqlite`: the database has one writer, so one group is under way at a time.
    pub fn new(is_sqlite: bool, tasks: TaskTracker) -> Self {
        let groups_max = if is_sqlite { 1 } else { POSTGRES_GROUPS_MAX };
        Self { queue: Mutex::default(), groups_max, committed: AtomicU64::new(0), tasks }
    }

    /// Groups committed since the start.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a committer off however it ends.
struct Committer<'a> {
    groups: &'a Groups,
    is_counted: bool,
}

impl Committer<'_> {
    /// What waits, up to a group. Counts the committer off when that is nothing, under the same lock
    /// under which requests begin to wait.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = self.groups.lock();
        if queue.waiting.is_empty() {
            queue.committers -= 1;
            self.is_counted = false;
            return None;
        }
        let count = queue.waiting.len().min(GROUP_REQUESTS_MAX);
        Some(queue.waiting.drain(..count).collect())
    }
}

impl Drop for Committer<'_> {
    fn drop(&mut self) {
        if self.is_counted {
            // It panicked. Whoever would wait for nobody hears so at once.
            let mut queue = self.groups.lock();
            queue.committers -= 1;
            if queue.committers == 0 {
                queue.waiting.clear();
            }
        }
    }
}

impl CreateInvoice {
    /// Has a request written with the next group. From here on its address belongs to the group.
    pub(super) async fn submit(self: &Arc<Self>, prepared: Prepared) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let begins = {
            let mut queue = self.groups.lock();
            if queue.waiting.len() >= WAITING_REQUESTS_MAX {
                drop(queue);
                self.leases.give_back(prepared.address);
                return Outcome::Failed(unavailable("too many invoices are being created"));
            }
            queue.waiting.push_back(Waiting { prepared, reply });
            let begins = queue.committers < self.groups.groups_max;
            queue.committers += usize::from(begins);
            begins
        };
        if begins {
            self.groups.tasks.spawn(Arc::clone(self).write_groups());
        }
        let gone = || Outcome::Failed(unavailable("the invoice could not be written"));
        outcome.await.unwrap_or_else(|_| gone())
    }

    /// Writes groups until nothing waits.
    async fn write_groups(self: Arc<Self>) {
        let mut committer = Committer { groups: &self.groups, is_counted: true };
        while let Some(waiting) = committer.next() {
            let (mut group, gone): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|request| !request.reply.is_closed());
            // Whoever went away before its group was formed has no invoice.
            for request in gone {
                self.leases.give_back(request.prepared.address);
            }
            // Stable: of two twins the one that came first creates.
            group.sort_by_key(|request| request.prepared.caller.merchant_id);
            self.write_group(group).await;
        }
    }

    /// Writes a group and answers each of its requests, in parts if it must be.
    async fn write_group(&self, group: Vec<Waiting>) {
        let mut parts = vec![(group, 0)];
        while let Some((mut part, attempts)) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.commit(&part).await {
                Ok(outcomes) => self.answer(part, outcomes),
                Err(GroupError::AddressesLost) if attempts < CONFLICT_RETRIES_MAX => {
                    match self.without_lost(part).await {
                        Ok(rest) => parts.push((rest, attempts + 1)),
                        Err((part, failure)) => self.answer_all(part, &failure),
                    }
                }
                Err(GroupError::Conflict(_)) if attempts < CONFLICT_RETRIES_MAX => {
                    parts.push((part, attempts + 1));
                }
                Err(GroupError::Refused(_)) if part.len() > 1 => {
                    let other = part.split_off(part.len() / 2);
                    parts.extend([(part, attempts), (other, attempts)]);
                }
                Err(GroupError::AddressesLost) => answer_lost(part),
                Err(GroupError::Unknown(failure)) => answer_unknown(part, &failure),
                Err(
                    GroupError::Conflict(failure)
                    | GroupError::Refused(failure)
                    | GroupError::Failed(failure),
                ) => self.answer_all(part, &failure),
            }
        }
    }

    /// Answers those of a part whose addresses went to another process, and returns the others.
    async fn without_lost(
        &self,
        part: Vec<Waiting>,
    ) -> Result<Vec<Waiting>, (Vec<Waiting>, Failure)> {
        let address = |request: &Waiting| request.prepared.address.leased.id;
        let ids: Vec<Uuid> = part.iter().map(address).collect();
        match self.leases.still_leased(&ids).await {
            Ok(leased) => {
                let is_ours = |request: &Waiting| leased.contains(&address(request));
                let (rest, lost) = part.into_iter().partition(is_ours);
                answer_lost(lost);
                Ok(rest)
            }
            Err(error) => Err((part, error.into())),
        }
    }

    /// Tells each request of a part the same failure.
    fn answer_all(&self, part: Vec<Waiting>, failure: &Failure) {
        let outcomes = part.iter().map(|_| Err(failure.clone())).collect();
        self.answer(part, outcomes);
    }

    /// Tells each request what became of it; the addresses that were not used go back.
    fn answer(&self, part: Vec<Waiting>, outcomes: Vec<Result<InvoiceView, Failure>>) {
        for (request, outcome) in part.into_iter().zip(outcomes) {
            let address = request.prepared.address;
            let used =
                outcome.as_ref().is_ok_and(|view| view.invoice.address_id == address.leased.id);
            if !used {
                self.leases.give_back(address);
            }
            // Nobody may listen any more; the invoice stands all the same.
            let _ = request.reply.send(match outcome {
                Ok(view) => Outcome::Done(Box::new(view)),
                Err(failure) => Outcome::Failed(failure),
            });
        }
    }

    async fn commit(
        &self,
        part: &[Waiting],
    ) -> Result<Vec<Result<InvoiceView, Failure>>, GroupError> {
        let group: Vec<&Prepared> = part.iter().map(|request| &request.prepared).collect();
        let unit = self.db.begin("create_invoice").await?;
        let applied = self.apply(&unit, &group).await?;
        if applied.any_created {
            unit.commit().await.map_err(|error| match error {
                StoreError::Conflict(_) => GroupError::Conflict(error.into()),
                _ => GroupError::Unknown(error.into()),
            })?;
            self.groups.committed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(applied.outcomes)
    }

    /// Writes a group of invoices: a statement each for the keys, the addresses and the invoices.
    async fn apply(
        &self,
        unit: &UnitOfWork,
        group: &[&Prepared],
    ) -> Result<AppliedGroup, GroupError> {
        let claims = Claims::new(unit, group, &self.env).await?;
        let mut used = Vec::with_capacity(group.len());
        let mut created = Vec::with_capacity(group.len());
        for (n, prepared) in group.iter().enumerate() {
            let Some(id) = claims.creates(n) else { continue };
            used.push((prepared.address.leased.id, prepared.caller.merchant_id));
            created.push(self.invoice(id, prepared).map_err(GroupError::Refused)?);
        }
        if !addresses::mark_used(unit, self.leases.holder(), &used).await? {
            return Err(GroupError::AddressesLost);
        }
        invoices::insert(unit, &created).await?;
        let any_created = !created.is_empty();
        let mut views = claims.earlier(unit).await?;
        views.extend(created.into_iter().map(|invoice| {
            let id = invoice.id;
            (id, InvoiceView { invoice, deposits: Vec::new(), head: 0, watermark: Micros(0) })
        }));
        let outcomes = (0..group.len()).map(|n| claims.answer(n, &views)).collect();
        Ok(AppliedGroup { any_created, outcomes })
    }
}

/// What a group came to, before its commit.
struct AppliedGroup {
    any_created: bool,
    /// One for each request.
    outcomes: Vec<Result<InvoiceView, Failure>>,
}

fn answer_lost(requests: Vec<Waiting>) {
    for request in requests {
        let _ = request.reply.send(Outcome::Lost);
    }
}

/// Their addresses may be handed out: none goes back. Those that are not come back when their lease ends.
fn answer_unknown(requests: Vec<Waiting>, failure: &Failure) {
    for request in requests {
        let _ = request.reply.send(Outcome::Failed(failure.clone()));
    }
}

fn unavailable(message: &str) -> Failure {
    Failure::new(Class::Unavailable, Reason::ServerUnavailable, format!("{message}, try again"))
}
