//! A deposit address as the signer vouches for it: what it is, the key a chain's outputs are
//! matched by, and the statement its signature covers. Not here: derivation (signer), text codecs
//! of a chain (`chain::*::address`).

use ed25519_dalek::{Signature, VerifyingKey};

use super::asset::Network;

/// What an address is for; a level of its derivation path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Handed to a payer for one invoice.
    Deposit,
    /// The operator's own: float and sweep target.
    Treasury,
}

impl Role {
    /// The path level, `m/purpose'/coin'/account'/role'/index'`.
    pub const fn level(self) -> u32 {
        match self {
            Self::Deposit => 0,
            Self::Treasury => 1,
        }
    }

    /// The role of a path level.
    pub const fn from_level(level: u32) -> Option<Self> {
        match level {
            0 => Some(Self::Deposit),
            1 => Some(Self::Treasury),
            _ => None,
        }
    }
}

/// Which instance of a network a wallet belongs to; it decides address prefixes and coin types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainKind {
    /// The simulated chains of the sandbox; addresses look like regtest's.
    Sandbox,
    /// A private regression-test chain of a real node.
    Regtest,
    /// The public test network.
    Testnet,
    /// The real thing.
    Mainnet,
}

impl ChainKind {
    /// The configuration's and database's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Regtest => "regtest",
            Self::Testnet => "testnet",
            Self::Mainnet => "mainnet",
        }
    }
}

/// One derived address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DerivedAddress {
    /// The network it receives on.
    pub network: Network,
    /// Which instance of that network.
    pub chain: ChainKind,
    /// What it is for.
    pub role: Role,
    /// The path's account level.
    pub account: u32,
    /// The path's last level.
    pub index: u32,
    /// The text a payer sees.
    pub text: String,
    /// The bytes outputs are matched by: the exact scriptPubKey on UTXO chains, the 20-byte account
    /// on account chains.
    pub key: Vec<u8>,
}

/// A derived address with the signer's signature over [`DerivedAddress::statement`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAddress {
    /// What is vouched for.
    pub address: DerivedAddress,
    /// Ed25519 (RFC 8032).
    pub signature: [u8; 64],
}

impl DerivedAddress {
    /// The bytes that the signer signs: every field, each on a line of its own, so that no two
    /// addresses share a statement.
    pub fn statement(&self, environment: &str) -> Vec<u8> {
        format!(
            "cryptopayment address v1\n{environment}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            self.network,
            self.chain.as_str(),
            self.role.level(),
            self.account,
            self.index,
            self.text,
            hex::encode(&self.key),
        )
        .into_bytes()
    }
}

impl SignedAddress {
    /// Whether `signer` vouched for exactly this address in this environment.
    pub fn is_authentic(&self, signer: &VerifyingKey, environment: &str) -> bool {
        let signature = Signature::from_bytes(&self.signature);
        signer.verify_strict(&self.address.statement(environment), &signature).is_ok()
    }
}
