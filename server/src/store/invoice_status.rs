//! The one place that writes an invoice's status, called with what `domain::invoice::evaluate`
//! decided and nothing else. A test finds no other writer.

use sea_orm::Value;

use super::invoices::Invoice;
use super::row_set::{self, Column, Kind};
use super::{Result, StoreError, UnitOfWork, execute};
use crate::domain::event::EventKind;
use crate::domain::invoice::Evaluation;
use crate::domain::time::Micros;

const COLUMNS: [Column; 7] = [
    ("evaluated_id", Kind::Id),
    ("read_version", Kind::Number),
    ("new_status", Kind::Text),
    ("new_exception", Kind::Text),
    ("told", Kind::Number),
    ("detected_at", Kind::OptionalNumber),
    ("confirmed_at", Kind::OptionalNumber),
];

/// Writes evaluations down. Invoices that changed since they were read are a conflict.
pub async fn write(
    unit: &UnitOfWork,
    evaluated: &[(&Invoice, &Evaluation)],
    at: Micros,
) -> Result<()> {
    let mut unwritten = evaluated.len() as u64;
    let rows = evaluated.iter().map(|(invoice, evaluation)| row(invoice, evaluation, at)).collect();
    for source in row_set::sources(unit.backend(), &COLUMNS, &[], rows) {
        let sql = format!(
            "WITH v (evaluated_id, read_version, new_status, new_exception, told, detected_at,
                confirmed_at) AS ({})
             UPDATE invoice SET status = v.new_status, exception = v.new_exception,
                version = version + 1, event_count = event_count + v.told,
                detected_event_at = COALESCE(v.detected_at, detected_event_at),
                confirmed_event_at = COALESCE(v.confirmed_at, confirmed_event_at)
             FROM v WHERE id = v.evaluated_id AND version = v.read_version",
            source.sql
        );
        unwritten -= execute(unit.db(), &sql, source.values).await?;
    }
    if unwritten == 0 { Ok(()) } else { Err(StoreError::Conflict("invoice moved".to_owned())) }
}

/// The values of [`COLUMNS`].
fn row(invoice: &Invoice, evaluation: &Evaluation, at: Micros) -> Vec<Value> {
    let told_at = |kind| if evaluation.events.contains(&kind) { at.0 } else { 0 };
    vec![
        invoice.id.into(),
        invoice.version.into(),
        evaluation.status.as_str().into(),
        evaluation.exception.as_str().into(),
        i64::try_from(evaluation.events.len()).unwrap_or(i64::MAX).into(),
        told_at(EventKind::PaymentDetected).into(),
        told_at(EventKind::PaymentConfirmed).into(),
    ]
}
