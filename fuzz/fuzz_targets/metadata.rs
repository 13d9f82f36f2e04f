//! Runs the target `metadata` of the server under libFuzzer.
#![no_main]

#[path = "../../server/tests/fuzz/metadata.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::metadata(data));
