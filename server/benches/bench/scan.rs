//! Scanning the sandbox's chain: blocks and payments a second from the simulated node into the
//! ledger's database, watch set and all. Not here: what is credited afterwards.

use std::sync::Arc;

use cryptopayment::chain::{ChainReader as _, SandboxControl as _};
use cryptopayment::store::cursor;

use super::measure::{Series, heading};
use crate::support::core::{NETWORK, request};
use crate::support::distant::{catch_up, scanner, simulated};
use crate::support::server::Engine;

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
