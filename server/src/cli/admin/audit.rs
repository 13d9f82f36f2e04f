//! `admin audit`: has the server recompute the books, with a bar while it reads, and prints what does
//! not add up. Not here: the audit (`domain::books`).

use std::process::ExitCode;

use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::audit_ledger_response::Step;
use cryptopayment_proto::admin::v1::ledger_service_client::LedgerServiceClient;
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::Channel;

use crate::cli::output::{Answer, Section, bar, note};

/// Exit code 1 when anything is off.
pub async fn run(channel: Channel, json: bool) -> Result<ExitCode, Status> {
    let mut client = LedgerServiceClient::new(channel);
    let mut steps = client.audit_ledger(v1::AuditLedgerRequest {}).await?.into_inner();
    let bar = bar();
    let mut findings = Vec::new();
    let mut summary = None;
    while let Some(message) = steps.message().await? {
        match message.step {
            Some(Step::Progress(progress)) => {
                bar.set_message(word(progress.check()));
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            }
            Some(Step::Finding(finding)) => findings.push(row(&finding)),
            Some(Step::Summary(told)) => summary = Some(told),
            None => {}
        }
    }
    bar.finish_and_clear();
    let summary = summary.ok_or_else(|| Status::data_loss("the audit did not come to its end"))?;
    let count = summary.findings;
    let answer = if json || count > 0 { whole(findings, &summary) } else { good(&summary) };
    answer.print(json).map_err(|error| Status::internal(error.to_string()))?;
    if count == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    note(format_args!("the books do not add up: {count} findings"));
    Ok(ExitCode::FAILURE)
}

fn whole(findings: Vec<Value>, summary: &v1::AuditSummary) -> Answer {
    let columns = &["check", "subject", "description"];
    let mut sections = vec![Section { title: "findings", columns, rows: findings }];
    sections.extend(good(summary).0);
    Answer(sections)
}

fn good(summary: &v1::AuditSummary) -> Answer {
    let read = json!({
        "transfers": summary.transfers,
        "postings": summary.postings,
        "accounts": summary.accounts,
        "deposits": summary.deposits,
        "operator_lines": summary.operator_lines,
        "findings": summary.findings,
    });
    let totals = summary.totals.iter().map(|totals| {
        json!({
            "coin": totals.coin,
            "custody_units": totals.custody_units,
            "receivable_units": totals.receivable_units,
            "available_units": totals.available_units,
            "suspense_units": totals.suspense_units,
        })
    });
    Answer(vec![
        Section {
            title: "read",
            columns: &[
                "transfers",
                "postings",
                "accounts",
                "deposits",
                "operator_lines",
                "findings",
            ],
            rows: vec![read],
        },
        Section {
            title: "totals",
            columns: &[
                "coin",
                "custody_units",
                "receivable_units",
                "available_units",
                "suspense_units",
            ],
            rows: totals.collect(),
        },
    ])
}

fn row(finding: &v1::AuditFinding) -> Value {
    json!({
        "check": word(finding.check()),
        "subject": finding.subject,
        "description": finding.description,
    })
}

fn word(check: v1::AuditCheck) -> String {
    check.as_str_name().trim_start_matches("AUDIT_CHECK_").to_lowercase().replace('_', " ")
}
