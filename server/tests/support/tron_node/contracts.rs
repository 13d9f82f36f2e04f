//! The contracts of the simulated chain: a token that behaves, tokens that do not, one that pays
//! many, and scripted ones that log whatever a test wants. Not here: fees, energy's price, accounts.

use std::collections::BTreeMap;

use super::wire::{Account, selector};

/// `Transfer(address,address,uint256)`.
pub const TRANSFER: &str = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// `Approval(address,address,uint256)`.
pub const APPROVAL: &str = "8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925";
/// The supply of a deployed token, units.
pub const SUPPLY: u128 = 1_000_000_000_000_000;

/// Measured on a live node.
const ENERGY_NEW_HOLDER: i64 = 27_988;
const ENERGY_HOLDER: i64 = 12_988;
const ENERGY_REVERT: i64 = 661;
const ENERGY_READ: i64 = 479;

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimLog {
    pub contract: Account,
    pub topics: Vec<[u8; 32]>,
    pub data: Vec<u8>,
}

/// How a token differs from one that behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As the standard says.
    Standard,
    /// `transfer` returns nothing, as Tether's does.
    NoReturn,
    /// `transfer` returns false and moves nothing.
    ReturnsFalse,
    /// A tenth of each transfer goes to somebody else.
    TakesFee,
}

/// What a contract is.
#[derive(Debug, Clone)]
pub enum Code {
    Token {
        manner: Manner,
        decimals: u8,
        balances: BTreeMap<Account, u128>,
    },
    /// `pay(address,address[],uint256[])` pays many out of its own.
    Payer,
    /// Logs these whatever it is called with; reverts afterwards if it is told to.
    Scripted {
        logs: Vec<SimLog>,
        reverts: bool,
    },
}

/// How a call ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub energy: i64,
    pub output: Vec<u8>,
    pub logs: Vec<SimLog>,
    /// The call failed with `require`'s or `revert`'s data in `output`.
    pub reverted: bool,
}

impl Code {
    /// A token of which somebody has everything.
    pub fn token(manner: Manner, decimals: u8, owner: Account) -> Self {
        Self::Token { manner, decimals, balances: BTreeMap::from([(owner, SUPPLY)]) }
    }
}

/// All contracts by address.
pub type Contracts = BTreeMap<Account, Code>;

/// Calls one; what it changes stays only if it did not revert.
pub fn call(contracts: &mut Contracts, caller: Account, contract: Account, data: &[u8]) -> Outcome {
    let before = contracts.clone();
    let outcome = match contracts.get(&contract) {
        Some(Code::Token { .. }) => token_call(contracts, caller, contract, data),
        Some(Code::Payer) => pay_many(contracts, contract, data),
        Some(Code::Scripted { logs, reverts }) => {
            Outcome { energy: 30_000, logs: logs.clone(), reverted: *reverts, output: Vec::new() }
        }
        None => Outcome::default(),
    };
    if outcome.reverted {
        *contracts = before;
        return Outcome { logs: Vec::new(), ..outcome };
    }
    outcome
}

/// Units that somebody has of a token.
pub fn balance(contracts: &Contracts, token: Account, holder: Account) -> u128 {
    match contracts.get(&token) {
        Some(Code::Token { balances, .. }) => balances.get(&holder).copied().unwrap_or_default(),
        _ => 0,
    }
}

fn token_call(contracts: &mut Contracts, caller: Account, token: Account, data: &[u8]) -> Outcome {
    let (function, arguments) = data.split_at(data.len().min(4));
    let argument = |n: usize| -> [u8; 32] {
        arguments
            .get(32 * n..32 * (n + 1))
            .and_then(|word| word.try_into().ok())
            .unwrap_or_default()
    };
    let is = |name: &str| function == selector(name);
    let Some(Code::Token { decimals, .. }) = contracts.get(&token) else {
        return Outcome::default();
    };
    let read = |word: [u8; 32]| Outcome {
        energy: ENERGY_READ,
        output: word.to_vec(),
        ..Outcome::default()
    };
    if is("decimals()") {
        return read(number((*decimals).into()));
    }
    if is("totalSupply()") {
        return read(number(SUPPLY));
    }
    if is("balanceOf(address)") {
        return read(number(balance(contracts, token, account_of(argument(0)))));
    }
    if is("approve(address,uint256)") {
        let topics = vec![topic(APPROVAL), word(caller), argument(0)];
        let logs = vec![SimLog { contract: token, topics, data: argument(1).to_vec() }];
        return Outcome {
            energy: ENERGY_HOLDER,
            output: number(1).to_vec(),
            logs,
            reverted: false,
        };
    }
    if is("transfer(address,uint256)") {
        return transfer(contracts, token, caller, account_of(argument(0)), units(argument(1)));
    }
    // Nobody approves anybody here: only nothing can be moved for another.
    if is("transferFrom(address,address,uint256)") && units(argument(2)) == Some(0) {
        return transfer(
            contracts,
            token,
            account_of(argument(0)),
            account_of(argument(1)),
            Some(0),
        );
    }
    Outcome { energy: ENERGY_REVERT, reverted: true, ..Outcome::default() }
}

/// Moves units, in the token's manner. More than anybody can have reverts.
pub fn transfer(
    contracts: &mut Contracts,
    token: Account,
    from: Account,
    to: Account,
    units: Option<u128>,
) -> Outcome {
    let Some(Code::Token { manner, balances, .. }) = contracts.get_mut(&token) else {
        return Outcome::default();
    };
    let has = balances.get(&from).copied().unwrap_or_default();
    let is_new = !balances.contains_key(&to);
    let Some(units) = units.filter(|units| *units <= has) else {
        let output = revert_with("not enough balance");
        return Outcome { energy: ENERGY_REVERT, output, reverted: true, logs: Vec::new() };
    };
    if *manner == Manner::ReturnsFalse {
        return Outcome { energy: ENERGY_READ, output: number(0).to_vec(), ..Outcome::default() };
    }
    let fee = if *manner == Manner::TakesFee { units / 10 } else { 0 };
    let owner_of_fees = [0xfe; 20];
    let mut logs = Vec::new();
    for (to, units) in [(to, units - fee), (owner_of_fees, fee)] {
        if units > 0 || to != owner_of_fees {
            *balances.entry(from).or_default() -= units;
            *balances.entry(to).or_default() += units;
            logs.push(transfer_log(token, from, to, number(units).to_vec()));
        }
    }
    let energy = if is_new { ENERGY_NEW_HOLDER } else { ENERGY_HOLDER };
    let output = if *manner == Manner::NoReturn { Vec::new() } else { number(1).to_vec() };
    Outcome { energy, output, logs, reverted: false }
}

/// `pay(address token, address[] to, uint256[] units)`.
fn pay_many(contracts: &mut Contracts, payer: Account, data: &[u8]) -> Outcome {
    let arguments = data.get(4..).unwrap_or_default();
    let at = |n: usize| -> [u8; 32] {
        arguments
            .get(32 * n..32 * (n + 1))
            .and_then(|word| word.try_into().ok())
            .unwrap_or_default()
    };
    let place =
        |word: [u8; 32]| usize::try_from(units(word).unwrap_or_default()).unwrap_or_default() / 32;
    let (token, payees, amounts) = (account_of(at(0)), place(at(1)), place(at(2)));
    let mut outcome = Outcome { energy: 2_000, ..Outcome::default() };
    let count = usize::try_from(units(at(payees)).unwrap_or_default()).unwrap_or_default();
    for n in 1..=count.min(100) {
        let one =
            transfer(contracts, token, payer, account_of(at(payees + n)), units(at(amounts + n)));
        outcome.energy += one.energy;
        outcome.logs.extend(one.logs);
        if one.reverted {
            return Outcome { output: one.output, reverted: true, ..outcome };
        }
    }
    outcome
}

/// The call of a payer contract.
pub fn pay_call(token: Account, payments: &[(Account, u128)]) -> Vec<u8> {
    let count = payments.len() as u128;
    let mut call = selector("pay(address,address[],uint256[])").to_vec();
    call.extend(word(token));
    call.extend(number(96));
    call.extend(number(96 + 32 * (count + 1)));
    call.extend(number(count));
    payments.iter().for_each(|(to, _)| call.extend(word(*to)));
    call.extend(number(count));
    payments.iter().for_each(|(_, units)| call.extend(number(*units)));
    call
}

/// A log that says that somebody was paid, with any data.
pub fn transfer_log(contract: Account, from: Account, to: Account, data: Vec<u8>) -> SimLog {
    SimLog { contract, topics: vec![topic(TRANSFER), word(from), word(to)], data }
}

/// `Error(string)` of Solidity.
pub fn revert_with(text: &str) -> Vec<u8> {
    let mut output = selector("Error(string)").to_vec();
    output.extend(number(32));
    output.extend(number(text.len() as u128));
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len().div_ceil(32) * 32, 0);
    output.extend(bytes);
    output
}

pub fn topic(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

pub fn number(value: u128) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

pub fn word(account: Account) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&account);
    word
}

fn account_of(word: [u8; 32]) -> Account {
    word[12..].try_into().unwrap()
}

fn units(word: [u8; 32]) -> Option<u128> {
    (word[..16] == [0; 16]).then(|| u128::from_be_bytes(word[16..].try_into().unwrap()))
}
