//! The simulated chain: blocks with the state after each, what waits, who signs blocks, which are
//! solidified, and the checks that a transaction passes before it waits or is included.
//! Not here: what executing one does (`execute`), HTTP.

use bitcoin::secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use bitcoin::secp256k1::{Message as Digest, PublicKey, Secp256k1, SecretKey};
use cryptopayment::chain::BlockRef;
use cryptopayment::domain::address_text;
use cryptopayment::domain::time::Micros;
use cryptopayment::env::Env;
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;

use super::execute::{Receipt, State, execute};
use super::wire::{Account, Header, Tx, hex41};

/// Milliseconds between blocks.
const BLOCK_MILLIS: i64 = 3_000;
const DAY_MILLIS: i64 = 86_400_000;
/// Blocks of which a transaction may name one.
const TAPOS_BLOCKS: i64 = 65_536;
/// Percent of the witnesses that must have built on a block to make it solid.
const SOLID_PERCENT: usize = 70;
/// Those who make blocks on mainnet.
pub const WITNESSES: usize = 27;

/// A transaction in a block.
#[derive(Debug, Clone)]
pub struct Included {
    pub tx: Tx,
    pub receipt: Receipt,
}

/// A block.
#[derive(Debug, Clone)]
pub struct Block {
    pub id: [u8; 32],
    pub header: Header,
    pub witness: usize,
    pub included: Vec<Included>,
    pub after: State,
}

impl Block {
    pub fn number(&self) -> u64 {
        u64::try_from(self.header.number).unwrap()
    }

    pub fn reference(&self) -> BlockRef {
        BlockRef {
            height: self.number(),
            hash: hex::encode(self.id),
            parent: hex::encode(&self.header.parent_hash),
            time: Micros(self.header.timestamp * 1_000),
        }
    }
}

/// Why a node does not take a transaction: its code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub text: String,
}

impl Refusal {
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// The chain of one node.
pub struct Chain {
    blocks: Vec<Block>,
    pending: Vec<Tx>,
    witnesses: usize,
    /// The solid height does not rise above this.
    pub solid_held_at: Option<u64>,
    /// How many forks there were: their blocks have other witnesses, hence other ids.
    forks: usize,
}

impl Chain {
    /// A chain of a genesis block in which `rich` has nearly all TRX.
    pub fn new(rich: Account, witnesses: usize, seed: u8) -> Self {
        let mut after = State::default();
        after.give(rich, 95_000_000_000_000_000);
        let header = Header {
            timestamp: 0,
            tx_trie_root: vec![seed; 32],
            parent_hash: Sha256::digest([seed]).as_slice().to_vec(),
            number: 0,
            witness_address: b"A genesis block has no witness".to_vec(),
            version: 0,
        };
        let genesis = Block { id: header.id(), header, witness: 0, included: Vec::new(), after };
        Self {
            blocks: vec![genesis],
            pending: Vec::new(),
            witnesses,
            solid_held_at: None,
            forks: 0,
        }
    }

    pub fn tip(&self) -> &Block {
        self.blocks.last().unwrap()
    }

    pub fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub fn block_by_id(&self, id: &str) -> Option<&Block> {
        self.blocks.iter().find(|block| hex::encode(block.id) == id)
    }

    pub fn pending(&self) -> &[Tx] {
        &self.pending
    }

    pub fn find(&self, txid: &str) -> Option<(&Block, &Included)> {
        self.blocks.iter().rev().find_map(|block| {
            let found = block.included.iter().find(|included| included.tx.txid() == txid)?;
            Some((block, found))
        })
    }

    /// The state that a constant call, or a new transaction, sees.
    pub fn state(&self) -> State {
        let mut state = self.tip().after.clone();
        for tx in &self.pending {
            let _ = execute(&mut state, tx);
        }
        state
    }

    /// Puts something into the state after the newest block, as nobody could on a real chain.
    pub fn change(&mut self, change: impl FnOnce(&mut State)) {
        change(&mut self.blocks.last_mut().unwrap().after);
    }

    /// The highest block on which 70 % of the witnesses have built.
    pub fn solid(&self) -> u64 {
        let mut latest: Vec<u64> = (0..self.witnesses)
            .map(|witness| {
                let newest = self.blocks.iter().rev().find(|block| block.witness == witness);
                newest.map_or(0, Block::number)
            })
            .collect();
        latest.sort_unstable();
        let solid = latest[self.witnesses * (100 - SOLID_PERCENT) / 100];
        self.solid_held_at.map_or(solid, |held| solid.min(held))
    }

    /// Takes a transaction that was broadcast, after the checks of `Wallet.broadcastTransaction`.
    pub fn push(&mut self, tx: Tx) -> Result<(), Refusal> {
        if self.pending.iter().any(|known| known.id == tx.id) || self.find(&tx.txid()).is_some() {
            return Err(Refusal::new("DUP_TRANSACTION_ERROR", "Dup transaction."));
        }
        check_signature(&tx)?;
        self.check_place(&tx)?;
        let invalid = |text| {
            Refusal::new("CONTRACT_VALIDATE_ERROR", format!("Contract validate error : {text}"))
        };
        execute(&mut self.state(), &tx).map_err(invalid)?;
        self.pending.push(tx);
        Ok(())
    }

    /// TAPOS and expiration, by the newest block.
    fn check_place(&self, tx: &Tx) -> Result<(), Refusal> {
        let head = self.tip().header.timestamp;
        let from = self.blocks.len().saturating_sub(usize::try_from(TAPOS_BLOCKS).unwrap());
        let names = |block: &Block| {
            block.number().to_be_bytes()[6..] == tx.raw.ref_block_bytes[..]
                && block.id[8..16] == tx.raw.ref_block_hash[..]
        };
        if !self.blocks[from..].iter().any(names) {
            return Err(Refusal::new("TAPOS_ERROR", "Tapos check error."));
        }
        if tx.raw.expiration <= head || tx.raw.expiration > head + DAY_MILLIS {
            return Err(Refusal::new("TRANSACTION_EXPIRATION_ERROR", "Transaction expired"));
        }
        Ok(())
    }

    /// Makes a block of everything that waits.
    pub fn mine(&mut self, env: &Env) {
        let waiting = self.pending.clone();
        self.mine_exactly(env, waiting);
    }

    /// Makes a block of these; what cannot be included any more is left out, and forgotten.
    pub fn mine_exactly(&mut self, env: &Env, wanted: Vec<Tx>) {
        let mut after = self.tip().after.clone();
        let mut included = Vec::new();
        for tx in wanted {
            self.pending.retain(|waiting| waiting.id != tx.id);
            if self.check_place(&tx).is_ok()
                && let Ok(receipt) = execute(&mut after, &tx)
            {
                included.push(Included { tx, receipt });
            }
        }
        let parent = self.tip();
        let number = parent.header.number + 1;
        let now = env.system_now().0 / 1_000;
        let timestamp = (parent.header.timestamp + BLOCK_MILLIS).max(now - now % BLOCK_MILLIS);
        let witness = (usize::try_from(number).unwrap() + self.forks) % self.witnesses;
        let root: [u8; 32] = if included.is_empty() {
            [0; 32]
        } else {
            let ids: Vec<u8> = included.iter().flat_map(|one| one.tx.id).collect();
            Sha256::digest(ids).into()
        };
        let header = Header {
            timestamp,
            tx_trie_root: root.to_vec(),
            parent_hash: parent.id.to_vec(),
            number,
            witness_address: hex::decode(hex41(witness_account(witness))).unwrap(),
            version: 32,
        };
        let id = header.id();
        self.blocks.push(Block { id, header, witness, included, after });
    }

    /// Takes the newest blocks away; their transactions wait again. False below the solid block,
    /// which no honest witness would build under.
    pub fn pop(&mut self, depth: u32) -> Option<Vec<Block>> {
        let keep = self.blocks.len().checked_sub(usize::try_from(depth).unwrap())?;
        if u64::try_from(keep).unwrap() <= self.solid() {
            return None;
        }
        self.forks += 1;
        let popped = self.blocks.split_off(keep);
        let again = popped.iter().flat_map(|block| block.included.iter().map(|one| one.tx.clone()));
        self.pending.splice(0..0, again.collect::<Vec<_>>());
        Some(popped)
    }

    /// Forgets what waits, one or all.
    pub fn forget(&mut self, txid: Option<&str>) -> bool {
        let before = self.pending.len();
        self.pending.retain(|tx| txid.is_some_and(|txid| tx.txid() != txid));
        self.pending.len() < before
    }
}

/// A witness's key, for signatures of blocks that nobody checks.
pub fn witness_account(witness: usize) -> Account {
    account_of(&key_named(&format!("witness {witness}")))
}

/// A key that is a name's hash.
pub fn key_named(name: &str) -> SecretKey {
    SecretKey::from_slice(Sha256::digest(name.as_bytes()).as_slice()).unwrap()
}

/// The account of a key.
pub fn account_of(key: &SecretKey) -> Account {
    account_of_public(&PublicKey::from_secret_key(&Secp256k1::new(), key))
}

fn account_of_public(key: &PublicKey) -> Account {
    Keccak256::digest(&key.serialize_uncompressed()[1..])[12..].try_into().unwrap()
}

/// Signs an id: r, s, and 27 or 28.
pub fn sign(key: &SecretKey, id: [u8; 32]) -> Vec<u8> {
    let signature = Secp256k1::new().sign_ecdsa_recoverable(&Digest::from_digest(id), key);
    let (recovery, compact) = signature.serialize_compact();
    [compact.as_slice(), &[27 + u8::try_from(recovery.to_i32()).unwrap()]].concat()
}

/// Recovers the signer, who must be the owner.
fn check_signature(tx: &Tx) -> Result<(), Refusal> {
    let wrong =
        |text: String| Refusal::new("SIGERROR", format!("Validate signature error: {text}"));
    let [signature] = tx.signed.signature.as_slice() else {
        return Err(wrong("miss sig or contract".to_owned()));
    };
    let signer =
        signer(signature, tx.id).ok_or_else(|| wrong("Signature size is error".to_owned()))?;
    if tx.action.owner() != Some(signer) {
        let (signature, who) = (hex::encode(signature), address_text::tron(signer));
        return Err(wrong(format!(
            "{signature} is signed by {who} but it is not contained of permission."
        )));
    }
    Ok(())
}

fn signer(signature: &[u8], id: [u8; 32]) -> Option<Account> {
    let (compact, [last]) = signature.split_at_checked(64)? else { return None };
    let recovery =
        RecoveryId::from_i32(i32::from(if *last >= 27 { last - 27 } else { *last })).ok()?;
    let signature = RecoverableSignature::from_compact(compact, recovery).ok()?;
    let public = Secp256k1::new().recover_ecdsa(&Digest::from_digest(id), &signature).ok()?;
    Some(account_of_public(&public))
}
