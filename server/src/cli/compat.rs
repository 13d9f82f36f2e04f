//! `compat`: runs the documented recipes against any deployment, over HTTP alone, and says what differs
//! from the documentation. It says before it begins what it will create. Not here: the recipes.

mod http;
mod json;
mod receiver;
mod recipes;
mod webhook;

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use self::http::{Answer as Got, Call, Caller, Speaker};
use self::json::{Raw, keys_differ};
use self::recipes::NetworkRow;
use super::output::{Answer, Section, note, spinner};
use crate::env::Env;

/// What the keys of a sandbox begin with.
const TEST_KEY: &str = "pk_test_";

/// Which deployment, and how far to go.
#[derive(Clone, Args)]
#[command(after_help = "\
Examples:
  cryptopayment compat http://127.0.0.1:8080 pk_test_... sk_test_...
  cryptopayment compat http://127.0.0.1:8080 pk_test_... sk_test_... --webhook-listen 127.0.0.1:9000
  cryptopayment compat https://pay.example pk_live_... sk_live_... --yes --json

Against a sandbox it creates some invoices of 1.00 USD and pays one of them with --webhook-listen,
which puts the key's webhook URL back afterwards. Against a live deployment it creates one invoice
of 1.00 USD and nothing else; withdrawals are not tried. Exit code 1 when something differs.")]
pub struct CompatArguments {
    /// Where the deployment is, e.g. https://pay.example.
    pub url: String,
    /// The key's public part, pk_...
    pub key: String,
    /// The key's secret part, sk_...
    pub secret: String,
    /// The network of the invoices.
    #[arg(long, default_value = "trc20", value_parser = network)]
    pub network: String,
    /// Receive webhooks on this address, in a sandbox.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub webhook_listen: Option<SocketAddr>,
    /// The URL by which the deployment reaches that address, if it is another.
    #[arg(long, value_name = "URL", requires = "webhook_listen")]
    pub webhook_url: Option<String>,
    /// Create the invoice on a live deployment without asking.
    #[arg(long)]
    pub yes: bool,
    /// Print every check as JSON.
    #[arg(long)]
    pub json: bool,
}

impl std::fmt::Debug for CompatArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url, key, .. } = self;
        f.debug_struct("CompatArguments")
            .field("url", url)
            .field("key", key)
            .finish_non_exhaustive()
    }
}

fn network(text: &str) -> Result<String, String> {
    let known = NetworkRow::find(text).map(|row| row.network.to_owned());
    known.ok_or_else(|| "must be btc, ltc, eth, trc20 or bep20".to_owned())
}

/// One comparison.
#[derive(Debug, Clone)]
struct Compared {
    recipe: &'static str,
    what: String,
    expected: String,
    got: String,
    ok: bool,
}

/// A run: the caller, and what was compared so far.
struct Compat {
    caller: Caller,
    network: &'static NetworkRow,
    recipe: &'static str,
    compared: Vec<Compared>,
    /// Whether the key is one whose answers all have more keys than the documented ones.
    sees_all: bool,
    env: Env,
    progress: indicatif::ProgressBar,
}

impl Compat {
    fn recipe(&mut self, recipe: &'static str) {
        self.recipe = recipe;
        self.progress.set_message(recipe);
    }

    /// A word that no earlier run has used.
    fn unique(&self) -> String {
        self.env.new_id().simple().to_string()
    }

    async fn call(&self, call: Call<'_>) -> anyhow::Result<Got> {
        self.caller.call(call).await
    }

    fn equal(&mut self, what: impl Into<String>, expected: impl Into<String>, got: impl ToString) {
        let (expected, got) = (expected.into(), got.to_string());
        let ok = expected == got;
        self.compared.push(Compared { recipe: self.recipe, what: what.into(), expected, got, ok });
    }

    /// Compares the keys of an object and their order. Of a difference it tells which they are.
    fn keys(&mut self, what: impl Into<String>, documented: &str, object: Option<&Raw>) {
        let missing = Raw::Token("missing".to_owned());
        let object = object.unwrap_or(&missing);
        let wrong = keys_differ(documented, object, self.sees_all);
        let (ok, got) = (wrong.is_none(), wrong.unwrap_or_else(|| object.keys()));
        let (what, expected) = (what.into(), documented.to_owned());
        self.compared.push(Compared { recipe: self.recipe, what, expected, got, ok });
    }

    fn holds(
        &mut self,
        what: impl Into<String>,
        expected: impl Into<String>,
        got: &str,
        rule: impl FnOnce(&str) -> bool,
    ) {
        let (ok, got) = (rule(got), got.to_owned());
        let (what, expected) = (what.into(), expected.into());
        self.compared.push(Compared { recipe: self.recipe, what, expected, got, ok });
    }
}

/// Runs every recipe and prints what differs.
pub async fn run(arguments: CompatArguments, env: Env) -> anyhow::Result<ExitCode> {
    let is_sandbox = arguments.key.starts_with(TEST_KEY);
    if !agreed(&arguments, is_sandbox)? {
        return Ok(ExitCode::FAILURE);
    }
    let network = NetworkRow::find(&arguments.network);
    let network = network.ok_or_else(|| anyhow::anyhow!("there is no such network"))?;
    let caller = Caller::new(&arguments.url, &arguments.key, &arguments.secret)?;
    let (compared, progress) = (Vec::new(), spinner());
    let mut compat =
        Compat { caller, network, recipe: "", compared, sees_all: false, env, progress };
    let ran = recipes(&mut compat, &arguments, is_sandbox).await;
    compat.progress.finish_and_clear();
    // Who was not let in has compared nothing.
    if !compat.compared.is_empty() {
        print(&compat.compared, arguments.json)?;
    }
    ran?;
    let differs = compat.compared.iter().any(|compared| !compared.ok);
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn recipes(
    compat: &mut Compat,
    arguments: &CompatArguments,
    is_sandbox: bool,
) -> anyhow::Result<()> {
    let created = recipes::create(compat, Speaker::Php, "create (PHP)").await?;
    recipes::read_back(compat, &created).await?;
    recipes::list(compat).await?;
    recipes::balances(compat).await?;
    recipes::errors(compat).await?;
    if !is_sandbox {
        return Ok(());
    }
    recipes::create(compat, Speaker::Node, "create (Node)").await?;
    recipes::create(compat, Speaker::Python, "create (Python)").await?;
    recipes::amounts(compat).await?;
    recipes::repeated(compat).await?;
    if let Some(listen) = arguments.webhook_listen {
        webhook::paid(compat, listen, arguments.webhook_url.as_deref()).await?;
    }
    Ok(())
}

/// Says what will be created; on a live deployment somebody must agree.
fn agreed(arguments: &CompatArguments, is_sandbox: bool) -> anyhow::Result<bool> {
    let CompatArguments { url, network, .. } = arguments;
    if is_sandbox {
        note(format_args!("creates invoices of 1.00 USD on {network} in the sandbox at {url}"));
        return Ok(true);
    }
    note(format_args!("creates ONE invoice of 1.00 USD on {network} at {url}, which is live"));
    if arguments.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        note("nobody can be asked: say --yes");
        return Ok(false);
    }
    write!(std::io::stderr(), "go on? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn print(compared: &[Compared], json: bool) -> anyhow::Result<()> {
    if json {
        let rows = compared.iter().map(row).collect();
        Answer(vec![Section { title: "", columns: &[], rows }]).print(true)?;
        return Ok(());
    }
    let mut recipes: Vec<&'static str> = compared.iter().map(|compared| compared.recipe).collect();
    recipes.dedup();
    let summary = recipes.iter().map(|recipe| {
        let of: Vec<&Compared> = compared.iter().filter(|c| c.recipe == *recipe).collect();
        let differ = of.iter().filter(|compared| !compared.ok).count();
        let result = if differ == 0 { "ok".to_owned() } else { format!("{differ} differ") };
        json!({ "recipe": recipe, "checks": of.len(), "result": result })
    });
    let columns = &["recipe", "checks", "result"];
    let mut sections = vec![Section { title: "", columns, rows: summary.collect() }];
    let differs: Vec<Value> = compared.iter().filter(|c| !c.ok).map(row).collect();
    if !differs.is_empty() {
        let columns = &["recipe", "check", "expected", "got"];
        sections.push(Section { title: "differs", columns, rows: differs });
    }
    Answer(sections).print(false)?;
    Ok(())
}

fn row(compared: &Compared) -> Value {
    json!({
        "recipe": compared.recipe,
        "check": compared.what,
        "result": if compared.ok { "ok" } else { "differs" },
        "expected": compared.expected,
        "got": compared.got,
    })
}
