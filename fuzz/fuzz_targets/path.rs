//! Runs the target `path` of the gateway under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rpc_gateway::fuzz::path(data));
