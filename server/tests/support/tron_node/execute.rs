//! What a transaction does to accounts and contracts, what it costs, and its receipt: bandwidth,
//! energy, activation, staking and delegation as measured on a live node with mainnet's prices.
//! Not here: whether it may be included (`chain`), the contracts' own rules (`contracts`).

use std::collections::BTreeMap;

use super::contracts::{self, Code, Contracts, Manner, Outcome, SimLog};
use super::wire::{Account, Action, Tx, account, contract_made_by};

const SUN_PER_BYTE: i64 = 1_000;
pub const SUN_PER_ENERGY: i64 = 100;
pub const FREE_BYTES: i64 = 600;
/// Paid for an account that a transfer makes, and the same once more for its bandwidth.
const NEW_ACCOUNT_SUN: i64 = 1_000_000;
const NEW_ACCOUNT_NET_SUN: i64 = 100_000;
const ENERGY_DEPLOY: i64 = 381_218;
/// Energy that all stakers share in a day.
pub const TOTAL_ENERGY: i64 = 184_928_702_669;
const SUN_PER_TRX: i64 = 1_000_000;

/// An account that was activated.
#[derive(Debug, Clone, Default)]
pub struct Holder {
    pub sun: i64,
    pub free_bytes_used: i64,
    /// Staked for energy, sun; what is delegated to others is not in it.
    pub staked: i64,
    /// Delegated to others and by others.
    pub delegated_out: i64,
    pub delegated_in: i64,
    pub energy_used: i64,
}

/// Everything that a block changes.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub holders: BTreeMap<Account, Holder>,
    pub contracts: Contracts,
}

/// What became of an included transaction.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    pub fee: i64,
    pub net_fee: i64,
    pub net_usage: i64,
    pub energy_fee: i64,
    pub energy_usage: i64,
    pub energy_total: i64,
    /// How the contract ended; nothing where there was none.
    pub result: Option<&'static str>,
    pub message: String,
    pub output: Vec<u8>,
    pub contract: Option<Account>,
    pub logs: Vec<SimLog>,
}

impl State {
    /// Makes TRX out of nothing.
    pub fn give(&mut self, to: Account, sun: i64) {
        self.holders.entry(to).or_default().sun += sun;
    }

    /// TRX that everybody staked.
    pub fn staked_trx(&self) -> i64 {
        self.holders.values().map(|holder| holder.staked + holder.delegated_out).sum::<i64>()
            / SUN_PER_TRX
    }

    /// Energy that an account has in a day.
    pub fn energy_limit(&self, who: Account) -> i64 {
        let Some(holder) = self.holders.get(&who) else { return 0 };
        let trx = (holder.staked + holder.delegated_in) / SUN_PER_TRX;
        let all = self.staked_trx().max(1);
        i64::try_from(i128::from(trx) * i128::from(TOTAL_ENERGY) / i128::from(all)).unwrap()
    }
}

/// Executes one transaction; the text says why it is no valid one.
pub fn execute(state: &mut State, tx: &Tx) -> Result<Receipt, String> {
    let owner = tx.action.owner().ok_or("Invalid address")?;
    let before = state.clone();
    let done = execute_for(state, tx, owner);
    if done.is_err() {
        *state = before;
    }
    done
}

fn execute_for(state: &mut State, tx: &Tx, owner: Account) -> Result<Receipt, String> {
    if !state.holders.contains_key(&owner) {
        return Err(match tx.action {
            Action::Transfer(_) => "Validate TransferContract error, no OwnerAccount.".to_owned(),
            _ => format!("account [{}] does not exist", super::wire::hex41(owner)),
        });
    }
    let mut receipt = Receipt::default();
    if let Action::Transfer(body) = &tx.action {
        let to = account(&body.to_address).ok_or("Invalid toAddress!")?;
        if body.amount <= 0 {
            return Err("Amount must be greater than 0.".to_owned());
        }
        if to == owner {
            return Err("Cannot transfer TRX to yourself.".to_owned());
        }
        if state.contracts.contains_key(&to) {
            return Err("Cannot transfer TRX to a smartContract.".to_owned());
        }
        let is_new = !state.holders.contains_key(&to);
        bandwidth(state, tx, owner, is_new, &mut receipt)?;
        if is_new {
            receipt.fee += NEW_ACCOUNT_SUN;
            take(
                state,
                owner,
                NEW_ACCOUNT_SUN,
                "Validate TransferContract error, insufficient fee.",
            )?;
        }
        take(
            state,
            owner,
            body.amount,
            "Validate TransferContract error, balance is not sufficient.",
        )?;
        state.give(to, body.amount);
        return Ok(receipt);
    }
    bandwidth(state, tx, owner, false, &mut receipt)?;
    match &tx.action {
        Action::Transfer(_) => {}
        Action::Trigger(body) => {
            let contract = account(&body.contract_address).ok_or("Contract does not exist")?;
            if !state.contracts.contains_key(&contract) {
                return Err("No contract or not a smart contract".to_owned());
            }
            receipt.contract = Some(contract);
            let mut trial = state.contracts.clone();
            let outcome = contracts::call(&mut trial, owner, contract, &body.data);
            if spend_energy(state, owner, tx.raw.fee_limit, outcome, &mut receipt) {
                state.contracts = trial;
            }
        }
        Action::Create(body) => {
            let contract = contract_made_by(tx.id, owner);
            receipt.contract = Some(contract);
            let output = body.new_contract.clone().unwrap_or_default().bytecode;
            let outcome = Outcome { energy: ENERGY_DEPLOY, output, ..Outcome::default() };
            if spend_energy(state, owner, tx.raw.fee_limit, outcome, &mut receipt) {
                state.contracts.insert(contract, Code::token(Manner::Standard, 6, owner));
                let minted = contracts::number(contracts::SUPPLY).to_vec();
                receipt.logs = vec![contracts::transfer_log(contract, [0; 20], owner, minted)];
            }
        }
        Action::Freeze(body) => {
            take(
                state,
                owner,
                body.frozen_balance,
                "frozenBalance must be less than or equal to accountBalance",
            )?;
            state.holders.entry(owner).or_default().staked += body.frozen_balance;
        }
        Action::Delegate(body) => {
            delegate(state, owner, body.balance, account(&body.receiver_address))?
        }
    }
    Ok(receipt)
}

fn delegate(
    state: &mut State,
    owner: Account,
    sun: i64,
    to: Option<Account>,
) -> Result<(), String> {
    let to = to.ok_or("Invalid receiverAddress")?;
    if !state.holders.contains_key(&to) {
        let text = cryptopayment::domain::address_text::tron(to);
        return Err(format!("Account[{text}] not exists"));
    }
    let holder = state.holders.entry(owner).or_default();
    if holder.staked < sun {
        return Err(
            "delegateBalance must be less than or equal to available FreezeEnergyV2 balance"
                .to_owned(),
        );
    }
    holder.staked -= sun;
    holder.delegated_out += sun;
    state.holders.entry(to).or_default().delegated_in += sun;
    Ok(())
}

/// Free bytes first, then TRX; the making of an account has a price of its own.
fn bandwidth(
    state: &mut State,
    tx: &Tx,
    owner: Account,
    makes_account: bool,
    receipt: &mut Receipt,
) -> Result<(), String> {
    let bytes = tx.net_bytes();
    let holder = state.holders.entry(owner).or_default();
    if !makes_account && holder.free_bytes_used + bytes <= FREE_BYTES {
        holder.free_bytes_used += bytes;
        receipt.net_usage = bytes;
        return Ok(());
    }
    receipt.net_fee = if makes_account { NEW_ACCOUNT_NET_SUN } else { bytes * SUN_PER_BYTE };
    receipt.fee += receipt.net_fee;
    take(state, owner, receipt.net_fee, "Account resource insufficient error.")
}

fn take(state: &mut State, from: Account, sun: i64, why: &str) -> Result<(), String> {
    let holder = state.holders.entry(from).or_default();
    if sun < 0 || holder.sun < sun {
        return Err(why.to_owned());
    }
    holder.sun -= sun;
    Ok(())
}

/// Pays for a call out of staked energy, then out of TRX up to the fee limit. True if what the call
/// did stands.
fn spend_energy(
    state: &mut State,
    owner: Account,
    fee_limit: i64,
    outcome: Outcome,
    receipt: &mut Receipt,
) -> bool {
    let staked = (state.energy_limit(owner) - state.holders[&owner].energy_used).max(0);
    let holder = state.holders.entry(owner).or_default();
    let bought = fee_limit.min(holder.sun).max(0) / SUN_PER_ENERGY;
    let limit = (staked + bought).min(fee_limit / SUN_PER_ENERGY);
    let enough = outcome.energy <= limit;
    receipt.energy_total = outcome.energy.min(limit);
    receipt.energy_usage = receipt.energy_total.min(staked);
    receipt.energy_fee = (receipt.energy_total - receipt.energy_usage) * SUN_PER_ENERGY;
    holder.energy_used += receipt.energy_usage;
    holder.sun -= receipt.energy_fee;
    receipt.fee += receipt.energy_fee;
    if !enough {
        receipt.result = Some("OUT_OF_ENERGY");
        receipt.message = format!(
            "Not enough energy for 'SSTORE' operation executing: curInvokeEnergyLimit[{limit}], curOpEnergy[5000], usedEnergy[795]"
        );
        return false;
    }
    receipt.output = outcome.output;
    if outcome.reverted {
        receipt.result = Some("REVERT");
        receipt.message = "REVERT opcode executed".to_owned();
        return false;
    }
    receipt.result = Some("SUCCESS");
    receipt.logs = outcome.logs;
    true
}
