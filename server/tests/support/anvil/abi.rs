//! Calls of contracts as the ABI has them. Not here: who signs and sends them.

use alloy::primitives::{Address, U256, keccak256};
use cryptopayment::chain::ChainError;

/// An argument of a contract's function.
pub enum Argument {
    Word(U256),
    Words(Vec<U256>),
}

/// An account as an argument.
pub fn account(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}

/// What calls a contract's function, as the ABI has it.
pub fn call_data(signature: &str, arguments: &[Argument]) -> Vec<u8> {
    let mut head = Vec::new();
    let mut tail: Vec<u8> = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Word(word) => head.push(*word),
            Argument::Words(words) => {
                head.push(U256::from(32 * arguments.len() + tail.len()));
                let length = U256::from(words.len());
                for word in std::iter::once(&length).chain(words) {
                    tail.extend(word.to_be_bytes::<32>());
                }
            }
        }
    }
    let head = head.iter().flat_map(|word| word.to_be_bytes::<32>());
    keccak256(signature)[..4].iter().copied().chain(head).chain(tail).collect()
}

/// The call of a token's `transfer`.
pub fn transfer_data(to: Address, units: U256) -> Vec<u8> {
    let arguments = [Argument::Word(account(to)), Argument::Word(units)];
    call_data("transfer(address,uint256)", &arguments)
}

/// The call that moves something of each token to somebody.
pub fn move_each(tokens: Vec<U256>, accounts: Vec<U256>, values: Vec<U256>) -> Vec<u8> {
    let arguments = [tokens, accounts, values].map(Argument::Words);
    call_data("moveEach(address[],address[],uint256[])", &arguments)
}

/// The account of a text.
pub fn parse(text: &str) -> Result<Address, ChainError> {
    text.parse().map_err(|_| ChainError::Invalid(format!("not an address: {text}")))
}
