//! Named places where a test lets the process die as if its power were cut. Always compiled, armed
//! by one environment variable, and only on a sandbox deployment. Not here: any behaviour.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every place between which money or a promise is in flight, without its moment: units of work have
/// `before_commit` and `after_commit`. The tests die at each of them.
pub const UNITS_OF_WORK: [&str; 21] = [
    "activate_app_key",
    "apply",
    "cancel_invoice",
    "claim_deliveries",
    "create_app_key",
    "create_invoice",
    "dispatch",
    "fill_pool",
    "finish_deliveries",
    "fold",
    "lease",
    "lease_addresses",
    "mark_read",
    "mark_watched",
    "redeliver_delivery",
    "rescan",
    "rewind",
    "rotate_signing_secret",
    "scan",
    "scan_mempool",
    "set_endpoint",
];
/// The units of work of a first start, in its order.
pub const FIRST_START: [&str; 6] = [
    "deployment",
    "create_merchant",
    "approve_merchant",
    "create_key",
    "start_cursor",
    "take_over",
];
/// The units of work by which the operator settles what was not expected.
pub const SETTLEMENTS: [&str; 2] = ["assign_unexpected", "dismiss_unexpected"];
/// The units of work by which balances are held against deposits, where a node does not tell calls.
pub const RECONCILIATION: [&str; 2] = ["book_deltas", "mark_reconciled"];
/// The moments of a delivery.
pub const DELIVERY_MOMENTS: [&str; 4] = ["before_send", "after_send", "before_mark", "after_mark"];

static ARMED: OnceLock<Armed> = OnceLock::new();

struct Armed {
    name: String,
    remaining: AtomicU64,
}

/// Arms one failpoint from `NAME` or `NAME:HITS`: the process aborts at that hit of it. Later calls
/// change nothing.
pub fn arm(specification: &str) {
    let (name, hits) = specification.split_once(':').unwrap_or((specification, "1"));
    let remaining = AtomicU64::new(hits.parse().unwrap_or(1));
    let _ = ARMED.set(Armed { name: name.to_owned(), remaining });
}

/// Marks a place. Costs one load when nothing is armed.
#[allow(clippy::print_stderr, reason = "the process ends here, whether somebody reads it or not")]
pub fn hit(place: &str, moment: &str) {
    let Some(armed) = ARMED.get() else { return };
    let matches = armed
        .name
        .strip_prefix(place)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|rest| rest == moment);
    if matches && armed.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
        eprintln!("failpoint {place}.{moment} hit");
        std::process::abort();
    }
}
