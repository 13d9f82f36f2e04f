//! A server that was off while its chain went on: payments made meanwhile are found in their blocks,
//! through a fork, and count as of then. Not here: real nodes (`tests/evm`, `tests/utxo`).

use std::time::Instant;

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};

use crate::conformance::world::{World, asked};
use crate::support::server::Engine;

/// Is off for so many blocks, with payments before, in the first and in the last of them, and two blocks
/// that were scanned before replaced.
async fn off_for(blocks: u32) {
    let mut world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let (before, moved) = (world.invoice().await, world.invoice().await);
    let (first, middle, last) =
        (world.invoice().await, world.invoice().await, world.invoice().await);
    let unpaid = world.invoice().await;
    world.pay(&before, 1, 1).await;
    world.mine_deep(&before).await;
    world.wait(&before, Status::Confirmed, Exception::None).await;
    world.pay(&moved, 1, 1).await;
    world.chain.mine(2).await.unwrap();
    let is_two_deep = |now: &Invoice| now.confirmations.unwrap().received == 2;
    world.wait_until(&moved, "two confirmations", is_two_deep).await;
    world.server.stop().await;

    world.chain.fork(2, &[]).await.unwrap();
    world.pay(&first, 1, 1).await;
    world.chain.mine(blocks.div_ceil(2)).await.unwrap();
    world.pay(&middle, 1, 1).await;
    if blocks > 1 {
        world.chain.mine(blocks / 2).await.unwrap();
    }
    world.pay(&last, 1, 1).await;
    world.chain.mine(6).await.unwrap();

    let began = Instant::now();
    world.server.run().await;
    world.client = world.server.client();
    for invoice in [&before, &moved, &first, &middle, &last] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    println!("{:?}: {blocks} blocks were caught up in {:?}", crate::ENGINE, began.elapsed());
    let paid = [&before, &moved, &first, &middle, &last].map(asked);
    world.wait_available(paid.iter().sum()).await;
    world.expire().await;
    world.wait(&unpaid, Status::Expired, Exception::None).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_1_block_loses_nothing() {
    off_for(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_100_blocks_loses_nothing() {
    off_for(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_2001_blocks_loses_nothing() {
    off_for(2_001).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_5000_blocks_loses_nothing() {
    // How many blocks were missed is the scanner's affair, not the database's: once is enough.
    if crate::ENGINE == Engine::Sqlite {
        off_for(5_000).await;
    }
}
