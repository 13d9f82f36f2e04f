//! The simulated chains of the sandbox, behind the same traits as real ones: blocks, a mempool,
//! conflicts and forks in a SQLite file of their own, which lives on like a node would when the
//! server dies. Not here: anything of the ledger; nothing in this file is ever in its transactions.

mod control;
mod miner;
pub mod scenarios;
mod schema;
mod view;

use std::path::Path;
use std::sync::Arc;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use tokio::sync::Notify;

use super::ChainError;
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use crate::env::Env;

/// Connections that read beside the one writer.
const READERS_MAX: u32 = 4;

/// How a network's payments look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Outputs that consume outpoints (BTC, LTC).
    Outputs,
    /// Logs of one token's contract, consuming the sender's nonce (TRC20, BEP20).
    Logs,
    /// Native value, consuming the sender's nonce (ETH).
    Native,
}

/// The file that holds every simulated chain.
#[derive(Clone, Debug)]
pub struct Sandbox {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    env: Env,
    /// Told when a scenario is noted.
    noted: Arc<Notify>,
}

/// One simulated chain.
#[derive(Clone, Debug)]
pub struct SandboxChain {
    sandbox: Sandbox,
    network: Network,
    form: Form,
    /// Blocks behind the tip that the chain calls final; `None` where chains state no finality.
    finality_lag: Option<u64>,
    /// Told after every change, so that a scanner need not wait for its timer.
    changed: Arc<Notify>,
}

impl Sandbox {
    /// Opens the file, making it on the first start.
    ///
    /// # Errors
    /// When the file can not be opened or written.
    pub async fn open(path: &Path, env: Env) -> Result<Self, ChainError> {
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let connect = |connections: u32| {
            let mut options = ConnectOptions::new(url.clone());
            options.max_connections(connections).sqlx_logging(false).map_sqlx_sqlite_opts(|o| {
                o.journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
            });
            Database::connect(options)
        };
        let writer = connect(1).await.map_err(failed)?;
        schema::create(&writer).await?;
        let reader = connect(READERS_MAX).await.map_err(failed)?;
        Ok(Self { writer, reader, env, noted: Arc::default() })
    }

    /// The chain of a network, with its genesis block on the first start.
    ///
    /// # Errors
    /// When the file can not be written.
    pub async fn chain(&self, network: Network) -> Result<SandboxChain, ChainError> {
        let (form, finality_lag) = match network {
            Network::Btc | Network::Ltc => (Form::Outputs, None),
            Network::Trc20 => (Form::Logs, Some(19)),
            Network::Bep20 => (Form::Logs, Some(2)),
            Network::Eth => (Form::Native, Some(12)),
        };
        let changed = Arc::new(Notify::new());
        let chain = SandboxChain { sandbox: self.clone(), network, form, finality_lag, changed };
        chain.ensure_genesis().await?;
        Ok(chain)
    }
}

impl SandboxChain {
    /// Told after every change of the chain or its mempool.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// What the n-th payment of a transaction is called.
    fn ordinal(&self, n: usize) -> String {
        match self.form {
            Form::Outputs => format!("o:{n}"),
            Form::Logs => format!("l:{n}"),
            Form::Native => format!("t:{n}"),
        }
    }

    /// The key of an address text; sandbox addresses look like regtest's.
    fn address_key(&self, text: &str) -> Result<Vec<u8>, ChainError> {
        crate::domain::address_text::parse(self.network, ChainKind::Sandbox, text)
            .map_err(|error| ChainError::Invalid(format!("address {text:?} {error}")))
    }
}

fn failed(error: DbErr) -> ChainError {
    ChainError::Transient(format!("sandbox chain: {error}"))
}

#[cfg(test)]
mod tests;
