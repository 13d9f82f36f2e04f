//! Every state of the checkout page is well-formed HTML, says what it should, and escapes whatever
//! stands in it.

#![allow(clippy::unwrap_used)]

use cryptopayment_proto::v1::Confirmations;
use prost_types::Timestamp;

use super::*;
use crate::domain::asset::Network;

/// Elements that have no end tag.
const VOID: [&str; 3] = ["meta", "link", "!DOCTYPE"];

fn checkout(status: Status, exception: Exception, paid: &str) -> Checkout {
    Checkout {
        id: "01a21368-9ae0-7289-b7a5-aff4f692999d".to_owned(),
        status: status.into(),
        exception: exception.into(),
        network: "ltc".to_owned(),
        network_label: "Litecoin".to_owned(),
        network_warning: texts::network_warning(Network::Ltc).to_owned(),
        coin: "LTC".to_owned(),
        amount_crypto: "0.625".to_owned(),
        amount_usd: "50.00".to_owned(),
        paid_amount: paid.to_owned(),
        missing_amount: "0.325".to_owned(),
        address: "rltc1qaddress".to_owned(),
        payment_uri: Some("litecoin:rltc1qaddress?amount=0.325".to_owned()),
        confirmations: Some(Confirmations { received: 2, required: 6 }),
        txid: (paid != "0").then(|| "ab".repeat(32)),
        expires_at: Some(Timestamp { seconds: 5_000, nanos: 0 }),
        now: Some(Timestamp { seconds: 3_255, nanos: 0 }),
        is_sandbox: true,
        ..Default::default()
    }
}

/// Every start tag has its end tag, in the right order.
fn assert_well_formed(html: &str) {
    let mut open = Vec::new();
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("`<{part}` has no end"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {html}");
        } else {
            let name = tag.split_whitespace().next().unwrap();
            if !VOID.contains(&name) {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
}

#[test]
fn every_state_says_what_to_do_and_asks_only_while_it_can_be_paid() {
    let cases = [
        (Status::Pending, Exception::None, "0", "Waiting for your payment", true),
        (Status::Pending, Exception::Underpaid, "0.30", "0.325 LTC still missing", true),
        (Status::Pending, Exception::Reorged, "0", "Your payment was undone", true),
        (Status::Confirming, Exception::None, "0.625", "Payment detected", false),
        (Status::Confirming, Exception::Reorged, "0.625", "confirmed anew", false),
        (Status::Confirmed, Exception::None, "0.625", "Thank you", false),
        (Status::Confirmed, Exception::Overpaid, "1.00", "We received 1.00 LTC instead", false),
        (Status::Expired, Exception::None, "0", "Nothing arrived", false),
        (Status::Expired, Exception::Underpaid, "0.30", "Do not send the rest", false),
        (Status::Expired, Exception::Reorged, "0", "Your payment was undone, and the time", false),
        (Status::Expired, Exception::Late, "0.625", "Your payment came too late", false),
        (Status::Expired, Exception::Canceled, "0", "Canceled by the shop", false),
    ];
    for (status, exception, paid, says, asks) in cases {
        let html = page(&checkout(status, exception, paid), true).into_string();
        assert_well_formed(&html);
        assert!(html.contains(says), "{status:?} {exception:?}: {html}");
        for asked in ["rltc1qaddress", "<rect", "Time left", "Open in wallet"] {
            assert_eq!(html.contains(asked), asks, "{asked}: {status:?} {exception:?}");
        }
        assert_eq!(html.contains("2 of 6"), status == Status::Confirming);
        assert_eq!(html.contains(&"ab".repeat(32)), paid != "0");
    }
}

#[test]
fn a_time_that_is_over_and_unread_asks_for_nothing() {
    let waits = Checkout {
        expiry_waits_for_network: true,
        ..checkout(Status::Pending, Exception::None, "0")
    };
    let html = page(&waits, false).into_string();
    assert_well_formed(&html);
    assert!(html.contains("Do not send anything now"), "{html}");
    assert!(!html.contains("rltc1qaddress") && !html.contains("data-play"), "{html}");
}

#[test]
fn a_chain_that_finalises_late_is_no_reason_to_pay_again() {
    let late = Checkout {
        finality_is_delayed: true,
        ..checkout(Status::Confirming, Exception::None, "0.625")
    };
    let html = page(&late, false).into_string();
    assert_well_formed(&html);
    assert!(
        html.contains("takes longer than usual") && html.contains("Do not pay again"),
        "{html}"
    );
}

#[test]
fn what_was_seen_counts_before_the_status_follows() {
    let full = Checkout {
        missing_amount: "0".to_owned(),
        payment_uri: None,
        ..checkout(Status::Pending, Exception::None, "0.625")
    };
    let html = page(&full, false).into_string();
    assert!(html.contains("Payment detected") && !html.contains("rltc1qaddress"), "{html}");
    let part = checkout(Status::Pending, Exception::None, "0.30");
    assert!(page(&part, false).into_string().contains("0.325 LTC still missing"));
}

#[test]
fn a_form_that_not_every_wallet_scans_is_a_link_beside_the_code_of_the_address() {
    let uri = "tron:TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs?amount=0.325&token=T";
    let tron = Checkout {
        network: "trc20".to_owned(),
        payment_uri: Some(uri.to_owned()),
        ..checkout(Status::Pending, Exception::None, "0")
    };
    let html = page(&tron, false).into_string();
    assert_well_formed(&html);
    assert!(html.contains(&format!("href=\"{}\"", uri.replace('&', "&amp;"))), "{html}");
    assert!(html.contains("QR code: the address rltc1qaddress"), "{html}");
    assert!(!html.contains("QR code: pay") && !html.contains(texts::ADDRESS_ONLY), "{html}");
    let scanned = page(&checkout(Status::Pending, Exception::None, "0"), false).into_string();
    assert!(scanned.contains("QR code: pay 0.325 LTC to rltc1qaddress"), "{scanned}");
}

#[test]
fn the_countdown_is_the_servers() {
    let html = page(&checkout(Status::Pending, Exception::None, "0"), false).into_string();
    assert!(html.contains("data-left=\"1745\">29:05<"), "{html}");
    assert_eq!((minutes(0), minutes(3_605)), ("00:00".to_owned(), "1:00:05".to_owned()));
}

#[test]
fn whatever_stands_in_it_is_text() {
    let evil = "\"'><script>alert(1)</script>&amp;";
    let html = page(
        &Checkout {
            network_label: evil.to_owned(),
            network_warning: evil.to_owned(),
            coin: evil.to_owned(),
            amount_crypto: evil.to_owned(),
            amount_usd: evil.to_owned(),
            paid_amount: evil.to_owned(),
            missing_amount: evil.to_owned(),
            address: evil.to_owned(),
            payment_uri: Some(evil.to_owned()),
            txid: Some(evil.to_owned()),
            ..checkout(Status::Pending, Exception::Underpaid, "0.30")
        },
        true,
    )
    .into_string();
    assert_well_formed(&html);
    assert!(!html.contains("<script>") && html.matches("<script").count() == 1, "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"), "{html}");
}

#[test]
fn a_live_page_has_neither_banner_nor_buttons() {
    let live = Checkout { is_sandbox: false, ..checkout(Status::Pending, Exception::None, "0") };
    let html = page(&live, false).into_string();
    assert!(!html.contains(texts::SANDBOX_BANNER) && !html.contains("data-play"), "{html}");
    let html = notice(&texts::NOT_FOUND).into_string();
    assert_well_formed(&html);
    assert!(html.contains("There is no such payment"), "{html}");
}
