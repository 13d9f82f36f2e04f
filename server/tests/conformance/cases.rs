//! The cases, each one story from an invoice to the merchant's balance. They read nothing but the
//! public API; the books are recomputed after each.

use cryptopayment::chain::ForkFate;
use cryptopayment_sdk::v1::InvoiceException as Exception;
use cryptopayment_sdk::v1::InvoiceStatus as Status;
use cryptopayment_sdk::v1::PaymentState;
use cryptopayment_sdk::webhook;

use super::world::{World, asked, share};

pub async fn nothing_seen_expires(world: &mut World) {
    let invoice = world.invoice().await;
    assert_eq!((invoice.status(), invoice.exception()), (Status::Pending, Exception::None));
    // Blocks that pay nobody, and whatever a world does between two acts of its chain.
    world.chain.mine(1).await.unwrap();
    let last = world.chain.mine(1).await.unwrap();
    world.wait_read(last.height).await;
    let unpaid = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((unpaid.status(), unpaid.payments.len()), (Status::Pending, 0));
    world.expire().await;
    let expired = world.wait(&invoice, Status::Expired, Exception::None).await;
    assert_eq!(expired.expires_at, invoice.expires_at, "expires_at never changes");
    world.wait_told(&invoice, &["invoice.expired"]).await;
    world.wait_available(0).await;
}

pub async fn exact_payment_confirms(world: &mut World) {
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    let seen = world.wait(&invoice, Status::Confirming, Exception::None).await;
    assert_eq!(
        (seen.txid.as_deref(), seen.paid_units),
        (Some(txid.as_str()), invoice.amount_units.clone())
    );

    let required = invoice.confirmations.unwrap().required;
    if world.blocks_on_demand {
        assert_eq!(seen.confirmations.unwrap().received, world.first_depth());
        world.mine_until(required - 1).await;
        let waiting = world
            .wait_until(&invoice, "all but one confirmation", |now| {
                now.confirmations.unwrap().received == required - 1
            })
            .await;
        assert_eq!(waiting.status(), Status::Confirming);
        world.chain.mine(1).await.unwrap();
    } else {
        world.chain.mine(required).await.unwrap();
    }
    let confirmed = world.wait(&invoice, Status::Confirmed, Exception::None).await;
    assert_eq!(confirmed.confirmations.unwrap().received, required);
    assert_eq!(confirmed.payments[0].state(), PaymentState::Credited);
    world.wait_available(asked(&invoice)).await;

    let told = world.wait_told(&invoice, &["payment.detected", "payment.confirmed"]).await;
    for (delivery, status) in told.iter().zip(["confirming", "confirmed"]) {
        let event = webhook::verify(&world.server.app_key, &delivery.body).unwrap();
        assert_eq!(event.status, status);
    }
}

pub async fn two_parts_confirm(world: &mut World) {
    let invoice = world.invoice().await;
    let (address, first) = share(&invoice, 2, 5);
    world.pay_all(&[(address.clone(), first)]).await;
    world.wait(&invoice, Status::Pending, Exception::Underpaid).await;
    world.chain.mine(1).await.unwrap();
    let second = world.pay_all(&[(address, asked(&invoice) - first)]).await;
    let full = world.wait(&invoice, Status::Confirming, Exception::None).await;
    assert_eq!(full.txid, Some(second), "the transaction that completes the amount");
    world.mine_deep(&invoice).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    let events = ["invoice.partially_paid", "payment.detected", "payment.confirmed"];
    world.wait_told(&invoice, &events).await;
}

pub async fn a_part_expires_underpaid(world: &mut World) {
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 2).await;
    world.wait(&invoice, Status::Pending, Exception::Underpaid).await;
    world.expire().await;
    world.wait(&invoice, Status::Expired, Exception::Underpaid).await;
    world.mine_deep(&invoice).await;
    world.wait_available(asked(&invoice) / 2).await;
    let last = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((last.status(), last.exception()), (Status::Expired, Exception::Underpaid));
    world.wait_told(&invoice, &["invoice.partially_paid", "invoice.expired"]).await;
}

pub async fn more_than_asked_is_overpaid(world: &mut World) {
    let invoice = world.invoice().await;
    world.pay(&invoice, 3, 2).await;
    world.wait(&invoice, Status::Confirming, Exception::None).await;
    world.mine_deep(&invoice).await;
    let over = world.wait(&invoice, Status::Confirmed, Exception::Overpaid).await;
    assert_eq!(over.paid_units, (asked(&invoice) * 3 / 2).to_string());
    world.wait_available(asked(&invoice) * 3 / 2).await;
    world.wait_told(&invoice, &["payment.detected", "payment.confirmed"]).await;
}

pub async fn late_payment_is_credited_and_stays_expired(world: &mut World) {
    let invoice = world.invoice().await;
    world.expire().await;
    world.wait(&invoice, Status::Expired, Exception::None).await;
    world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, Status::Expired, Exception::Late).await;
    world.mine_deep(&invoice).await;
    world.wait_available(asked(&invoice)).await;
    let last = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((last.status(), last.exception()), (Status::Expired, Exception::Late));
    world.wait_told(&invoice, &["invoice.expired", "invoice.late_payment"]).await;
}

pub async fn canceled_invoice_still_credits(world: &mut World) {
    let invoice = world.invoice().await;
    let canceled = world.client.cancel_invoice(&invoice.id).await.unwrap();
    assert_eq!((canceled.status(), canceled.exception()), (Status::Expired, Exception::Canceled));
    let again = world.client.cancel_invoice(&invoice.id).await.unwrap();
    assert_eq!(again.status(), Status::Expired);
    world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    world.wait_available(asked(&invoice)).await;
    let last = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!(last.exception(), Exception::Canceled);
    world.wait_told(&invoice, &["invoice.canceled"]).await;
}

pub async fn canceling_after_a_payment_is_refused(world: &mut World) {
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 2).await;
    world.wait(&invoice, Status::Pending, Exception::Underpaid).await;
    let refused = world.client.cancel_invoice(&invoice.id).await.unwrap_err();
    assert_eq!(refused.reason(), Some("INVOICE_NOT_CANCELABLE"));
    world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, Status::Confirming, Exception::None).await;
}

pub async fn one_transaction_pays_two_invoices_and_one_twice(world: &mut World) {
    let (one, two) = (world.invoice().await, world.invoice().await);
    let (address, half) = share(&two, 1, 2);
    let outputs = [share(&one, 1, 1), (address.clone(), half), (address, asked(&two) - half)];
    let txid = world.pay_all(&outputs).await;
    // Where only a contract can pay several at once, its payments are seen in their block.
    world.chain.mine(1).await.unwrap();
    for invoice in [&one, &two] {
        let seen = world.wait(invoice, Status::Confirming, Exception::None).await;
        assert_eq!(seen.txid.as_deref(), Some(txid.as_str()));
    }
    world.mine_deep(&one).await;
    for (invoice, payments) in [(&one, 1), (&two, 2)] {
        let confirmed = world.wait(invoice, Status::Confirmed, Exception::None).await;
        assert_eq!(confirmed.payments.len(), payments);
        world.wait_told(invoice, &["payment.detected", "payment.confirmed"]).await;
    }
    world.wait_available(asked(&one) + asked(&two)).await;
}

pub async fn replaced_before_a_block_goes_back(world: &mut World) {
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, Status::Confirming, Exception::None).await;
    world.chain.replace(&txid, &[]).await.unwrap();
    let back = world.wait(&invoice, Status::Pending, Exception::Reorged).await;
    assert_eq!((back.paid_units.as_str(), back.txid.as_deref()), ("0", None));
    world.mine_deep(&invoice).await;
    world.wait_available(0).await;
    world.wait_told(&invoice, &["payment.detected", "invoice.reorged"]).await;
}

pub async fn eviction_changes_nothing(world: &mut World) {
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, Status::Confirming, Exception::None).await;
    world.chain.evict(&txid).await.unwrap();
    // Another payment is seen after the eviction, so the scanner has read a mempool without it.
    let other = world.invoice().await;
    world.pay(&other, 1, 1).await;
    world.wait(&other, Status::Confirming, Exception::None).await;
    let still = world.client.get_invoice(&invoice.id).await.unwrap();
    assert_eq!((still.status(), still.exception()), (Status::Confirming, Exception::None));
    assert_eq!(still.paid_units, invoice.amount_units);
    world.wait_told(&invoice, &["payment.detected"]).await;
}

pub async fn reorganised_payment_confirms_again(world: &mut World) {
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    let required = invoice.confirmations.unwrap().required;
    world.mine_until(required).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;

    world.fork(required, &txid, ForkFate::Unconfirm).await;
    let back = world.wait(&invoice, Status::Confirming, Exception::Reorged).await;
    assert_eq!(back.confirmations.unwrap().received, 0);
    world.chain.mine(required).await.unwrap();
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    let events =
        ["payment.detected", "payment.confirmed", "invoice.reorged", "invoice.reconfirmed"];
    world.wait_told(&invoice, &events).await;
}

pub async fn double_spend_of_a_confirmed_payment_takes_the_credit_back(world: &mut World) {
    let (kept, lost) = (world.invoice().await, world.invoice().await);
    let good = world.pay(&kept, 1, 1).await;
    let bad = world.pay(&lost, 1, 1).await;
    world.wait_seen(&kept, &good).await;
    world.wait_seen(&lost, &bad).await;
    let required = kept.confirmations.unwrap().required;
    world.mine_until(required).await;
    world.wait(&lost, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&kept) + asked(&lost)).await;

    world.fork(required, &bad, ForkFate::DoubleSpend).await;
    let back = world.wait(&lost, Status::Pending, Exception::Reorged).await;
    assert_eq!(back.paid_units, "0");
    world.mine_deep(&kept).await;
    world.wait(&kept, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&kept)).await;
    let events = ["payment.detected", "payment.confirmed", "invoice.reorged"];
    world.wait_told(&lost, &events).await;
}

pub async fn restart_in_between_loses_nothing(world: &mut World) {
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.wait_seen(&invoice, &txid).await;
    world.server.restart().await;
    world.client = world.server.client();
    world.mine_deep(&invoice).await;
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.server.restart().await;
    world.client = world.server.client();
    world.wait_available(asked(&invoice)).await;
    world.wait_told(&invoice, &["payment.detected", "payment.confirmed"]).await;
}

pub async fn payment_while_down_is_found(world: &mut World) {
    let invoice = world.invoice().await;
    world.server.stop().await;
    world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    world.server.run().await;
    world.client = world.server.client();
    world.wait(&invoice, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&invoice)).await;
    world.wait_told(&invoice, &["payment.detected", "payment.confirmed"]).await;
}
