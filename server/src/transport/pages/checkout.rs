//! The checkout page as HTML. Its parts have names: the script replaces those that changed by what
//! this file rendered anew, so that a payment looks the same with and without a reload. Every value
//! is escaped by the template. Not here: words (`texts`), headers (`mod`).

use cryptopayment_proto::checkout::v1::Checkout;
use cryptopayment_proto::v1::{InvoiceException as Exception, InvoiceStatus as Status};
use maud::{DOCTYPE, Markup, html};

use super::assets::ASSETS;
use super::qr;
use super::texts::{self, Notice, State, Tone};
use crate::domain::payment_request;

/// How long one request for news may wait for some, in seconds; 0 asks again and again instead.
const WAIT_SECONDS: u32 = 25;

/// The page of an invoice. `playable` adds the buttons of a test deployment.
pub fn page(checkout: &Checkout, playable: bool) -> Markup {
    let state = texts::state(checkout);
    let title = format!("{} · {} {}", state.title, checkout.amount_crypto, checkout.coin);
    let api = format!("../checkout/v1/invoices/{}", checkout.id);
    let body = html! {
        @if checkout.is_sandbox {
            p class="banner" { (texts::SANDBOX_BANNER) }
        }
        main id="checkout" class="card" data-api=(api) data-wait-seconds=(WAIT_SECONDS)
            data-copied=(texts::COPIED) {
            div class="order" {
                div data-part="state" class="state" role="status" { (state_part(&state)) }
                div data-part="progress" { (progress(checkout)) }
                div data-part="amount" { (amount(checkout)) }
                div data-part="address" class="pay" { (address(checkout)) }
                div data-part="facts" { (facts(checkout)) }
            }
            div data-part="code" class="code" { (code(checkout)) }
            p class="offline" data-offline hidden { (texts::OFFLINE) }
            noscript { p class="note" { (texts::NO_SCRIPT) } }
            @if playable { (sandbox()) }
        }
        p class="foot needs-script" { (texts::FOOTER) }
        p class="unseen" role="status" data-said {}
    };
    document(&title, &body)
}

/// A page that shows no invoice.
pub fn notice(notice: &Notice) -> Markup {
    let state =
        State { tone: Tone::Closed, title: notice.title.to_owned(), text: notice.text.to_owned() };
    document(notice.title, &html! { main class="card alone" { (state_part(&state)) } })
}

/// A page of this server's.
pub(super) fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                link rel="icon" type="image/svg+xml" href=(ASSETS.icon.url());
                link rel="stylesheet" href=(ASSETS.style.url());
                script src=(ASSETS.script.url()) defer {}
            }
            body { (body) }
        }
    }
}

fn state_part(state: &State) -> Markup {
    html! {
        span class={ "badge " (state.tone.as_str()) } { (icon(state.tone)) }
        div {
            h1 { (state.title) }
            p { (state.text) }
        }
    }
}

/// The tone's sign, for those who see no colours.
fn icon(tone: Tone) -> Markup {
    let path = match tone {
        Tone::Waiting => "M12 4.5a7.5 7.5 0 1 0 .01 0M12 8.5v4l2.6 1.5",
        Tone::Progress => "M12 17V7m-4.5 4.5L12 7l4.5 4.5",
        Tone::Done => "M7 12.5l3.5 3.5L17 8.5",
        Tone::Attention => "M12 6v7m0 4.5v.1",
        Tone::Closed => "M8.5 8.5l7 7m0-7l-7 7",
    };
    drawn(path)
}

/// Beside the network's warning.
const WARNING_SIGN: &str = "M12 3.5a8.5 8.5 0 1 0 .01 0M12 7.5v5.5m0 3.2v.1";

fn drawn(path: &str) -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor"
            stroke-width="2" stroke-linecap="round" stroke-linejoin="round" {
            path d=(path) {}
        }
    }
}

/// How many confirmations there are of how many, once there is a payment to confirm.
fn progress(checkout: &Checkout) -> Markup {
    let confirmations = checkout.confirmations.unwrap_or_default();
    if checkout.status() != Status::Confirming {
        return html! {};
    }
    let said = format!("{} of {}", confirmations.received, confirmations.required);
    html! {
        label class="depth" {
            span { "Confirmations" }
            span class="count" { (said) }
            progress max=(confirmations.required) value=(confirmations.received) { (said) }
        }
    }
}

fn amount(checkout: &Checkout) -> Markup {
    let part = is_payable(checkout)
        && (checkout.paid_amount != "0" || checkout.exception() != Exception::None);
    let (label, coins) = if part {
        ("Still to pay", &checkout.missing_amount)
    } else {
        ("Amount", &checkout.amount_crypto)
    };
    html! {
        div class="amount" {
            div {
                span class="label" { (label) }
                strong { (coins) " " span class="coin" { (checkout.coin) } }
                span class="fiat" {
                    @if coins != &checkout.amount_crypto {
                        "of " (checkout.amount_crypto) " " (checkout.coin) " · "
                    }
                    "$" (checkout.amount_usd) " · " (checkout.network_label)
                }
            }
            @if is_payable(checkout) { (copy("amount", coins)) }
            @if is_payable(checkout) { (clock(checkout)) }
        }
    }
}

/// What is left of the time to pay, by the server's own clock.
fn clock(checkout: &Checkout) -> Markup {
    let seconds_of = |at: &Option<prost_types::Timestamp>| at.as_ref().map_or(0, |at| at.seconds);
    let left = (seconds_of(&checkout.expires_at) - seconds_of(&checkout.now)).max(0);
    html! {
        p class="clock" {
            span { "Time left to pay" }
            span class="left" role="timer" data-left=(left) { (minutes(left)) }
        }
    }
}

/// As the script writes it too: `29:05`, or `1:00:05`.
fn minutes(left: i64) -> String {
    let (hours, minutes, seconds) = (left / 3_600, left / 60 % 60, left % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// What arrived.
fn facts(checkout: &Checkout) -> Markup {
    let exact = checkout.paid_amount == checkout.amount_crypto;
    let other = checkout.paid_amount != "0" && !exact;
    html! {
        @if other || checkout.txid.is_some() {
            dl class="facts" {
                @if other {
                    div { dt { "Received" } dd { (checkout.paid_amount) " " (checkout.coin) } }
                }
                @if let Some(txid) = &checkout.txid {
                    div {
                        dt { "Transaction" }
                        dd class="long" { code { (txid) } (copy("transaction", txid)) }
                    }
                }
            }
        }
    }
}

/// Where to pay, while it can be paid.
fn address(checkout: &Checkout) -> Markup {
    if !is_payable(checkout) {
        return html! {};
    }
    html! {
        div class="address" {
            span class="label" { (checkout.network_label) " address" }
            code { (checkout.address) }
            (copy("address", &checkout.address))
        }
        p class="warning" { (drawn(WARNING_SIGN)) span { (checkout.network_warning) } }
        @if let Some(uri) = &checkout.payment_uri {
            a class="button primary" href=(uri) { (texts::OPEN_WALLET) }
        }
    }
}

/// The same for a wallet on another device.
fn code(checkout: &Checkout) -> Markup {
    if !is_payable(checkout) {
        return html! {};
    }
    let address = &checkout.address;
    let plain = || qr::svg(address, &format!("QR code: the address {address}"));
    let is_scanned = checkout.network.parse().is_ok_and(payment_request::is_scanned);
    let Some(uri) = checkout.payment_uri.as_ref().filter(|_| is_scanned) else {
        return html! {
            @if let Some(svg) = plain() { (svg) }
            p class="hint" { (texts::SCAN_ADDRESS) }
        };
    };
    let label = format!("QR code: pay {} {} to {address}", checkout.missing_amount, checkout.coin);
    html! {
        @if let Some(svg) = qr::svg(uri, &label) { (svg) }
        p class="hint" { (texts::SCAN_REQUEST) }
        details {
            summary { (texts::ADDRESS_ONLY) }
            @if let Some(svg) = plain() { (svg) }
        }
    }
}

/// Whether the page asks for money: what is not sent now comes too late or is too much.
fn is_payable(checkout: &Checkout) -> bool {
    let open = checkout.status() == Status::Pending && !checkout.expiry_waits_for_network;
    open && checkout.missing_amount != "0"
}

fn copy(what: &str, text: &str) -> Markup {
    html! {
        button type="button" class="copy needs-script" data-copy=(text)
            aria-label={ (texts::COPY) " " (what) } { (texts::COPY) }
    }
}

fn sandbox() -> Markup {
    html! {
        section class="sandbox needs-script" aria-labelledby="sandbox-title" {
            h2 id="sandbox-title" { (texts::SANDBOX_TITLE) }
            p { (texts::SANDBOX_TEXT) }
            div class="buttons" {
                @for (words, call, body) in texts::SANDBOX_BUTTONS {
                    button type="button" class="button" data-play=(call) data-body=(body) { (words) }
                }
            }
            p class="note" role="status" data-played {}
        }
    }
}

#[cfg(test)]
#[path = "checkout_tests.rs"]
mod tests;
