//! The library's loan that can be watched: tests change it, let its watches end, fail or panic, and
//! count how many are open.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::Stream;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::contract::library_v1::{Loan, WatchLoanResponse};

pub type LoanStream = Pin<Box<dyn Stream<Item = Result<WatchLoanResponse, Status>> + Send>>;

/// What a watch does after it has told where the loan stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Then {
    /// Waits for the next change.
    #[default]
    Goes,
    /// Ends without an error.
    Ends,
    /// Ends with this code.
    Fails(Code),
    Panics,
    /// Never tells anything.
    Silent,
}

#[derive(Debug, Clone, Default)]
struct State {
    reader: String,
    extensions: u32,
    then: Then,
}

#[derive(Debug, Clone)]
pub struct Loans {
    state: Arc<watch::Sender<State>>,
    open: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

impl Default for Loans {
    fn default() -> Self {
        let state = State { reader: "Ada".to_owned(), ..State::default() };
        Self {
            state: Arc::new(watch::Sender::new(state)),
            open: Arc::default(),
            opened: Arc::default(),
        }
    }
}

/// Counts an open watch for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Loans {
    pub fn lend_to(&self, reader: &str) {
        self.state.send_modify(|state| state.reader = reader.to_owned());
    }

    pub fn extend(&self) {
        self.state.send_modify(|state| state.extensions += 1);
    }

    pub fn then(&self, then: Then) {
        self.state.send_modify(|state| state.then = then);
    }

    /// Watches open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Watches opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    pub fn now(&self, id: &str) -> Result<Loan, Status> {
        if id == "none" {
            return Err(Status::not_found("no such loan"));
        }
        let State { reader, extensions, .. } = self.state.borrow().clone();
        Ok(Loan { id: id.to_owned(), reader, extensions })
    }

    pub fn watch(&self, id: &str) -> Result<LoanStream, Status> {
        self.now(id)?;
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&self.open));
        let state = (self.clone(), id.to_owned(), self.state.subscribe(), open, 0_u32);
        Ok(Box::pin(futures_util::stream::unfold(state, |state| async move {
            let (loans, id, mut changes, open, told) = state;
            loop {
                let then = changes.borrow_and_update().then;
                match then {
                    Then::Silent => {}
                    _ if told == 0 => break,
                    Then::Goes => {}
                    Then::Ends => return None,
                    Then::Fails(code) => {
                        let failed = Err(Status::new(code, "as told"));
                        return Some((failed, (loans, id, changes, open, told)));
                    }
                    Then::Panics => panic!("as told"),
                }
                changes.changed().await.ok()?;
                if loans.state.borrow().then == Then::Goes {
                    break;
                }
            }
            let message = WatchLoanResponse { loan: loans.now(&id).ok() };
            Some((Ok(message), (loans, id, changes, open, told + 1)))
        })))
    }
}
