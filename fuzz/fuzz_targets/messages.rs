//! Runs the target `messages` of the gateway under libFuzzer, on this project's own contract.
#![no_main]

use std::sync::LazyLock;

use rpc_gateway::fuzz::Contract;

static CONTRACT: LazyLock<Contract> =
    LazyLock::new(|| Contract::new(cryptopayment_proto::DESCRIPTOR_SET));

libfuzzer_sys::fuzz_target!(|data: &[u8]| CONTRACT.message(data));
