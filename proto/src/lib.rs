//! The contract as Rust: messages, clients and servers generated from the protos beside this crate,
//! and the descriptor set that carries their options. No logic lives here but the buffers' size.

#![allow(missing_docs, clippy::all, reason = "generated code")]

/// How messages are written and read: see [`codec::SmallBuffers`].
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
