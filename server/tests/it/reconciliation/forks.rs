//! Reconciled balances and blocks that were called final, on a chain that undoes such blocks or does not say
//! any more what is final. Not here: what is found where nothing is undone.

use super::*;
use crate::support::alarms;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_below_what_was_final_takes_the_delta_back() {
    let mut world = World::start().await;
    let invoice = world.invoice().await;
    let (key, units) = world.asked(&invoice).await;
    let root = world.quiet_blocks(1);
    let height = world.hidden(&[(key.clone(), positive(units))]);
    world.quiet_blocks(CONFIRMATIONS);
    world.reconcile_at(height).await;
    assert_eq!(world.available().await, units);
    let kept = world.quiet_blocks(1);
    world.chain.undo_above(kept - 1);
    world.quiet_blocks(2);
    world.read().await;
    assert_eq!(world.available().await, units, "a fork above what is final changes nothing");

    world.chain.finalize(root);
    world.chain.undo_above(root);
    let told = world.told(&[(key, units)]);
    world.quiet_blocks(3 * CONFIRMATIONS);
    world.read().await;
    let view = world.view(&invoice).await;
    let counted = |state| view.deposits.iter().filter(|deposit| deposit.state == state).count();
    assert_eq!((counted(DepositState::Included), counted(DepositState::Replaced)), (1, 1));
    assert_eq!(world.stands(&invoice).await, (Status::Confirmed, Exception::None));
    assert_eq!(world.available().await, units);
    world.hidden(&[(vec![0; 20], 0)]);
    let tip = world.quiet_blocks(1);
    assert!(told < tip);
    world.reconcile_at(tip).await;
    assert_eq!(world.view(&invoice).await.deposits.len(), 2);
    assert_eq!(world.available().await, units);
}

/// The fork takes the block away whose balances told of the money, and not the one that brought it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_between_the_hidden_payment_and_its_delta_loses_nothing() {
    alarms::listen();
    let mut world = World::start().await;
    let invoice = world.invoice().await;
    let (key, units) = world.asked(&invoice).await;
    let height = world.hidden(&[(key, positive(units))]);
    let root = world.quiet_blocks(1);
    let last = world.quiet_blocks(1);
    world.quiet_blocks(CONFIRMATIONS);
    world.reconcile_at(last).await;
    assert_eq!(world.available().await, units);

    world.chain.finalize(height);
    world.chain.undo_above(root);
    world.quiet_blocks(3 * CONFIRMATIONS);
    world.read().await;
    assert_eq!(world.available().await, 0, "what is not known to be on the chain is nobody's");
    assert!(alarms::raised("credited_deposit_reorged", &invoice.id.to_string()));
    world.reconcile_at(last + 1).await;
    assert_eq!(world.stands(&invoice).await, (Status::Confirmed, Exception::None));
    assert_eq!(world.available().await, units);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_final_stays_so_where_a_node_does_not_say_what_is() {
    let mut world = World::start().await;
    let height = world.quiet_blocks(2);
    world.chain.finalize(height);
    world.read().await;
    let finality = |cursor: Cursor| (cursor.finalized_height, cursor.finalized_at);
    let said = finality(world.cursor().await);
    assert_eq!(said.0, Some(height));
    world.chain.say_no_finality();
    world.quiet_blocks(1);
    world.read().await;
    assert_eq!(finality(world.cursor().await), said);
    world.chain.undo_above(height - 1);
    world.quiet_blocks(3);
    world.read().await;
    let (finalized, _) = finality(world.cursor().await);
    assert_eq!(finalized, Some(height - 1), "nobody called the blocks of the fork final");
}
