//! The contract as Rust: messages, clients and servers generated from the protos beside this crate,
//! and the descriptor set that carries their options. No logic lives here but how messages are read.

#![allow(missing_docs, clippy::all, reason = "generated code")]

/// How messages are written and read: see [`codec::SmallBuffers`] and [`codec::Served`].
pub mod codec;

/// Merchant API.
pub mod v1 {
    tonic::include_proto!("cryptopayment.v1");
}

/// Test chains and clock.
pub mod sandbox {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("cryptopayment.sandbox.v1");
    }
}

/// What a payer sees, without a key.
pub mod checkout {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("cryptopayment.checkout.v1");
    }
}

/// Operator API.
pub mod admin {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("cryptopayment.admin.v1");
    }
}

/// Who may call what.
pub mod options {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("cryptopayment.options.v1");
    }
}

/// Every file of the contract with its imports, options and comments, as a serialized
/// `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

/// The domain of every `google.rpc.ErrorInfo` of this contract.
pub const ERROR_DOMAIN: &str = "cryptopayment";

/// A reason as ErrorInfo has it: its name without the enum's prefix.
pub fn reason_of(reason: v1::ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}
