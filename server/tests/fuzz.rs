//! The short run of the server's fuzz targets: amounts, addresses, cursors, metadata, webhook
//! targets. A binary of its own, so that the targets see what the library offers and nothing else,
//! and cargo-fuzz takes the same files. The gateway's targets are in `gateway/src/fuzz`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a finding")]
#![allow(missing_docs, reason = "a test binary has no readers of its interface")]

#[path = "fuzz/addresses.rs"]
mod addresses;
#[path = "fuzz/amounts.rs"]
mod amounts;
#[path = "fuzz/cursors.rs"]
mod cursors;
#[path = "../../fuzz/driver.rs"]
mod driver;
#[path = "fuzz/metadata.rs"]
mod metadata;
#[path = "fuzz/webhook_targets.rs"]
mod webhook_targets;

use driver::run;

#[test]
fn amounts_are_exact_and_every_rounding_has_its_direction() {
    run("amounts", 30_000, amounts::amounts);
}

#[test]
fn a_damaged_address_is_refused() {
    run("addresses", 6_000, addresses::addresses);
}

#[test]
fn a_cursor_opens_nobody_elses_list() {
    run("cursors", 40_000, cursors::cursors);
}

#[test]
fn metadata_keeps_its_tokens() {
    run("metadata", 40_000, metadata::metadata);
}

#[test]
fn webhook_targets_are_public_and_read_in_one_way() {
    run("webhook_targets", 40_000, webhook_targets::webhook_targets);
}
