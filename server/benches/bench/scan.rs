//! Scanning the sandbox's chain: blocks and payments a second from the simulated node into the
//! ledger's database, watch set and all. Not here: what is credited afterwards.

use std::sync::Arc;

use cryptopayment::chain::sandbox::{Sandbox, SandboxChain};
use cryptopayment::chain::{ChainReader, SandboxControl as _};
use cryptopayment::signals::Signals;
use cryptopayment::store::cursor;
use cryptopayment::worker::Step;
use cryptopayment::worker::scan::Scanner;
use tempfile::TempDir;
use uuid::Uuid;

use super::measure::{Series, heading};
use crate::support::core::{Core, NETWORK, request};
use crate::support::server::{Engine, fresh_database};

/// Rounds.
const ROUNDS: usize = 3;
/// Blocks of a round.
const BLOCKS: u32 = 100;
/// Payments in each of them.
const PAYMENTS_PER_BLOCK: u32 = 5;
/// Invoices that are paid.
const INVOICES: usize = 50;

/// Runs it on one engine.
pub async fn run(engine: Engine) {
    heading(&format!("Block scan of the sandbox, {engine:?}"));
    let (_directory, core, chain) = simulated(engine).await;
    let mut scanner = scanner(&core, Arc::clone(&chain) as _);
    catch_up(&mut scanner).await;
    core.fill(200).await;
    catch_up(&mut scanner).await;
    let create = core.create(200);
    let mut invoices = Vec::new();
    for _ in 0..INVOICES {
        invoices.push(create.run(&core.caller, &request(None)).await.unwrap().invoice);
    }
    let mut blocks = Series::new("blocks", "blocks/s");
    for round in 0..=ROUNDS {
        for block in 0..BLOCKS {
            for n in 0..PAYMENTS_PER_BLOCK {
                let place = (block * PAYMENTS_PER_BLOCK + n) as usize % invoices.len();
                let address = invoices[place].address_text.clone();
                chain.pay(&[(address, 1_000_000)]).await.unwrap();
            }
            chain.mine(1).await.unwrap();
        }
        let mut warm = Series::new("", "");
        let series = if round == 0 { &mut warm } else { &mut blocks };
        series.round(u64::from(BLOCKS), catch_up(&mut scanner)).await;
    }
    blocks.print();
    blocks.in_parts("payments in them", "payments/s", PAYMENTS_PER_BLOCK).print();
    let head = chain.head().await.unwrap().tip.height;
    assert_eq!(cursor::get(&core.db, NETWORK).await.unwrap().unwrap().height, head);
}

/// A fresh database and a simulated chain, in a directory that is to outlive them.
pub async fn simulated(engine: Engine) -> (TempDir, Core, Arc<SandboxChain>) {
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(engine, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    let sandbox = Sandbox::open(&directory.path().join("chain.sqlite"), core.env.clone()).await;
    let chain = Arc::new(sandbox.unwrap().chain(NETWORK).await.unwrap());
    (directory, core, chain)
}

/// What reads a chain into the database.
pub fn scanner(core: &Core, chain: Arc<dyn ChainReader>) -> Scanner {
    scanner_of(core, chain, core.env.new_id())
}

/// The same of the process `holder`.
pub fn scanner_of(core: &Core, chain: Arc<dyn ChainReader>, holder: Uuid) -> Scanner {
    Scanner::new(core.db.clone(), core.env.clone(), chain, Signals::default(), holder)
}

/// Reads until there is nothing left to read.
pub async fn catch_up(scanner: &mut Scanner) {
    while scanner.tick().await.unwrap() == Step::More {}
}
