//! The operator's LedgerService: the audit of the books as a stream.

use std::pin::Pin;
use std::sync::Arc;

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::audit_ledger_response::Step as Told;
use cryptopayment_proto::admin::v1::ledger_service_server::LedgerService;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::domain::books::{Check, Finding, Totals};
use crate::domain::failure::{Class, Failure, Reason};
use crate::store::Db;
use crate::transport::status::status;
use crate::usecase::audit_ledger::{self, Step, Summary};

/// Audits under way at once: each reads every row of the ledger.
const AUDITS_MAX: usize = 1;
/// Messages that wait for the caller.
const MESSAGES_MAX: usize = 16;

/// The service with what it needs.
#[derive(Clone)]
pub struct AdminLedgerApi {
    db: Db,
    stop: CancellationToken,
    running: Arc<Semaphore>,
}

impl AdminLedgerApi {
    /// The service over a database; `stop` ends an audit that is under way.
    pub fn new(db: Db, stop: CancellationToken) -> Self {
        Self { db, stop, running: Arc::new(Semaphore::new(AUDITS_MAX)) }
    }
}

type AuditStream = Pin<Box<dyn Stream<Item = Result<v1::AuditLedgerResponse, Status>> + Send>>;

#[tonic::async_trait]
impl LedgerService for AdminLedgerApi {
    type AuditLedgerStream = AuditStream;

    async fn audit_ledger(
        &self,
        _request: Request<v1::AuditLedgerRequest>,
    ) -> Result<Response<AuditStream>, Status> {
        let permit = Arc::clone(&self.running).try_acquire_owned().map_err(|_| {
            let text = "an audit is under way already";
            status(Failure::new(Class::Unavailable, Reason::ServerUnavailable, text))
        })?;
        let (steps, told) = mpsc::channel(MESSAGES_MAX);
        let (failed, failure) = mpsc::channel(1);
        let (db, stop) = (self.db.clone(), self.stop.clone());
        tokio::spawn(async move {
            let result = tokio::select! {
                result = audit_ledger::run(&db, steps) => result.map_err(status),
                () = stop.cancelled() => Err(Status::unavailable("the server is shutting down")),
            };
            if let Err(status) = result {
                // The caller may be gone.
                let _ = failed.send(status).await;
            }
            drop(permit);
        });
        let told = ReceiverStream::new(told).map(|step| Ok(message(step)));
        let stream = told.chain(ReceiverStream::new(failure).map(Err));
        Ok(Response::new(Box::pin(stream)))
    }
}

fn message(step: Step) -> v1::AuditLedgerResponse {
    let told = match step {
        Step::Progress { check: of, done, total } => {
            Told::Progress(v1::AuditProgress { check: check(of).into(), done, total })
        }
        Step::Finding(Finding { check: of, subject, description }) => {
            Told::Finding(v1::AuditFinding { check: check(of).into(), subject, description })
        }
        Step::Summary(summary) => Told::Summary(shown(summary)),
    };
    v1::AuditLedgerResponse { step: Some(told) }
}

fn shown(summary: Summary) -> v1::AuditSummary {
    let totals = |(coin, totals): (String, Totals)| v1::AssetTotals {
        coin,
        custody_units: totals.custody.to_string(),
        receivable_units: totals.receivable.to_string(),
        available_units: totals.available.to_string(),
        suspense_units: totals.suspense.to_string(),
    };
    v1::AuditSummary {
        transfers: summary.transfers,
        postings: summary.postings,
        accounts: summary.accounts,
        deposits: summary.deposits,
        operator_lines: summary.operator_lines,
        findings: summary.findings,
        totals: summary.totals.into_iter().map(totals).collect(),
    }
}

const fn check(check: Check) -> v1::AuditCheck {
    match check {
        Check::Transfers => v1::AuditCheck::Transfers,
        Check::Balances => v1::AuditCheck::Balances,
        Check::Snapshots => v1::AuditCheck::Snapshots,
        Check::Deposits => v1::AuditCheck::Deposits,
        Check::Pending => v1::AuditCheck::Pending,
        Check::Totals => v1::AuditCheck::Totals,
        Check::OperatorLog => v1::AuditCheck::OperatorLog,
    }
}
