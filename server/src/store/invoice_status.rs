//! The one place that writes an invoice's status, called with what `domain::invoice::evaluate`
//! decided and nothing else. A test finds no other writer.

use super::invoices::Invoice;
use super::{Result, UnitOfWork, execute};
use crate::domain::event::EventKind;
use crate::domain::invoice::Evaluation;
use crate::domain::time::Micros;

/// Writes an evaluation down. False when the invoice changed since it was read.
pub async fn write(
    unit: &UnitOfWork,
    invoice: &Invoice,
    evaluation: &Evaluation,
    at: Micros,
) -> Result<bool> {
    let told = |kind| evaluation.events.contains(&kind);
    let events = i64::try_from(evaluation.events.len()).unwrap_or(i64::MAX);
    let changed = execute(
        unit.db(),
        "UPDATE invoice SET status = $3, exception = $4, version = version + 1,
            event_count = event_count + $5,
            detected_event_at = CASE WHEN $6 THEN $8 ELSE detected_event_at END,
            confirmed_event_at = CASE WHEN $7 THEN $8 ELSE confirmed_event_at END
         WHERE id = $1 AND version = $2",
        vec![
            invoice.id.into(),
            invoice.version.into(),
            evaluation.status.as_str().into(),
            evaluation.exception.as_str().into(),
            events.into(),
            told(EventKind::PaymentDetected).into(),
            told(EventKind::PaymentConfirmed).into(),
            at.0.into(),
        ],
    )
    .await?;
    Ok(changed == 1)
}
