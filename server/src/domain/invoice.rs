//! What an invoice is and what its status must be: one pure function, [`evaluate`], decides status,
//! events, credits and reversals from the terms, the deposits and the moment. Not here: reading or
//! writing any of it (`store`, `usecase::apply_deposits`).

use std::time::Duration;

use uuid::Uuid;

use super::deposit::{Deposit, DepositState};
use super::event::EventKind;
use super::policy::Finality;
use super::time::Micros;

/// Where an invoice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Waiting for payment.
    Pending,
    /// Full amount seen in time, waiting for confirmations.
    Confirming,
    /// Full amount in time and deep enough.
    Confirmed,
    /// Closed without.
    Expired,
}

/// What was not exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    /// Nothing.
    None,
    /// Something was seen, but less than asked.
    Underpaid,
    /// More than asked.
    Overpaid,
    /// Full only after expiry.
    Late,
    /// A counted payment went away.
    Reorged,
    /// Canceled by the merchant.
    Canceled,
}

/// What was agreed when the invoice was created; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Base units asked.
    pub amount_units: u128,
    /// Base units that may be missing from a full payment.
    pub shortfall_units: u128,
    /// Until when a payment is in time.
    pub expires_at: Micros,
    /// How deep a payment must be.
    pub confirmations_required: u32,
    /// Whether the chain itself must call its block final, besides that depth.
    pub requires_finality: bool,
    /// How long after first sight a payment may take to be included and still be in time.
    pub inclusion_window: Duration,
    /// Whether payments after expiry count as in time.
    pub honors_late: bool,
}

/// What earlier evaluations decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The status.
    pub status: Status,
    /// The exception.
    pub exception: Exception,
    /// Whether `payment.detected` was written.
    pub detected_told: bool,
    /// Whether `payment.confirmed` was written.
    pub confirmed_told: bool,
    /// Whether the merchant canceled it.
    pub canceled: bool,
}

/// When and on which chain an evaluation happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Business time.
    pub now: Micros,
    /// The business time up to which the network was read completely.
    pub watermark: Micros,
    /// Height of the newest scanned block.
    pub head: u64,
    /// Height up to which the chain calls its blocks final.
    pub finalized: Option<u64>,
}

impl Moment {
    /// The business time up to which it is known what was included.
    pub fn known(&self) -> Micros {
        self.now.min(self.watermark)
    }
}

/// What the deposits add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Everything seen and not replaced or reorganised away, base units.
    pub paid_units: u128,
    /// The transaction that completes the amount, or the latest seen.
    pub txid: Option<String>,
    /// The documented `confirmations.received`.
    pub received: u32,
}

/// What an evaluation decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The status from now on.
    pub status: Status,
    /// The exception from now on.
    pub exception: Exception,
    /// What to tell, in this order.
    pub events: Vec<EventKind>,
    /// Deposits to credit.
    pub credit: Vec<Uuid>,
    /// Deposits whose credit is taken back.
    pub reverse: Vec<Uuid>,
    /// Deposits that are on their way and not in the balance yet.
    pub pending: Vec<Uuid>,
    /// What the deposits add up to.
    pub summary: Summary,
}

/// Decides everything about an invoice that can change. `deposits` are all of its deposits, in any
/// order; `asked` is what makes them safe, no less than the terms ask for. Deciding twice from the same
/// facts decides the same and tells nothing new.
pub fn evaluate(
    terms: &Terms,
    asked: Finality,
    standing: Standing,
    moment: Moment,
    deposits: &[Deposit],
) -> Evaluation {
    let sum = |keep: &dyn Fn(&Deposit) -> bool| -> u128 {
        deposits.iter().filter(|d| keep(d)).fold(0, |total, d| total.saturating_add(d.units))
    };
    let seen_on_time = sum(&|d| is_on_time(terms, moment, d));
    let deep_on_time = sum(&|d| is_on_time(terms, moment, d) && is_deep(asked, moment, d));
    let seen_ever = sum(&|d| is_alive(terms, moment, d));

    let status = if standing.canceled {
        Status::Expired
    } else if terms.is_full(deep_on_time) {
        Status::Confirmed
    } else if terms.is_full(seen_on_time) {
        Status::Confirming
    } else if moment.known() > terms.expires_at {
        Status::Expired
    } else {
        Status::Pending
    };
    let exception = exception_of(terms, standing, status, seen_ever);
    let select = |keep: &dyn Fn(&Deposit) -> bool| -> Vec<Uuid> {
        deposits.iter().filter(|d| keep(d)).map(|d| d.id).collect()
    };
    let reverse = select(&|d| d.credited && d.state != DepositState::Included);
    let mut events = events_of(terms, standing, status, exception, seen_on_time);
    // Money of a late payment, or a surplus, that leaves the balance again changes no status.
    if !reverse.is_empty() && !events.contains(&EventKind::Reorged) {
        events.insert(0, EventKind::Reorged);
    }
    Evaluation {
        status,
        exception,
        events,
        credit: select(&|d| !d.credited && is_deep(asked, moment, d)),
        reverse,
        pending: select(&|d| is_alive(terms, moment, d) && !is_deep(asked, moment, d)),
        summary: summarize(terms, Standing { status, ..standing }, moment, deposits),
    }
}

/// What the deposits of an invoice that stands so add up to.
pub fn summarize(
    terms: &Terms,
    standing: Standing,
    moment: Moment,
    deposits: &[Deposit],
) -> Summary {
    let alive = |d: &&Deposit| is_alive(terms, moment, d);
    let mut counted: Vec<&Deposit> = deposits.iter().filter(alive).collect();
    counted.sort_by(|a, b| {
        (a.first_seen_at, &a.txid, &a.ordinal).cmp(&(b.first_seen_at, &b.txid, &b.ordinal))
    });
    let mut paid_units: u128 = 0;
    let mut completing = None;
    for deposit in &counted {
        paid_units = paid_units.saturating_add(deposit.units);
        if completing.is_none() && terms.is_full(paid_units) {
            completing = Some(deposit.txid.clone());
        }
    }
    let txid = completing.or_else(|| counted.last().map(|d| d.txid.clone()));
    Summary { paid_units, txid, received: received(terms, standing, moment, &counted) }
}

/// The largest n, at most `required`, for which on-time payments with at least n confirmations reach
/// the amount. `required` itself is shown only once the invoice is confirmed: depth is not all that
/// a confirmation asks for, and it is read a moment before it is evaluated. One that was canceled is never
/// confirmed: there it is shown once payments are deep enough to be credited.
fn received(terms: &Terms, standing: Standing, moment: Moment, counted: &[&Deposit]) -> u32 {
    let required = terms.confirmations_required;
    let is_enough = |d: &Deposit| {
        standing.status == Status::Confirmed
            || (standing.canceled && is_deep(terms.finality(), moment, d))
    };
    let mut depths: Vec<(u64, u128)> = counted
        .iter()
        .filter(|d| is_on_time(terms, moment, d))
        .map(|d| {
            let most = if is_enough(d) { required } else { required.saturating_sub(1) };
            (d.confirmations(moment.head).min(most.into()), d.units)
        })
        .collect();
    depths.sort_by_key(|&(depth, _)| std::cmp::Reverse(depth));
    let mut total: u128 = 0;
    for (depth, units) in depths {
        total = total.saturating_add(units);
        if terms.is_full(total) {
            return u32::try_from(depth).unwrap_or(required);
        }
    }
    0
}

/// Whether a deposit counts as paid in time.
pub fn is_on_time(terms: &Terms, moment: Moment, deposit: &Deposit) -> bool {
    let seen_in_time = terms.honors_late || deposit.first_seen_at <= terms.expires_at;
    let window = terms.inclusion_window;
    deposit.counts() && seen_in_time && deposit.included_within(window, moment.known())
}

/// Whether a deposit is money that is here, or may still come: one that was not included in its time is
/// waited for no longer.
fn is_alive(terms: &Terms, moment: Moment, deposit: &Deposit) -> bool {
    match deposit.state {
        DepositState::Included => true,
        _ => deposit.counts() && deposit.included_within(terms.inclusion_window, moment.known()),
    }
}

/// Whether a deposit is deep enough to be credited. One that was credited and is still in a block
/// stays so: a fork that keeps a payment and only moves it takes nothing back.
fn is_deep(asked: Finality, moment: Moment, deposit: &Deposit) -> bool {
    let Some(height) = deposit.block_height.filter(|_| deposit.state == DepositState::Included)
    else {
        return false;
    };
    if deposit.credited {
        return true;
    }
    let final_enough = moment.finalized.is_some_and(|finalized| finalized >= height);
    deposit.confirmations(moment.head) >= u64::from(asked.confirmations)
        && (final_enough || !asked.requires_finality)
}

fn exception_of(terms: &Terms, standing: Standing, status: Status, seen_ever: u128) -> Exception {
    let went_away = matches!(standing.status, Status::Confirmed)
        || matches!(standing.exception, Exception::Reorged | Exception::Late)
        || (standing.detected_told && matches!(status, Status::Pending | Status::Expired));
    match status {
        Status::Expired if standing.canceled => Exception::Canceled,
        Status::Confirmed if seen_ever > terms.amount_units => Exception::Overpaid,
        Status::Confirmed => Exception::None,
        Status::Expired if terms.is_full(seen_ever) => Exception::Late,
        Status::Expired if seen_ever > 0 => Exception::Underpaid,
        _ if went_away => Exception::Reorged,
        Status::Pending if seen_ever > 0 => Exception::Underpaid,
        _ => Exception::None,
    }
}

fn events_of(
    terms: &Terms,
    standing: Standing,
    status: Status,
    exception: Exception,
    seen_on_time: u128,
) -> Vec<EventKind> {
    let mut events = Vec::new();
    let turned = |to: Exception| exception == to && standing.exception != to;
    let fell = match standing.status {
        Status::Confirmed => status != Status::Confirmed,
        Status::Confirming => matches!(status, Status::Pending | Status::Expired),
        Status::Pending | Status::Expired => false,
    };
    if fell || turned(Exception::Reorged) {
        events.push(EventKind::Reorged);
    }
    if status == Status::Pending && turned(Exception::Underpaid) {
        events.push(EventKind::PartiallyPaid);
    }
    if !standing.canceled && terms.is_full(seen_on_time) && !standing.detected_told {
        events.push(EventKind::PaymentDetected);
    }
    if status == Status::Confirmed && standing.status != Status::Confirmed {
        events.push(if standing.confirmed_told {
            EventKind::Reconfirmed
        } else {
            EventKind::PaymentConfirmed
        });
    }
    if turned(Exception::Canceled) {
        events.push(EventKind::Canceled);
    }
    let expires = status == Status::Expired && standing.status != Status::Expired;
    if expires && !standing.canceled {
        events.push(EventKind::Expired);
    }
    if turned(Exception::Late) {
        events.push(EventKind::LatePayment);
    }
    events
}

impl Terms {
    /// Whether `units` are a full payment.
    pub fn is_full(&self, units: u128) -> bool {
        units > 0 && units.saturating_add(self.shortfall_units) >= self.amount_units
    }

    /// What makes a payment of what was asked safe.
    pub const fn finality(&self) -> Finality {
        Finality {
            confirmations: self.confirmations_required,
            requires_finality: self.requires_finality,
        }
    }

    /// Base units that are still to be paid when `paid_units` were seen: none once that is full.
    pub fn missing_units(&self, paid_units: u128) -> u128 {
        if self.is_full(paid_units) { 0 } else { self.amount_units.saturating_sub(paid_units) }
    }
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Confirming, Self::Confirmed, Self::Expired];

    /// The documented name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Expired => "expired",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether only a deep reorganisation or a late payment can still change it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Expired)
    }
}

impl Exception {
    /// Every exception.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Underpaid, Self::Overpaid, Self::Late, Self::Reorged, Self::Canceled];

    /// The documented name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Underpaid => "underpaid",
            Self::Overpaid => "overpaid",
            Self::Late => "late",
            Self::Reorged => "reorged",
            Self::Canceled => "canceled",
        }
    }

    /// The exception of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|exception| exception.as_str() == name)
    }
}

#[cfg(test)]
#[path = "invoice_tests.rs"]
mod tests;
