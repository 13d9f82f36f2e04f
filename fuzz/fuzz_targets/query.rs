//! Runs the target `query` of the gateway under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rpc_gateway::fuzz::query(data));
