//! Runs the target `webhook_targets` of the server under libFuzzer.
#![no_main]

#[path = "../../server/tests/fuzz/webhook_targets.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::webhook_targets(data));
