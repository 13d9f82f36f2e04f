//! The command line: what can be asked of the program, and the commands that are clients of a
//! running one. Not here: what the server does.

pub mod admin;
pub mod banner;
pub mod health;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

/// A self-hosted crypto payment gateway.
#[derive(Debug, Clone, Parser)]
#[command(name = "cryptopayment", version, about)]
pub struct Arguments {
    /// A file with settings; see config.default.toml for all of them.
    #[arg(long, global = true, env = "CRYPTOPAYMENT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where keystore, databases and the admin socket are.
    #[arg(long, global = true)]
    pub data_dir: Option<PathBuf>,
    /// What to do; `all` if not given.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Arguments {
    /// The settings among the arguments.
    pub fn flags(&self) -> Flags {
        Flags { data_dir: self.data_dir.clone() }
    }
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Answer calls, follow chains, deliver: everything in one process.
    All,
    /// Answer calls only (PostgreSQL).
    Api,
    /// Follow chains and deliver only (PostgreSQL).
    Worker,
    /// Bring the database to this program's schema and exit.
    Migrate,
    /// Ask the configured address whether it serves; exit code 0 if so.
    Healthcheck,
    /// Keep merchants, keys and webhooks, through the admin socket.
    Admin(AdminArguments),
}

/// What the operator asks for.
#[derive(Debug, Clone, Args)]
pub struct AdminArguments {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to keep.
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// What the operator can keep.
#[derive(Debug, Clone, Subcommand)]
pub enum AdminCommand {
    /// Merchants.
    #[command(subcommand)]
    Merchants(MerchantsCommand),
    /// API keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Where a key's events are sent.
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// What signs a key's webhooks.
    #[command(subcommand)]
    AppKey(AppKeyCommand),
}

/// Merchants.
#[derive(Debug, Clone, Subcommand)]
pub enum MerchantsCommand {
    /// Create a merchant, not approved yet.
    Create {
        /// Its name.
        name: String,
    },
    /// Let a merchant's keys work.
    Approve {
        /// Its id.
        id: String,
    },
    /// List all merchants.
    List,
}

/// API keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Create a key; its secret is shown this once.
    Create {
        /// The merchant's id.
        merchant: String,
        /// The key's name.
        #[arg(default_value = "")]
        name: String,
        /// REST answers of this key have all fields.
        #[arg(long)]
        full_view: bool,
    },
    /// Refuse a key from now on.
    Revoke {
        /// Its public part, pk_...
        key: String,
    },
    /// List a merchant's keys.
    List {
        /// The merchant's id.
        merchant: String,
    },
}

/// Where a key's events are sent.
#[derive(Debug, Clone, Subcommand)]
pub enum WebhookCommand {
    /// Set the URL and the event types; what is not given stays.
    Set {
        /// The key's public part, pk_...
        key: String,
        /// The URL; an empty one removes the endpoint.
        url: Option<String>,
        /// Event types; the documented two if never given.
        #[arg(long, value_delimiter = ',')]
        events: Vec<String>,
    },
}

/// What signs a key's webhooks.
#[derive(Debug, Clone, Subcommand)]
pub enum AppKeyCommand {
    /// Show the active APP_KEY, the next one, and the Standard Webhooks secret.
    Show {
        /// The key's public part, pk_...
        key: String,
    },
    /// Make the next APP_KEY; it signs nothing until it is activated.
    Create {
        /// The key's public part, pk_...
        key: String,
    },
    /// Sign with the next APP_KEY from now on, retries too.
    Activate {
        /// The key's public part, pk_...
        key: String,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_defaults_to_everything() {
        Arguments::command().debug_assert();
        let parsed = Arguments::try_parse_from(["cryptopayment", "--data-dir", "x"]).unwrap();
        assert!(parsed.command.is_none());
        assert_eq!(parsed.flags().data_dir, Some("x".into()));
        let words = ["cryptopayment", "admin", "keys", "revoke", "pk_test_1", "--json"];
        let parsed = Arguments::try_parse_from(words).unwrap();
        assert!(matches!(parsed.command, Some(Command::Admin(admin)) if admin.json));
        assert!(Arguments::try_parse_from(["cryptopayment", "admin", "keys", "revoke"]).is_err());
    }
}
