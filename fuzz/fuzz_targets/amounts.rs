//! Runs the target `amounts` of the server under libFuzzer.
#![no_main]

#[path = "../../server/tests/fuzz/amounts.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::amounts(data));
