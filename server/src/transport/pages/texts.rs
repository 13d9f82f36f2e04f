//! Every word that a payer reads, in English, in one place. Not here: how it looks (`checkout`).

use cryptopayment_proto::checkout::v1::Checkout;
use cryptopayment_proto::v1::{InvoiceException as Exception, InvoiceStatus as Status};

use crate::domain::asset::Network;

/// What stands on a test deployment's pages.
pub const SANDBOX_BANNER: &str = "Test mode: simulated coins. Do not send real money.";
/// Over the buttons of a test deployment.
pub const SANDBOX_TITLE: &str = "Play the payer";
/// What those buttons are for.
pub const SANDBOX_TEXT: &str =
    "This is a test. These buttons do what a wallet and the network would do.";
/// What is said while the server can not be reached.
pub const OFFLINE: &str = "No connection. Trying again.";
/// What is said where no script runs.
pub const NO_SCRIPT: &str = "Without JavaScript this page does not update by itself. \
    Reload it to see whether your payment arrived.";
/// At the foot of the page.
pub const FOOTER: &str = "This page updates by itself. You may close it after you paid.";
/// Where a wallet can be opened.
pub const OPEN_WALLET: &str = "Open in wallet";
/// Beside what can be copied.
pub const COPY: &str = "Copy";
/// After it was copied.
pub const COPIED: &str = "Copied";
/// Below a code that asks for the amount.
pub const SCAN_REQUEST: &str = "Scan with your wallet: address and amount are in the code.";
/// Below a code that holds the address.
pub const SCAN_ADDRESS: &str = "Scan with your wallet, then enter the amount.";
/// Over the second code.
pub const ADDRESS_ONLY: &str = "Your wallet can not read it?";

/// A button of a test deployment: its words, the call, the call's body.
pub const SANDBOX_BUTTONS: [(&str, &str, &str); 6] = [
    ("Pay", "pay", r#"{"kind":"exact"}"#),
    ("Pay half", "pay", r#"{"kind":"partial"}"#),
    ("Overpay", "pay", r#"{"kind":"over"}"#),
    ("Mine a block", "mine", r#"{"blocks":1}"#),
    ("Reorganise", "reorg", r#"{"fate":"unconfirm"}"#),
    ("Double-spend", "reorg", r#"{"fate":"double_spend"}"#),
];

/// A page that shows no payment.
pub struct Notice {
    /// The headline.
    pub title: &'static str,
    /// What to do.
    pub text: &'static str,
}

/// There is no such invoice.
pub const NOT_FOUND: Notice = Notice {
    title: "There is no such payment",
    text: "The link is incomplete or wrong. Go back to the shop and open it from there again.",
};

/// A page was called as if it were an API.
pub const ONLY_READ: Notice = Notice {
    title: "This page can only be opened",
    text: "Nothing was changed. Open the link in a browser; programs call the API instead.",
};

/// The server can not answer.
pub const UNAVAILABLE: Notice = Notice {
    title: "Not available right now",
    text: "Your payment is safe. Reload this page in a moment.",
};

/// What is lost if it is paid in another way.
pub const fn network_warning(network: Network) -> &'static str {
    match network {
        Network::Trc20 => {
            "Send only USDT on TRON (TRC20) to this address. Other coins, or USDT on another \
             network, are lost."
        }
        Network::Bep20 => {
            "Send only USDT on BNB Smart Chain (BEP20) to this address. Other coins, or USDT on \
             another network, are lost."
        }
        Network::Btc => {
            "Send only Bitcoin (BTC) on the Bitcoin network to this address. Anything else is lost."
        }
        Network::Ltc => {
            "Send only Litecoin (LTC) on the Litecoin network to this address. Anything else is \
             lost."
        }
        Network::Eth => {
            "Send only Ether (ETH) on the Ethereum network to this address. Tokens, and Ether on \
             another network, are lost."
        }
    }
}

/// How a state feels: decides its colour and icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something is awaited.
    Waiting,
    /// It goes well.
    Progress,
    /// It went well.
    Done,
    /// The payer has to do or know something.
    Attention,
    /// It is over.
    Closed,
}

impl Tone {
    /// Its name in the style sheet.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Progress => "progress",
            Self::Done => "done",
            Self::Attention => "attention",
            Self::Closed => "closed",
        }
    }
}

/// Where a payment stands, for its payer.
pub struct State {
    /// How it feels.
    pub tone: Tone,
    /// The headline.
    pub title: String,
    /// What it means and what to do.
    pub text: String,
}

impl State {
    fn new(tone: Tone, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { tone, title: title.into(), text: text.into() }
    }
}

/// What to tell the payer.
pub fn state(checkout: &Checkout) -> State {
    match checkout.status() {
        Status::Confirming => confirming(checkout),
        Status::Confirmed => confirmed(checkout),
        Status::Expired => expired(checkout),
        Status::Pending | Status::Unspecified => pending(checkout),
    }
}

fn pending(checkout: &Checkout) -> State {
    let Checkout { coin, paid_amount, missing_amount, .. } = checkout;
    if checkout.expiry_waits_for_network {
        return State::new(
            Tone::Attention,
            "The time is over",
            "We are checking whether your payment was sent in time. Do not send anything now.",
        );
    }
    // The status follows what was seen by a moment.
    if missing_amount == "0" {
        return detected();
    }
    match checkout.exception() {
        Exception::Reorged => State::new(
            Tone::Attention,
            "Your payment was undone",
            format!(
                "The network took it back, or it was replaced by another. {missing_amount} {coin} \
                 are missing. Look into your wallet before you pay again."
            ),
        ),
        _ if paid_amount != "0" => State::new(
            Tone::Attention,
            format!("{missing_amount} {coin} still missing"),
            format!(
                "We received {paid_amount} {coin}. Send the rest to the same address before the \
                 time is over."
            ),
        ),
        _ => State::new(
            Tone::Waiting,
            "Waiting for your payment",
            "Send the exact amount. Network fees come on top: if you pay from an exchange, check \
             what arrives.",
        ),
    }
}

fn confirming(checkout: &Checkout) -> State {
    if checkout.exception() == Exception::Reorged {
        return State::new(
            Tone::Attention,
            "Your payment is confirmed anew",
            "The network rearranged its newest blocks. Your payment is not lost; it only takes \
             longer. You need not do anything.",
        );
    }
    if checkout.finality_is_delayed {
        return State::new(
            Tone::Attention,
            "The network takes longer than usual",
            "Your payment is in a block, and the network is late in making its blocks final. It is \
             confirmed as soon as that goes on. Do not pay again.",
        );
    }
    detected()
}

fn detected() -> State {
    State::new(
        Tone::Progress,
        "Payment detected",
        "The network is confirming it. You need not do anything, and you may close this page.",
    )
}

fn confirmed(checkout: &Checkout) -> State {
    let Checkout { coin, paid_amount, amount_crypto, .. } = checkout;
    if checkout.exception() == Exception::Overpaid {
        return State::new(
            Tone::Done,
            "Paid, and more than asked",
            format!(
                "We received {paid_amount} {coin} instead of {amount_crypto} {coin}. Ask the shop \
                 for the difference."
            ),
        );
    }
    State::new(Tone::Done, "Paid", "Thank you. The shop knows that your payment is complete.")
}

fn expired(checkout: &Checkout) -> State {
    let Checkout { coin, paid_amount, amount_crypto, .. } = checkout;
    match checkout.exception() {
        Exception::Canceled => State::new(
            Tone::Closed,
            "Canceled by the shop",
            "Do not send anything. If you still want to buy, start again in the shop.",
        ),
        Exception::Late => State::new(
            Tone::Attention,
            "Your payment came too late",
            format!(
                "We received {paid_amount} {coin} after the time was over. The shop has the money: \
                 ask it to complete your order or to pay you back, and give it the transaction \
                 below."
            ),
        ),
        Exception::Underpaid => State::new(
            Tone::Attention,
            "The time is over, and a part is missing",
            format!(
                "We received {paid_amount} of {amount_crypto} {coin}. Do not send the rest. The \
                 shop has what you sent: ask it to complete your order or to pay you back, and \
                 give it the transaction below."
            ),
        ),
        Exception::Reorged => State::new(
            Tone::Attention,
            "Your payment was undone, and the time is over",
            "The network took it back, or it was replaced by another. Look into your wallet: the \
             money may be there again. Do not send anything to this address any more: start again \
             in the shop.",
        ),
        _ => State::new(
            Tone::Closed,
            "The time is over",
            "Nothing arrived. Do not send anything to this address any more: start again in the \
             shop.",
        ),
    }
}
