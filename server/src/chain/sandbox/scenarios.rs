//! Scenarios in the sandbox's own file: which are noted, how far each is, and the steps that change
//! a chain. A step and its number are one transaction of this file, so that a crash or a second
//! player never pays twice. Not here: when a step is due (`worker::scenarios`).

use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult};
use tokio::sync::Notify;
use uuid::Uuid;

use super::control::Kind;
use super::schema::{all, execute};
use super::{Sandbox, SandboxChain, failed};
use crate::chain::{
    ChainError, ForkFate, NotedScenario, ScenarioBook, ScenarioNote, ScenarioState,
};
use crate::domain::asset::Network;
use crate::domain::scenario::{Loss, Scenario};
use crate::domain::time::Micros;

/// A scenario that is being played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenScenario {
    /// Its place among all.
    pub n: i64,
    /// On which network.
    pub network: Network,
    /// Whom it pays, and how far it is.
    pub note: ScenarioNote,
    /// Steps taken.
    pub step: usize,
    /// The payments it sent, in order.
    pub txids: Vec<String>,
    /// When it was noted, by the system's clock.
    pub noted_at: Micros,
}

/// A step that changes a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Pays the scenario's address these base units.
    Pay(u128),
    /// Mines this many blocks.
    Mine(u32),
    /// Replaces the blocks from the last transaction's on.
    Fork(Loss),
    /// Sends the last transaction again.
    Resend,
    /// Changes nothing.
    Nothing,
}

#[derive(FromQueryResult)]
struct ScenarioRow {
    n: i64,
    network: String,
    address_id: Uuid,
    address: String,
    name: String,
    from_metadata: bool,
    step: i64,
    txids: String,
    state: String,
    noted_at: i64,
}

const COLUMNS: &str =
    "n, network, address_id, address, name, from_metadata, step, txids, state, noted_at";

impl ScenarioRow {
    fn scenario(&self) -> Result<Scenario, ChainError> {
        Scenario::parse(&self.name)
            .ok_or_else(|| ChainError::Invalid(format!("scenario {:?}", self.name)))
    }

    fn txids(&self) -> Vec<String> {
        self.txids.split_whitespace().map(str::to_owned).collect()
    }

    fn open(self) -> Result<OpenScenario, ChainError> {
        let network = self.network.parse();
        let step = usize::try_from(self.step);
        Ok(OpenScenario {
            n: self.n,
            network: network.map_err(|_| ChainError::Invalid(self.network.clone()))?,
            step: step.map_err(|_| ChainError::Invalid(format!("step {}", self.step)))?,
            txids: self.txids(),
            noted_at: Micros(self.noted_at),
            note: ScenarioNote {
                scenario: self.scenario()?,
                address_id: self.address_id,
                address: self.address,
                from_metadata: self.from_metadata,
            },
        })
    }

    fn noted(self) -> Result<NotedScenario, ChainError> {
        let state = match self.state.as_str() {
            "done" => ScenarioState::Done,
            "abandoned" => ScenarioState::Abandoned,
            _ => ScenarioState::Playing,
        };
        let (scenario, txids) = (self.scenario()?, self.txids());
        Ok(NotedScenario { scenario, state, txids, from_metadata: self.from_metadata })
    }
}

impl OpenScenario {
    fn is_last_step(&self) -> bool {
        self.step + 1 >= self.note.scenario.script().len()
    }

    fn step_number(&self) -> i64 {
        i64::try_from(self.step).unwrap_or(i64::MAX)
    }

    fn last_txid(&self) -> Result<&str, ChainError> {
        let last = self.txids.last().map(String::as_str);
        last.ok_or_else(|| ChainError::Invalid("the scenario has sent nothing".to_owned()))
    }
}

impl Sandbox {
    /// Told when a scenario is noted by this process.
    pub fn scenario_noted(&self) -> Arc<Notify> {
        Arc::clone(&self.noted)
    }

    /// At most `limit` scenarios that are being played, from behind number `after` on.
    ///
    /// # Errors
    /// When the file can not be read.
    pub async fn open_scenarios(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<OpenScenario>, ChainError> {
        let rows: Vec<ScenarioRow> = all(
            &self.reader,
            &format!(
                "SELECT {COLUMNS} FROM scenario WHERE state = 'playing' AND n > $1
                 ORDER BY n LIMIT $2"
            ),
            vec![after.into(), i64::from(limit).into()],
        )
        .await?;
        rows.into_iter().map(ScenarioRow::open).collect()
    }

    /// Ends a scenario that can not go on.
    ///
    /// # Errors
    /// When the file can not be written.
    pub async fn abandon(&self, scenario: &OpenScenario) -> Result<(), ChainError> {
        let sql =
            "UPDATE scenario SET state = 'abandoned' WHERE n = $1 AND step = $2 AND name = $3";
        let values = vec![
            scenario.n.into(),
            scenario.step_number().into(),
            scenario.note.scenario.as_str().into(),
        ];
        execute(&self.writer, sql, values).await?;
        Ok(())
    }

    /// Deletes a note whose invoice was never written.
    ///
    /// # Errors
    /// When the file can not be written.
    pub async fn forget(&self, scenario: &OpenScenario) -> Result<(), ChainError> {
        let sql = "DELETE FROM scenario
                   WHERE n = $1 AND name = $2 AND step = 0 AND from_metadata = 1 AND noted_at = $3";
        let values = vec![
            scenario.n.into(),
            scenario.note.scenario.as_str().into(),
            scenario.noted_at.0.into(),
        ];
        execute(&self.writer, sql, values).await?;
        Ok(())
    }
}

impl SandboxChain {
    /// Takes a step of a scenario: the change of the chain and the step's number, together or not at
    /// all. Returns whether it was taken; if not, somebody else took it before.
    ///
    /// # Errors
    /// [`ChainError::Invalid`] when the chain does not allow the step.
    pub async fn take_step(
        &self,
        scenario: &OpenScenario,
        change: Move,
    ) -> Result<bool, ChainError> {
        let unit = self.begin().await?;
        let mut txids = scenario.txids.clone();
        match change {
            Move::Pay(units) => {
                let outputs = [(scenario.note.address.clone(), units)];
                txids.push(self.send_in(&unit, &outputs, Kind::Good).await?);
            }
            Move::Mine(blocks) => {
                self.mine_in(&unit, blocks).await?;
            }
            Move::Fork(loss) => self.lose(&unit, scenario.last_txid()?, loss).await?,
            Move::Resend => {
                let txid = scenario.last_txid()?;
                if self.known_tx(&unit, txid).await?.state == "gone" {
                    self.set_state(&unit, txid, "waiting", None).await?;
                }
            }
            Move::Nothing => {}
        }
        let state = if scenario.is_last_step() { "done" } else { "playing" };
        let taken = execute(
            &unit,
            "UPDATE scenario SET step = step + 1, txids = $1, state = $2
             WHERE n = $3 AND step = $4 AND name = $5 AND state = 'playing'",
            vec![
                txids.join(" ").into(),
                state.into(),
                scenario.n.into(),
                scenario.step_number().into(),
                scenario.note.scenario.as_str().into(),
            ],
        )
        .await?;
        if taken == 1 {
            self.commit(unit).await?;
        } else {
            unit.rollback().await.map_err(failed)?;
        }
        Ok(taken == 1)
    }

    /// Blocks that bury a payment so deep that it is credited.
    pub fn blocks_to_credit(&self, confirmations: u32, requires_finality: bool) -> u32 {
        let lag = self.finality_lag.filter(|_| requires_finality);
        let lag = lag.and_then(|lag| u32::try_from(lag).ok()).unwrap_or(0);
        confirmations.max(lag + 1)
    }

    /// Takes a transaction away, with the blocks from its own on.
    async fn lose(
        &self,
        unit: &DatabaseTransaction,
        txid: &str,
        loss: Loss,
    ) -> Result<(), ChainError> {
        let row = self.known_tx(unit, txid).await?;
        if let Some(height) = row.height {
            let depth = self.tip(unit).await?.height - height + 1;
            let depth = u32::try_from(depth).unwrap_or(u32::MAX);
            let fate = match loss {
                Loss::Dropped => ForkFate::Unconfirm,
                Loss::DoubleSpent => ForkFate::DoubleSpend,
            };
            self.fork_in(unit, depth, &[(txid.to_owned(), fate)]).await?;
        } else if row.state == "waiting" && loss == Loss::DoubleSpent {
            self.conflict(unit, txid, &[]).await?;
        }
        if loss == Loss::Dropped {
            self.set_state(unit, txid, "gone", None).await?;
        }
        Ok(())
    }
}

async fn noted<C: ConnectionTrait>(
    db: &C,
    address_id: Uuid,
) -> Result<Option<NotedScenario>, ChainError> {
    let sql = format!("SELECT {COLUMNS} FROM scenario WHERE address_id = $1");
    let rows: Vec<ScenarioRow> = all(db, &sql, vec![address_id.into()]).await?;
    rows.into_iter().next().map(ScenarioRow::noted).transpose()
}

#[async_trait]
impl ScenarioBook for SandboxChain {
    async fn note(&self, note: &ScenarioNote) -> Result<NotedScenario, ChainError> {
        self.address_key(&note.address)?;
        let unit = self.begin().await?;
        // An address whose invoice was not written after all is handed out again: a note from
        // metadata that took no step yet gives way, and its player asks the invoice.
        execute(
            &unit,
            "INSERT INTO scenario
                (network, address_id, address, name, from_metadata, step, txids, state, noted_at)
             VALUES ($1, $2, $3, $4, $5, 0, '', 'playing', $6)
             ON CONFLICT (address_id) DO UPDATE SET name = excluded.name,
                from_metadata = excluded.from_metadata, noted_at = excluded.noted_at
             WHERE scenario.from_metadata = 1 AND scenario.step = 0
                AND scenario.state = 'playing'",
            vec![
                self.network.as_str().into(),
                note.address_id.into(),
                note.address.clone().into(),
                note.scenario.as_str().into(),
                note.from_metadata.into(),
                self.sandbox.env.system_now().0.into(),
            ],
        )
        .await?;
        let stands = noted(&unit, note.address_id).await?;
        unit.commit().await.map_err(failed)?;
        self.sandbox.noted.notify_one();
        stands.ok_or_else(|| ChainError::Invalid("the note vanished".to_owned()))
    }

    async fn noted(&self, address_id: Uuid) -> Result<Option<NotedScenario>, ChainError> {
        noted(&self.sandbox.reader, address_id).await
    }
}
