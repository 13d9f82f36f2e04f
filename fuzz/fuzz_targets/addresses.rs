//! Runs the target `addresses` of the server under libFuzzer.
#![no_main]

#[path = "../../server/tests/fuzz/addresses.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::addresses(data));
