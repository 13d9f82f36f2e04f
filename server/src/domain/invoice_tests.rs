//! The status table of the REST contract, row by row, against [`evaluate`] alone.

use super::*;

const MINUTE: i64 = 60_000_000;
const EXPIRY: Micros = Micros(30 * MINUTE);

fn terms() -> Terms {
    Terms {
        amount_units: 100,
        shortfall_units: 0,
        expires_at: EXPIRY,
        confirmations_required: 3,
        requires_finality: false,
        inclusion_window: Duration::from_secs(24 * 3600),
        honors_late: false,
    }
}

fn fresh() -> Standing {
    Standing {
        status: Status::Pending,
        exception: Exception::None,
        detected_told: false,
        confirmed_told: false,
        canceled: false,
    }
}

fn at(minute: i64, head: u64) -> Moment {
    let now = Micros(minute * MINUTE);
    Moment { now, watermark: now, head, finalized: None }
}

fn deposit(n: u128, units: u128, seen_minute: i64, height: Option<u64>) -> Deposit {
    Deposit {
        id: Uuid::from_u128(n),
        txid: format!("{n:064x}"),
        ordinal: "o:0".to_owned(),
        units,
        block_height: height,
        included_at: height.map(|_| Micros(seen_minute * MINUTE)),
        first_seen_at: Micros(seen_minute * MINUTE),
        state: if height.is_some() { DepositState::Included } else { DepositState::Seen },
        version: 1,
        credited: false,
        credit_generation: 0,
        counted_pending: false,
    }
}

/// What the next evaluation finds after this one was written down.
fn follow(standing: Standing, evaluation: &Evaluation) -> Standing {
    Standing {
        status: evaluation.status,
        exception: evaluation.exception,
        detected_told: standing.detected_told
            || evaluation.events.contains(&EventKind::PaymentDetected),
        confirmed_told: standing.confirmed_told
            || evaluation.events.contains(&EventKind::PaymentConfirmed),
        ..standing
    }
}

/// Where no more arrives than was asked.
fn evaluate(terms: &Terms, standing: Standing, moment: Moment, deposits: &[Deposit]) -> Evaluation {
    super::evaluate(terms, terms.finality(), standing, moment, deposits)
}

fn outcome(evaluation: &Evaluation) -> (Status, Exception) {
    (evaluation.status, evaluation.exception)
}

#[test]
fn nothing_seen_waits_and_then_expires() {
    let waiting = evaluate(&terms(), fresh(), at(30, 10), &[]);
    assert_eq!(outcome(&waiting), (Status::Pending, Exception::None));
    let over = evaluate(&terms(), fresh(), at(31, 10), &[]);
    assert_eq!(outcome(&over), (Status::Expired, Exception::None));
    assert_eq!(over.events, [EventKind::Expired]);
}

#[test]
fn expiry_waits_for_the_watermark() {
    let moment = Moment { watermark: Micros(29 * MINUTE), ..at(31, 10) };
    assert_eq!(evaluate(&terms(), fresh(), moment, &[]).status, Status::Pending);
}

#[test]
fn a_payment_is_not_given_up_before_it_is_known_what_was_included() {
    let seen = [deposit(1, 100, 5, None)];
    let standing = follow(fresh(), &evaluate(&terms(), fresh(), at(5, 10), &seen));
    let day_over = at(5 + 24 * 60 + 1, 10);
    let unread = Moment { watermark: Micros(24 * 60 * MINUTE), ..day_over };
    let waits = evaluate(&terms(), standing, unread, &seen);
    assert_eq!(
        (outcome(&waits), waits.summary.paid_units),
        ((Status::Confirming, Exception::None), 100)
    );
    assert_eq!(waits.pending, [Uuid::from_u128(1)]);
    let over = evaluate(&terms(), standing, day_over, &seen);
    assert_eq!(
        (outcome(&over), over.summary.paid_units),
        ((Status::Expired, Exception::Reorged), 0)
    );
    assert!(over.pending.is_empty());
}

#[test]
fn full_amount_is_detected_then_confirmed_once() {
    let seen = evaluate(&terms(), fresh(), at(5, 10), &[deposit(1, 100, 5, None)]);
    assert_eq!(outcome(&seen), (Status::Confirming, Exception::None));
    assert_eq!(seen.events, [EventKind::PaymentDetected]);
    assert_eq!(seen.summary.received, 0);

    let standing = follow(fresh(), &seen);
    let included = [deposit(1, 100, 5, Some(11))];
    let shallow = evaluate(&terms(), standing, at(6, 12), &included);
    assert_eq!((shallow.status, shallow.summary.received), (Status::Confirming, 2));
    assert!(shallow.events.is_empty() && shallow.credit.is_empty());

    let deep = evaluate(&terms(), standing, at(7, 13), &included);
    assert_eq!((deep.status, deep.summary.received), (Status::Confirmed, 3));
    assert_eq!(deep.events, [EventKind::PaymentConfirmed]);
    assert_eq!(deep.credit, [Uuid::from_u128(1)]);

    let again = evaluate(&terms(), follow(standing, &deep), at(8, 20), &included);
    assert!(again.events.is_empty(), "told once for ever");
}

#[test]
fn found_deep_at_once_tells_both_in_order() {
    let late_scan = evaluate(&terms(), fresh(), at(5, 20), &[deposit(1, 100, 5, Some(11))]);
    assert_eq!(late_scan.events, [EventKind::PaymentDetected, EventKind::PaymentConfirmed]);
}

#[test]
fn two_parts_complete_each_other() {
    let first = deposit(1, 40, 5, Some(11));
    let part = evaluate(&terms(), fresh(), at(5, 11), std::slice::from_ref(&first));
    assert_eq!(outcome(&part), (Status::Pending, Exception::Underpaid));
    assert_eq!(part.events, [EventKind::PartiallyPaid]);
    assert_eq!(part.summary.txid, Some(first.txid.clone()));

    let second = deposit(2, 60, 6, Some(12));
    let both = evaluate(&terms(), follow(fresh(), &part), at(6, 13), &[first, second.clone()]);
    assert_eq!(outcome(&both), (Status::Confirming, Exception::None));
    assert_eq!(both.summary, Summary { paid_units: 100, txid: Some(second.txid), received: 2 });
    assert_eq!(both.credit, [Uuid::from_u128(1)], "the deep part is credited by itself");
}

#[test]
fn a_part_payment_does_not_stop_the_clock() {
    let over = evaluate(&terms(), fresh(), at(31, 10), &[deposit(1, 40, 5, None)]);
    assert_eq!(outcome(&over), (Status::Expired, Exception::Underpaid));
}

#[test]
fn more_than_asked_is_overpaid_once_confirmed() {
    let over = evaluate(&terms(), fresh(), at(5, 20), &[deposit(1, 150, 5, Some(11))]);
    assert_eq!(outcome(&over), (Status::Confirmed, Exception::Overpaid));
    assert_eq!(over.summary.paid_units, 150);
}

#[test]
fn full_only_after_expiry_is_late_and_credited() {
    let closed = Standing { status: Status::Expired, ..fresh() };
    let late = [deposit(1, 100, 31, Some(11))];
    let evaluation = evaluate(&terms(), closed, at(40, 20), &late);
    assert_eq!(outcome(&evaluation), (Status::Expired, Exception::Late));
    assert_eq!(evaluation.events, [EventKind::LatePayment]);
    assert_eq!(evaluation.credit, [Uuid::from_u128(1)], "money is credited whatever the status");

    let honored = evaluate(&Terms { honors_late: true, ..terms() }, closed, at(40, 20), &late);
    assert_eq!(outcome(&honored), (Status::Confirmed, Exception::None));
}

#[test]
fn seen_in_time_may_be_included_after_expiry_but_not_for_ever() {
    let mut slow = deposit(1, 100, 29, Some(11));
    slow.included_at = Some(Micros(20 * 60 * MINUTE));
    let kept = evaluate(&terms(), fresh(), at(21 * 60, 20), std::slice::from_ref(&slow));
    assert_eq!(kept.status, Status::Confirmed);

    slow.included_at = Some(Micros(25 * 60 * MINUTE));
    let dropped = evaluate(&terms(), fresh(), at(26 * 60, 20), &[slow]);
    assert_eq!(outcome(&dropped), (Status::Expired, Exception::Late));
}

#[test]
fn what_never_came_is_no_late_payment() {
    let standing = Standing { status: Status::Confirming, detected_told: true, ..fresh() };
    let evicted = [deposit(1, 100, 5, None)];
    let over = evaluate(&terms(), standing, at(26 * 60, 20), &evicted);
    assert_eq!(outcome(&over), (Status::Expired, Exception::Reorged));
    assert_eq!(over.events, [EventKind::Reorged, EventKind::Expired]);
    assert_eq!((over.summary.paid_units, over.summary.txid.as_deref()), (0, None));
    assert!(over.pending.is_empty(), "nobody is told to wait for it any more");
    let again = evaluate(&terms(), follow(standing, &over), at(27 * 60, 21), &evicted);
    assert_eq!((outcome(&again), again.events), (outcome(&over), Vec::new()));
}

#[test]
fn a_late_payment_that_is_taken_back_is_told() {
    let closed = Standing { status: Status::Expired, ..fresh() };
    let paid = evaluate(&terms(), closed, at(40, 20), &[deposit(1, 100, 31, Some(11))]);
    let mut lost = deposit(1, 100, 31, None);
    (lost.state, lost.credited) = (DepositState::Replaced, true);
    let back = evaluate(&terms(), follow(closed, &paid), at(41, 20), std::slice::from_ref(&lost));
    assert_eq!(outcome(&back), (Status::Expired, Exception::Reorged));
    assert_eq!((back.events, back.reverse), (vec![EventKind::Reorged], vec![lost.id]));
}

#[test]
fn a_surplus_that_is_taken_back_is_told() {
    let standing = Standing {
        status: Status::Confirmed,
        exception: Exception::Overpaid,
        detected_told: true,
        confirmed_told: true,
        ..fresh()
    };
    let mut kept = deposit(1, 100, 5, Some(11));
    let mut lost = deposit(2, 100, 6, None);
    (lost.state, lost.credited, kept.credited) = (DepositState::Orphaned, true, true);
    let back = evaluate(&terms(), standing, at(9, 20), &[kept, lost]);
    assert_eq!(outcome(&back), (Status::Confirmed, Exception::None));
    assert_eq!(back.events, [EventKind::Reorged]);
}

#[test]
fn more_than_was_asked_is_asked_for_more() {
    let paid = [deposit(1, 100, 5, Some(11))];
    let asked = Finality { confirmations: 20, requires_finality: true };
    let moment = Moment { finalized: Some(10), ..at(8, 30) };
    let held = super::evaluate(&terms(), asked, fresh(), moment, &paid);
    assert_eq!((held.status, held.credit.len()), (Status::Confirming, 0));
    let moment = Moment { finalized: Some(11), ..moment };
    let done = super::evaluate(&terms(), asked, fresh(), moment, &paid);
    assert_eq!((done.status, done.credit.len()), (Status::Confirmed, 1));
}

#[test]
fn canceled_stays_canceled_and_still_credits() {
    let canceled = Standing { canceled: true, ..fresh() };
    let first = evaluate(&terms(), canceled, at(5, 10), &[]);
    assert_eq!(outcome(&first), (Status::Expired, Exception::Canceled));
    assert_eq!(first.events, [EventKind::Canceled]);
    let paid = [deposit(1, 100, 6, Some(11))];
    let after = evaluate(&terms(), follow(canceled, &first), at(9, 20), &paid);
    assert_eq!(outcome(&after), (Status::Expired, Exception::Canceled));
    assert!(after.events.is_empty());
    assert_eq!(after.credit, [Uuid::from_u128(1)]);
}

#[test]
fn a_canceled_invoice_that_is_paid_counts_up_to_what_is_required() {
    let paid = [deposit(1, 100, 6, Some(11))];
    let canceled = Standing { status: Status::Expired, canceled: true, ..fresh() };
    let received = |terms: &Terms, moment: Moment, paid: &[Deposit]| {
        let read = summarize(terms, canceled, moment, paid).received;
        assert_eq!(evaluate(terms, canceled, moment, paid).summary.received, read);
        read
    };
    for (head, shown) in [(10, 0), (11, 1), (12, 2), (13, 3), (20, 3)] {
        assert_eq!(received(&terms(), at(9, head), &paid), shown, "at {head}");
    }
    // Finality holds it back as it does the credit; what is credited is deep whoever asks.
    let strict = Terms { requires_finality: true, ..terms() };
    assert_eq!(received(&strict, at(9, 20), &paid), 2);
    assert_eq!(received(&strict, Moment { finalized: Some(11), ..at(9, 20) }, &paid), 3);
    let credited = [Deposit { credited: true, ..paid[0].clone() }];
    assert_eq!(received(&strict, at(9, 20), &credited), 3);
}

#[test]
fn what_is_required_is_not_shown_before_the_invoice_is_confirmed() {
    let paid = [deposit(1, 100, 6, Some(11))];
    for (status, shown) in [(Status::Pending, 2), (Status::Confirming, 2), (Status::Confirmed, 3)] {
        let standing = Standing { status, ..fresh() };
        assert_eq!(summarize(&terms(), standing, at(9, 20), &paid).received, shown, "{status:?}");
    }
}

#[test]
fn reorganised_away_goes_back_and_confirms_again_without_a_second_promise() {
    let standing = Standing {
        status: Status::Confirmed,
        detected_told: true,
        confirmed_told: true,
        ..fresh()
    };
    let mut lost = deposit(1, 100, 5, None);
    lost.credited = true;
    let back = evaluate(&terms(), standing, at(8, 13), std::slice::from_ref(&lost));
    assert_eq!(outcome(&back), (Status::Confirming, Exception::Reorged));
    assert_eq!(back.events, [EventKind::Reorged]);
    assert_eq!(back.reverse, [lost.id]);

    let standing = follow(standing, &back);
    let again = evaluate(&terms(), standing, at(9, 20), &[deposit(1, 100, 5, Some(14))]);
    assert_eq!(outcome(&again), (Status::Confirmed, Exception::None));
    assert_eq!(again.events, [EventKind::Reconfirmed]);
}

#[test]
fn a_fork_that_keeps_a_credited_payment_changes_nothing() {
    let standing = Standing {
        status: Status::Confirmed,
        detected_told: true,
        confirmed_told: true,
        ..fresh()
    };
    let mut moved = deposit(1, 100, 5, Some(13));
    moved.credited = true;
    let shallow = evaluate(&terms(), standing, at(8, 13), &[moved]);
    assert_eq!(outcome(&shallow), (Status::Confirmed, Exception::None));
    assert!(shallow.events.is_empty() && shallow.reverse.is_empty() && shallow.credit.is_empty());
}

#[test]
fn replaced_payment_goes_back_to_pending() {
    let seen = evaluate(&terms(), fresh(), at(5, 10), &[deposit(1, 100, 5, None)]);
    let mut gone = deposit(1, 100, 5, None);
    gone.state = DepositState::Replaced;
    let back = evaluate(&terms(), follow(fresh(), &seen), at(6, 11), &[gone]);
    assert_eq!(outcome(&back), (Status::Pending, Exception::Reorged));
    assert_eq!(back.events, [EventKind::Reorged]);
    assert_eq!(back.summary.paid_units, 0);
}

#[test]
fn shortfall_and_finality_are_conditions() {
    let lenient = Terms { shortfall_units: 5, ..terms() };
    let short = [deposit(1, 95, 5, Some(11))];
    assert_eq!(evaluate(&lenient, fresh(), at(6, 20), &short).status, Status::Confirmed);
    assert_eq!(evaluate(&terms(), fresh(), at(6, 20), &short).status, Status::Pending);

    let strict = Terms { requires_finality: true, ..terms() };
    let paid = [deposit(1, 100, 5, Some(11))];
    let held = evaluate(&strict, fresh(), at(6, 20), &paid);
    assert_eq!((held.status, held.summary.received), (Status::Confirming, 2));
    let final_now = Moment { finalized: Some(11), ..at(6, 20) };
    assert_eq!(evaluate(&strict, fresh(), final_now, &paid).status, Status::Confirmed);
}
