//! The house law as tests: which room may name which, what stands in one place only, how long a
//! file may get. Each test first plants a violation to prove that its rule sees it, then holds the
//! whole workspace against the rule and names file, line and what to do instead.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "layout/arrows.rs"]
mod arrows;
#[path = "layout/form.rs"]
mod form;
#[path = "layout/source.rs"]
mod source;
#[path = "layout/words.rs"]
mod words;

use std::path::Path;

use source::Source;

/// A place where a rule is broken.
pub struct Finding {
    line: usize,
    what: String,
}

impl Finding {
    fn new(line: usize, what: String) -> Self {
        Self { line, what }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines on which `word` stands by itself; a digit may stand before it, as in `1f64`.
fn words(code: &str, word: &str) -> Vec<usize> {
    let whole = |line: &str, at: usize| {
        !line[at + word.len()..].starts_with(is_word)
            && !line[..at].ends_with(|c| is_word(c) && !char::is_ascii_digit(&c))
    };
    lines_with(code, word, whole)
}

/// The lines on which `phrase` starts a word or a path's last parts, as in `time::Instant::now`.
fn phrases(code: &str, phrase: &str) -> Vec<usize> {
    let whole = |line: &str, at: usize| {
        let open_end =
            !phrase.ends_with(is_word) || !line[at + phrase.len()..].starts_with(is_word);
        open_end && !line[..at].ends_with(is_word)
    };
    lines_with(code, phrase, whole)
}

fn lines_with(code: &str, text: &str, whole: impl Fn(&str, usize) -> bool) -> Vec<usize> {
    let has = |line: &str| line.match_indices(text).any(|(at, _)| whole(line, at));
    code.lines().enumerate().filter(|(_, line)| has(line)).map(|(index, _)| index + 1).collect()
}

/// The rule must see a violation in this text of this file.
#[track_caller]
fn sees(rule: impl Fn(&Source) -> Vec<Finding>, path: &str, text: &str) {
    assert!(!rule(&Source::new(path, text)).is_empty(), "the rule is blind to {path}: {text}");
}

/// The rule must leave this text of this file alone.
#[track_caller]
fn passes(rule: impl Fn(&Source) -> Vec<Finding>, path: &str, text: &str) {
    let found = rule(&Source::new(path, text));
    assert!(found.is_empty(), "the rule refuses {path}: {text}: {}", found[0].what);
}

/// The whole workspace must keep the rule.
#[track_caller]
fn holds(rule: impl Fn(&Source) -> Vec<Finding>, instead: &str) {
    let mut report = String::new();
    for source in source::workspace() {
        for finding in rule(&source) {
            report += &format!("{}:{}: {}\n", source.path, finding.line, finding.what);
        }
    }
    assert!(report.is_empty(), "\n{report}{instead}\n");
}

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let rule = arrows::rooms;
    sees(rule, "server/src/store/ledger.rs", "use crate::usecase::cancel_invoice;");
    sees(rule, "server/src/store/ledger.rs", "use crate::{domain::amount, worker::{scan, apply}};");
    sees(rule, "server/src/store/ledger.rs", "fn a() { crate::transport::serve(); }");
    sees(rule, "server/src/store/ledger.rs", "use super::super::worker::scan;");
    sees(rule, "server/src/domain/invoice.rs", "use crate::env::Env;");
    sees(rule, "server/src/transport/pages.rs", "use crate::signer::Signer;");
    sees(rule, "server/src/worker/scan.rs", "use crate::app::App;");
    sees(rule, "server/src/main.rs", "use cryptopayment::store::Db;");
    sees(rule, "server/src/attic/mod.rs", "//! A room that nobody decided on.");
    passes(
        rule,
        "server/src/worker/payout/plan.rs",
        "use super::super::scan; use crate::store::claim;",
    );
    passes(
        rule,
        "server/src/usecase/cancel_invoice.rs",
        "// use crate::worker\nuse crate::{store, env::Env};",
    );
    passes(rule, "server/src/domain/x.rs", "#[cfg(test)] mod tests { use crate::env::Env; }");
    passes(rule, "server/src/app.rs", "use crate::{worker, transport};");
    holds(
        rule,
        "Follow the arrows of ARCHITECTURE.md: pass the value down, or declare a trait at home.",
    );
}

#[test]
fn use_cases_know_traits_not_implementations() {
    let modules = ["chain/bitcoin".to_owned()];
    let rule = |source: &Source| arrows::traits_only(source, &modules);
    sees(rule, "server/src/usecase/x.rs", "use crate::chain::{ChainReader, bitcoin::rpc};");
    passes(rule, "server/src/usecase/x.rs", "use crate::chain::{ChainReader, ChainError};");
    passes(rule, "server/src/worker/x.rs", "use crate::chain::bitcoin::rpc;");
    let modules = arrows::submodules(&source::workspace());
    assert!(modules.contains(&"chain/bitcoin".to_owned()), "{modules:?}");
    holds(
        |source| arrows::traits_only(source, &modules),
        "Name the trait in the room's mod.rs; the implementation is chosen in app.rs.",
    );
}

#[test]
fn crates_are_named_where_they_belong() {
    let rule = arrows::crates;
    sees(rule, "server/src/usecase/x.rs", "use sea_orm::ConnectionTrait;");
    sees(rule, "server/src/chain/bitcoin/x.rs", "use sea_orm::ConnectionTrait;");
    sees(rule, "server/src/usecase/x.rs", "use cryptopayment_proto::v1::Invoice;");
    sees(rule, "server/src/domain/x.rs", "fn a() { rpc_gateway::b(); }");
    passes(rule, "server/src/chain/sandbox/x.rs", "use sea_orm::ConnectionTrait;");
    passes(rule, "server/src/store/mod.rs", "use sea_orm::ConnectionTrait;");
    holds(
        rule,
        "SQL lives in store, messages of the contract in transport: convert at the border.",
    );
}

#[test]
fn the_sdk_and_the_gateway_know_nothing_of_the_server() {
    let rule = arrows::neutral_crates;
    sees(rule, "sdk/rust/src/client.rs", "use cryptopayment::domain::Amount;");
    sees(rule, "gateway/src/route.rs", "use cryptopayment_proto::v1;");
    passes(rule, "sdk/rust/src/client.rs", "use cryptopayment_proto::v1;");
    holds(
        rule,
        "The SDK knows the contract alone; the gateway reads whatever descriptor set it is handed.",
    );

    let planted = "[package]\nname = \"x\"\n[dependencies]\ncryptopayment-proto.workspace = true\n";
    assert_eq!(arrows::neutral_manifest(planted, &[]).len(), 1);
    for (path, allowed) in [("gateway", &[][..]), ("sdk/rust", &["cryptopayment-proto"][..])] {
        let manifest =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        let found = arrows::neutral_manifest(&text, allowed);
        let first = found.first().map(|finding| format!("line {}: {}", finding.line, finding.what));
        assert_eq!(first, None, "{path}/Cargo.toml is to stay neutral");
    }
}

#[test]
fn the_gateway_has_no_payment_word() {
    let rule = words::payment_words;
    sees(rule, "gateway/src/route.rs", "// finds the Invoice");
    sees(rule, "gateway/src/route.rs", "fn merchant_id() {}");
    sees(rule, "gateway/src/route.rs", "struct WalletPage;");
    passes(rule, "gateway/src/route.rs", "fn method_of_strongest_match() {}");
    passes(rule, "server/src/domain/invoice.rs", "struct Invoice;");
    holds(rule, "The gateway serves any annotated contract: say resource, method, field, caller.");
}

#[test]
fn only_env_reads_the_clock() {
    let rule = words::clocks;
    sees(rule, "server/src/worker/scan.rs", "let a = std::time::Instant::now();");
    sees(rule, "server/src/store/leases.rs", "let a = SystemTime::now();");
    passes(rule, "server/src/env.rs", "let a = SystemTime::now();");
    passes(
        rule,
        "server/src/worker/scan.rs",
        "#[cfg(test)] mod tests { fn a() { Instant::now(); } }",
    );
    passes(rule, "server/tests/layout.rs", "let a = Instant::now();");
    holds(
        rule,
        "Take `Env` and call `now()` (business) or `system_now()`; leases use the database's clock.",
    );
}

#[test]
fn only_env_draws_randomness() {
    let rule = words::randomness;
    sees(rule, "server/src/usecase/x.rs", "let id = Uuid::now_v7();");
    sees(rule, "server/src/signer/x.rs", "getrandom::fill(&mut seed);");
    passes(rule, "server/src/signer/x.rs", "let seed = env.random::<32>(); operand::add();");
    holds(rule, "Take `Env` and call `random()` or `new_id()`, so that a test can decide.");
}

#[test]
fn extended_keys_are_not_read() {
    let rule = words::extended_keys;
    sees(rule, "server/src/signer/x.rs", "let key = Xpriv::from_str(text)?;");
    sees(rule, "server/src/signer/x.rs", "let key = bip32::Xpub::decode(&bytes)?;");
    sees(rule, "server/src/cli/x.rs", "let key = text.parse::<Xpub>()?;");
    passes(rule, "server/src/signer/x.rs", "let master = Xpriv::new_master(kind, seed)?;");
    passes(rule, "server/src/signer/derive_tests.rs", "Xpriv::from_str(text).is_ok();");
    holds(
        rule,
        "Derive from the seed, or check what BIP 32's test vector 5 lists before you read one.",
    );
}

#[test]
fn only_config_reads_the_process_environment() {
    let rule = words::environment;
    sees(rule, "server/src/signer/x.rs", "let a = std::env::var(\"A\");");
    sees(rule, "server/src/app.rs", "for a in env::vars() {}");
    passes(rule, "server/src/config.rs", "let a = std::env::var(\"A\");");
    passes(rule, "server/src/app.rs", "let a = env::variant(); let b = env!(\"A\");");
    holds(rule, "Add a setting to config.rs and hand its value down from app.rs.");
}

#[test]
fn no_float_where_money_is() {
    let rule = words::floats;
    sees(rule, "server/src/domain/amount.rs", "fn a(b: f64) {}");
    sees(rule, "server/src/usecase/x.rs", "let a = 1f32;");
    sees(rule, "server/src/store/x.rs", "let a = 0.5;");
    passes(rule, "server/src/store/x.rs", "let a = pair.0.1; for b in 0..9 {} // 0.5 f64");
    passes(rule, "server/src/worker/x.rs", "let seconds = 0.5;");
    holds(rule, "Money is u128 base units, rates are integer fractions: see domain/amount.rs.");
}

#[test]
fn one_file_writes_the_status_of_an_invoice() {
    let rule = words::status_writers;
    let file = "server/src/store/invoices.rs";
    sees(rule, file, "let a = \"UPDATE invoice SET version = 2, status = $1 WHERE id = $2\";");
    sees(rule, file, "let a = \"UPDATE invoice\n   SET status = $1\";");
    sees(rule, file, "let a = format!(\"UPDATE invoice SET {columns} WHERE id = $1\");");
    sees(
        rule,
        file,
        "let a = \"INSERT INTO invoice (id) VALUES ($1) ON CONFLICT DO UPDATE SET status = 1\";",
    );
    passes(rule, file, "let a = \"UPDATE invoice SET event_count = $1 WHERE status = 'pending'\";");
    passes(rule, file, "let a = \"UPDATE invoice_note SET status = $1\";");
    passes(rule, file, "let a = \"INSERT INTO invoice (id, status) VALUES ($1, $2)\";");
    passes(
        rule,
        "server/src/store/invoice_status.rs",
        "let a = \"UPDATE invoice SET status = $1\";",
    );
    holds(
        rule,
        "Only `evaluate` decides a status; its result is written in store/invoice_status.rs.",
    );
}

#[test]
fn nothing_is_left_unfinished() {
    sees(words::unfinished, "gateway/src/lib.rs", concat!("fn a() { to", "do!() }"));
    sees(words::unfinished, "sdk/rust/src/lib.rs", concat!("fn a() { un", "implemented!(\"b\") }"));
    passes(words::unfinished, "gateway/src/lib.rs", "// not a todo!() in sight");
    holds(words::unfinished, "Build it, or leave it out and say so.");
}

#[test]
fn files_fit_in_a_head() {
    let long = "//! A file.\n".repeat(601);
    sees(form::file_length, "server/src/store/x.rs", &long);
    passes(form::file_length, "server/tests/x.rs", &long);
    sees(form::file_length, "server/tests/x.rs", &"\n".repeat(801));
    holds(form::file_length, "Split it by subject; aim below 500 lines.");
}

#[test]
fn functions_fit_a_screen() {
    let rule = form::function_length;
    sees(rule, "server/src/x.rs", &format!("fn a() {{\n{}}}", "let b = '{';\n".repeat(80)));
    passes(
        rule,
        "server/src/x.rs",
        &format!("fn a() {{}}\n{}", "static B: fn (u8) = c;\n".repeat(90)),
    );
    passes(
        rule,
        "server/src/x.rs",
        &format!("trait A {{ fn a([u8; 3]);\n fn b() {{}} }}{}", "\n".repeat(90)),
    );
    holds(rule, "Give a step of it a name and a function of its own; aim below 70 lines.");
}

#[test]
fn lines_fit_side_by_side() {
    sees(form::line_length, "server/src/x.rs", &"x".repeat(111));
    passes(form::line_length, "server/src/x.rs", &"ü".repeat(110));
    holds(form::line_length, "Break the line; rustfmt leaves strings and comments to you.");
}

#[test]
fn files_say_what_lives_in_them() {
    sees(form::opening, "server/src/x.rs", "use std::fs;\n//! Too late.");
    sees(form::opening, "server/src/x.rs", "//! placeholder\n");
    passes(form::opening, "server/src/x.rs", "//! All SQL of leases. Not here: who takes one.\n");
    holds(form::opening, "Open with 2 to 6 lines of `//!`: what lives here and what does not.");
}

#[test]
fn names_say_something() {
    sees(form::name, "server/src/store/utils.rs", "");
    sees(form::name, "server/tests/common/mod.rs", "");
    sees(form::module_name, "server/src/store/x.rs", "mod helpers {\n}");
    passes(form::name, "server/src/store/leases.rs", "");
    holds(form::name, "Name it by what it holds.");
    holds(form::module_name, "Name it by what it holds.");
}
