//! Runs the target `cursors` of the server under libFuzzer.
#![no_main]

#[path = "../../server/tests/fuzz/cursors.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::cursors(data));
