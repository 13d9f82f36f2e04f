//! Runs the target `json_writer` of the gateway under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rpc_gateway::fuzz::json_writer(data));
