//! The sandbox's scenarios: how a payment may go, each as a script of steps, and when a step is over.
//! A merchant names one in an invoice's metadata, or by call. Not here: playing it
//! (`worker::scenarios`), keeping how far it is (`chain::sandbox`).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::deposit::Deposit;
use super::invoice::{Exception, Standing, Status};

/// How long an invoice waits for its payment if its scenario is about to miss it.
pub const SHORT_LIFETIME: Duration = Duration::from_secs(20);

/// A way for a payment to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scenario {
    /// What is asked, in one transaction.
    Paid,
    /// Half of what is asked, and nothing more until the invoice expires.
    Underpaid,
    /// One and a half times what is asked.
    Overpaid,
    /// What is asked, in two transactions.
    TwoParts,
    /// What is asked, after the invoice expired.
    Late,
    /// Paid and confirmed; then a fork loses the transaction, and it is sent again.
    Reorg,
    /// Paid and confirmed; then a fork holds a transaction that pays somebody else.
    DoubleSpend,
    /// Nothing at all.
    Expire,
}

/// How much one transaction pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// What is asked.
    All,
    /// Half of it.
    Half,
    /// What half of it leaves.
    Rest,
    /// One and a half times as much.
    Over,
}

/// What a fork does to the scenario's last transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is in no block, and no node has it until it is sent again.
    Dropped,
    /// Another transaction consumes the same and pays somebody else.
    DoubleSpent,
}

/// What is done to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Sends a transaction.
    Pay(Share),
    /// Mines what the payment needs to be credited, where no miner does.
    Bury,
    /// Replaces the blocks from the last transaction's on.
    Fork(Loss),
    /// Sends the last transaction again.
    Resend,
}

/// What the invoice must show before the script goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// A part is seen.
    Underpaid,
    /// The full amount is seen, in time or not.
    Full,
    /// It is confirmed.
    Confirmed,
    /// It is confirmed no more.
    Fallen,
    /// It expired.
    Expired,
    /// Every transaction of the scenario is credited.
    Credited,
}

/// One step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptStep {
    /// Done once.
    Do(Act),
    /// Waited for.
    Until(Condition),
}

/// A name that no scenario has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of paid, underpaid, overpaid, two_parts, late, reorg, double_spend, expire")]
pub struct UnknownScenario;

/// What the sandbox reads of the merchant's JSON.
#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    sandbox: Value,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 8] = [
        Self::Paid,
        Self::Underpaid,
        Self::Overpaid,
        Self::TwoParts,
        Self::Late,
        Self::Reorg,
        Self::DoubleSpend,
        Self::Expire,
    ];

    /// Its name in metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Underpaid => "underpaid",
            Self::Overpaid => "overpaid",
            Self::TwoParts => "two_parts",
            Self::Late => "late",
            Self::Reorg => "reorg",
            Self::DoubleSpend => "double_spend",
            Self::Expire => "expire",
        }
    }

    /// The scenario of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.as_str() == name)
    }

    /// The scenario that a metadata object names under `sandbox`; absent and `null` name none.
    ///
    /// # Errors
    /// When what stands there is no scenario's name.
    pub fn of_metadata(metadata: &str) -> Result<Option<Self>, UnknownScenario> {
        match serde_json::from_str(metadata).map(|Metadata { sandbox }| sandbox) {
            Ok(Value::Null) => Ok(None),
            Ok(Value::String(name)) => Self::parse(&name).map(Some).ok_or(UnknownScenario),
            _ => Err(UnknownScenario),
        }
    }

    /// Whether the invoice must expire for the scenario to go on.
    pub fn needs_expiry(self) -> bool {
        self.script().contains(&ScriptStep::Until(Condition::Expired))
    }

    /// What happens, in order.
    pub const fn script(self) -> &'static [ScriptStep] {
        use Act::{Bury, Fork, Pay, Resend};
        use Condition::{Confirmed, Credited, Expired, Fallen, Full, Underpaid};
        use ScriptStep::{Do, Until};
        match self {
            Self::Paid => &[Do(Pay(Share::All)), Until(Full), Do(Bury), Until(Confirmed)],
            Self::Overpaid => &[Do(Pay(Share::Over)), Until(Full), Do(Bury), Until(Confirmed)],
            Self::TwoParts => &[
                Do(Pay(Share::Half)),
                Until(Underpaid),
                Do(Pay(Share::Rest)),
                Until(Full),
                Do(Bury),
                Until(Confirmed),
            ],
            Self::Underpaid => {
                &[Do(Pay(Share::Half)), Until(Underpaid), Until(Expired), Do(Bury), Until(Credited)]
            }
            Self::Late => {
                &[Until(Expired), Do(Pay(Share::All)), Until(Full), Do(Bury), Until(Credited)]
            }
            // Dropped, not only taken out of its block: a miner would include it again before
            // anybody sees that it was gone.
            Self::Reorg => &[
                Do(Pay(Share::All)),
                Until(Full),
                Do(Bury),
                Until(Confirmed),
                Do(Fork(Loss::Dropped)),
                Until(Fallen),
                Do(Resend),
                Do(Bury),
                Until(Confirmed),
            ],
            Self::DoubleSpend => &[
                Do(Pay(Share::All)),
                Until(Full),
                Do(Bury),
                Until(Confirmed),
                Do(Fork(Loss::DoubleSpent)),
                Until(Fallen),
            ],
            Self::Expire => &[Until(Expired)],
        }
    }
}

impl Share {
    /// Base units of an invoice over `amount`.
    pub const fn of(self, amount: u128) -> u128 {
        let half = if amount < 2 { amount } else { amount / 2 };
        match self {
            Self::All => amount,
            Self::Half => half,
            Self::Rest => amount - half,
            Self::Over => amount.saturating_add(half),
        }
    }
}

impl Condition {
    /// Whether the invoice shows it; `txids` are the scenario's transactions.
    pub fn holds(self, standing: Standing, deposits: &[Deposit], txids: &[String]) -> bool {
        let Standing { status, exception, .. } = standing;
        match self {
            Self::Underpaid => exception == Exception::Underpaid,
            Self::Full => {
                matches!(status, Status::Confirming | Status::Confirmed)
                    || exception == Exception::Late
            }
            Self::Confirmed => status == Status::Confirmed,
            Self::Fallen => status != Status::Confirmed,
            Self::Expired => status == Status::Expired,
            Self::Credited => {
                txids.iter().all(|txid| deposits.iter().any(|d| d.txid == *txid && d.credited))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn metadata_names_a_scenario_under_one_key() {
        for scenario in Scenario::ALL {
            let text = format!("{{\"a\":1,\"sandbox\":\"{}\"}}", scenario.as_str());
            assert_eq!(Scenario::of_metadata(&text), Ok(Some(scenario)));
            assert!(UnknownScenario.to_string().contains(scenario.as_str()), "{scenario:?}");
        }
        for none in ["{}", "{\"sandbox\":null}", "{\"Sandbox\":\"late\"}", "{\"a\":\"late\"}"] {
            assert_eq!(Scenario::of_metadata(none), Ok(None), "{none}");
        }
        let escaped = "{\"\\u0073andbox\":\"l\\u0061te\"}";
        assert_eq!(Scenario::of_metadata(escaped), Ok(Some(Scenario::Late)));
        for wrong in ["\"\"", "\"LATE\"", "\"reorged\"", "true", "1", "[]", "{\"name\":\"late\"}"] {
            let text = format!("{{\"sandbox\":{wrong}}}");
            assert_eq!(Scenario::of_metadata(&text), Err(UnknownScenario), "{text}");
        }
    }

    #[test]
    fn the_parts_of_two_parts_are_the_amount() {
        for amount in [1, 2, 3, 50_000_001, u128::MAX] {
            assert_eq!(Share::Half.of(amount) + Share::Rest.of(amount), amount);
        }
        assert_eq!(Share::Over.of(101), 151);
    }

    #[test]
    fn only_what_must_expire_lives_shortly() {
        let short: Vec<_> = Scenario::ALL.into_iter().filter(|s| s.needs_expiry()).collect();
        assert_eq!(short, [Scenario::Underpaid, Scenario::Late, Scenario::Expire]);
    }
}
