//! The player of sandbox scenarios: looks at each one that is being played, at its invoice and its
//! chain, and takes the step that is due. It keeps nothing in memory. Not here: the scripts
//! (`domain::scenario`), the steps' effect on a chain (`chain::sandbox`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Step;
use crate::chain::ChainError;
use crate::chain::sandbox::scenarios::{Move, OpenScenario};
use crate::chain::sandbox::{Sandbox, SandboxChain};
use crate::domain::asset::Network;
use crate::domain::scenario::{Act, Scenario, ScriptStep};
use crate::env::Env;
use crate::store::Db;
use crate::store::invoices::{self, InvoiceView};

/// Scenarios read at a time.
const PAGE_SCENARIOS_MAX: u32 = 100;
/// How long a note waits for its invoice to be written.
const INVOICE_SECONDS_MAX: u64 = 600;
/// How long after its invoice's expiry a scenario is given up, business time.
const GIVE_UP_SECONDS: u64 = 86_400;

/// A simulated chain to play on.
pub struct Stage {
    /// The chain.
    pub chain: SandboxChain,
    /// Whether blocks come by themselves.
    pub has_miner: bool,
}

/// The player of every network's scenarios.
pub struct Player {
    /// The ledger's database; only read.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// The file that the scenarios are in.
    pub sandbox: Sandbox,
    /// The chains.
    pub stages: BTreeMap<Network, Stage>,
}

/// What is to be done about a scenario now.
enum Due {
    Nothing,
    Forget,
    Abandon,
    Step(Move),
}

impl Player {
    /// Looks at every scenario once.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        let mut after = 0;
        let mut outcome = Step::Idle;
        loop {
            let page = self.sandbox.open_scenarios(after, PAGE_SCENARIOS_MAX).await?;
            let Some(last) = page.last() else { return Ok(outcome) };
            after = last.n;
            for scenario in &page {
                match self.play(scenario).await {
                    Ok(true) => outcome = Step::More,
                    Ok(false) => {}
                    Err(error) => {
                        let address = &scenario.note.address;
                        tracing::warn!(address, error = format!("{error:#}"), "scenario waits");
                    }
                }
            }
        }
    }

    /// Takes the step that is due, if one is. Returns whether there may be another one at once.
    async fn play(&self, scenario: &OpenScenario) -> anyhow::Result<bool> {
        let Some(stage) = self.stages.get(&scenario.network) else { return Ok(false) };
        let view = invoices::at_address(&self.db, scenario.note.address_id).await?;
        match self.due(stage, scenario, view.as_ref()) {
            Due::Nothing => Ok(false),
            Due::Forget => {
                self.sandbox.forget(scenario).await?;
                Ok(false)
            }
            Due::Abandon => {
                self.sandbox.abandon(scenario).await?;
                Ok(false)
            }
            Due::Step(change) => match stage.chain.take_step(scenario, change).await {
                Ok(taken) => Ok(taken),
                // The chain went another way than the script: asking again changes nothing.
                Err(error @ ChainError::Invalid(_)) => {
                    tracing::warn!(address = scenario.note.address, %error, "scenario abandoned");
                    self.sandbox.abandon(scenario).await?;
                    Ok(false)
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    fn due(&self, stage: &Stage, scenario: &OpenScenario, view: Option<&InvoiceView>) -> Due {
        let note = &scenario.note;
        let Some(view) = view else {
            let age = self.env.system_now().since(scenario.noted_at);
            let waits = age < Duration::from_secs(INVOICE_SECONDS_MAX);
            return if waits { Due::Nothing } else { Due::Forget };
        };
        let invoice = &view.invoice;
        let named = Scenario::of_metadata(&invoice.metadata).ok().flatten();
        if note.from_metadata && named != Some(note.scenario) {
            return Due::Forget;
        }
        let give_up = invoice.terms.expires_at.plus(Duration::from_secs(GIVE_UP_SECONDS));
        if invoice.standing.canceled || self.env.now() > give_up {
            return Due::Abandon;
        }
        match note.scenario.script().get(scenario.step) {
            Some(ScriptStep::Until(condition))
                if condition.holds(invoice.standing, &view.deposits, &scenario.txids) =>
            {
                Due::Step(Move::Nothing)
            }
            Some(ScriptStep::Until(_)) => Due::Nothing,
            Some(ScriptStep::Do(act)) => Due::Step(change(stage, view, *act)),
            None => Due::Abandon,
        }
    }
}

/// What an act is on this chain, for this invoice.
fn change(stage: &Stage, view: &InvoiceView, act: Act) -> Move {
    let terms = &view.invoice.terms;
    match act {
        Act::Pay(share) => Move::Pay(share.of(terms.amount_units)),
        Act::Bury if stage.has_miner => Move::Nothing,
        Act::Bury => Move::Mine(
            stage.chain.blocks_to_credit(terms.confirmations_required, terms.requires_finality),
        ),
        Act::Fork(loss) => Move::Fork(loss),
        Act::Resend => Move::Resend,
    }
}
