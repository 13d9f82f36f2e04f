//! The command line: what can be asked of the program, and the commands that are clients of a
//! running one. Not here: what the server does.

pub mod admin;
pub mod banner;
pub mod compat;
pub mod connection;
pub mod doctor;
pub mod health;
pub mod listen;
pub mod output;
pub mod shell;
pub mod trigger;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Flags;
use crate::domain::policy::SHORTFALL_BASIS_POINTS_MAX;

/// A self-hosted crypto payment gateway.
#[derive(Debug, Clone, Parser)]
#[command(name = "cryptopayment", version, about)]
#[command(after_help = "\
Examples:
  cryptopayment                                 a sandbox with simulated chains, at once
  cryptopayment --config /etc/cryptopayment.toml
  cryptopayment trigger paid                    in a second terminal: a paid invoice
  cryptopayment listen --forward-to http://localhost:3000/webhook
  cryptopayment doctor                          what is wrong, and what to do")]
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
    /// Whether it works as a server, whose log is what an operator reads.
    pub fn serves(&self) -> bool {
        use Command::{All, Api, Migrate, Worker};
        matches!(self.command, None | Some(All | Api | Worker | Migrate))
    }

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
    /// Keep merchants, keys, webhooks; look at networks, deliveries and books; settle unexpected deposits;
    /// through the admin socket of a running server.
    Admin(AdminArguments),
    /// Look at configuration, files, database, clocks, nodes, rates and webhooks, and say what to do.
    Doctor(doctor::DoctorArguments),
    /// Send a merchant's events to a URL of yours as signed webhooks.
    Listen(listen::ListenArguments),
    /// Play a scenario of the sandbox and follow its invoice.
    Trigger(trigger::TriggerArguments),
    /// Run the documented recipes against any deployment and say what differs.
    Compat(compat::CompatArguments),
    /// Print a completion script for a shell, e.g. `cryptopayment completions bash`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, e.g. `cryptopayment man | man -l -`.
    Man,
}

/// What the operator asks for.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cryptopayment admin merchants create 'A shop'
  cryptopayment admin keys list MERCHANT --json
  cryptopayment admin deliveries list --state failed
  cryptopayment admin networks rescan ltc 2800000 2800100
  cryptopayment admin unexpected-deposits list --state seen
  cryptopayment admin audit")]
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
    /// How each network stands.
    #[command(subcommand)]
    Networks(NetworksCommand),
    /// What was sent to webhook endpoints.
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// Known coins that reached addresses that are not for them.
    #[command(subcommand)]
    UnexpectedDeposits(UnexpectedDepositsCommand),
    /// Recompute the books from the postings; exit code 1 when anything is off.
    Audit,
}

/// How each network stands.
#[derive(Debug, Clone, Subcommand)]
pub enum NetworksCommand {
    /// List all networks: state, backend, head, scanned, lag, watermark age, pool of addresses.
    List,
    /// List the nodes that networks are read from: state, height, since when, why.
    Endpoints,
    /// List the newest rescans of each network: how far each is, what it found.
    Rescans,
    /// Read blocks again: payments that a node left out the first time are found, and count once.
    Rescan {
        /// The network, e.g. ltc.
        network: String,
        /// The first block.
        from: u64,
        /// The last block.
        to: u64,
    },
}

/// What was sent to webhook endpoints.
#[derive(Debug, Clone, Subcommand)]
pub enum DeliveriesCommand {
    /// List deliveries, the newest first.
    List {
        /// Only of this merchant.
        #[arg(long, value_name = "ID")]
        merchant: Option<String>,
        /// Only to the endpoint of this key, pk_...
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Only about this invoice.
        #[arg(long, value_name = "ID")]
        invoice: Option<String>,
        /// Only of this event, e.g. payment.confirmed.
        #[arg(long)]
        event: Option<String>,
        /// Only in this state.
        #[arg(long)]
        state: Option<DeliveryStateName>,
        /// At most so many.
        #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one delivery with its attempts; their requests and answers are in --json.
    Show {
        /// Its id.
        id: String,
    },
    /// Send one again now; its schedule stays as it is.
    Redeliver {
        /// Its id.
        id: String,
    },
}

/// Known coins that reached addresses that are not for them.
#[derive(Debug, Clone, Subcommand)]
pub enum UnexpectedDepositsCommand {
    /// List them, the newest first.
    List {
        /// Only those seen on this network's chain.
        #[arg(long)]
        network: Option<String>,
        /// Only in this state.
        #[arg(long)]
        state: Option<UnexpectedStateName>,
        /// Only at the address of this invoice.
        #[arg(long, value_name = "ID")]
        invoice: Option<String>,
        /// Only at addresses of this merchant's invoices.
        #[arg(long, value_name = "ID")]
        merchant: Option<String>,
        /// At most so many.
        #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one.
    Show {
        /// Its id.
        id: String,
    },
    /// Credit a merchant for one, once and for good; only for coins that balances are kept in.
    #[command(group = clap::ArgGroup::new("whom").required(true).args(["invoice", "merchant"]))]
    Assign {
        /// Its id.
        id: String,
        /// The invoice whose merchant is credited.
        #[arg(long, value_name = "ID")]
        invoice: Option<String>,
        /// The merchant.
        #[arg(long, value_name = "ID")]
        merchant: Option<String>,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Note how one was settled outside of the ledger, for good; moves no money.
    Dismiss {
        /// Its id.
        id: String,
        /// How it was settled.
        #[arg(long)]
        note: String,
    },
}

/// Where an unexpected deposit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnexpectedStateName {
    /// Nobody has settled it.
    Seen,
    /// Its block left the chain.
    Orphaned,
    /// A merchant was credited.
    Assigned,
    /// Settled outside.
    Dismissed,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeliveryStateName {
    /// Waits for its first attempt or a retry.
    Pending,
    /// Its receiver has it.
    Delivered,
    /// All scheduled attempts failed.
    Failed,
    /// Its endpoint was removed first.
    Dropped,
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
    /// Change what a merchant's new invoices are agreed on; what is not given stays.
    Set {
        /// Its id.
        id: String,
        /// What becomes of invoices that are paid in full only after they expired.
        #[arg(long)]
        late: Option<Late>,
        /// How much may be missing from a full payment, e.g. 0.5; at most 10.
        #[arg(long, value_name = "PERCENT", value_parser = basis_points)]
        shortfall_percent: Option<u32>,
    },
    /// Show a merchant and its keys.
    Show {
        /// Its id.
        id: String,
    },
    /// List all merchants.
    List,
}

/// What becomes of late payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Late {
    /// The invoice stays expired; the money is credited all the same.
    Reject,
    /// The invoice goes on as if paid in time.
    Honor,
}

/// Which fields a key's REST answers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyView {
    /// The documented ones.
    Basic,
    /// All.
    Full,
}

/// Percent with at most two decimals and at most 10, as hundredths of a percent.
fn basis_points(text: &str) -> Result<u32, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !(digits(whole) && digits(fraction) && fraction.len() <= 2) {
        return Err("must be a number with at most two decimals".to_owned());
    }
    let points = format!("{whole}{fraction:0<2}").parse().ok();
    points
        .filter(|points| *points <= SHORTFALL_BASIS_POINTS_MAX)
        .ok_or_else(|| format!("must be at most {} percent", SHORTFALL_BASIS_POINTS_MAX / 100))
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
    /// Change a key's name and view; what is not given stays.
    Set {
        /// Its public part, pk_...
        key: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// Which fields its REST answers have.
        #[arg(long)]
        view: Option<KeyView>,
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
    /// Show the URL and the event types of a key.
    Show {
        /// The key's public part, pk_...
        key: String,
    },
    /// Send a signed test there now and show what comes back.
    Test {
        /// The key's public part, pk_...
        key: String,
        /// Sign with the next APP_KEY instead of the active one.
        #[arg(long)]
        next_app_key: bool,
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
    /// Make another Standard Webhooks secret; the one before signs beside it for 24 hours.
    RotateSecret {
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

    #[test]
    fn percent_become_basis_points_exactly() {
        for (text, points) in [("0", 0), ("0.5", 50), ("0.05", 5), ("10", 1_000), ("1.25", 125)] {
            assert_eq!(basis_points(text), Ok(points), "{text}");
        }
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "0.005", "1e1", "5%"] {
            assert!(basis_points(wrong).unwrap_err().contains("two decimals"), "{wrong}");
        }
        for much in ["10.01", "11", "99999999999"] {
            assert_eq!(basis_points(much).unwrap_err(), "must be at most 10 percent", "{much}");
        }
    }
}
