//! Completions, manual page and help know every command.

use clap::{Command, CommandFactory as _};
use cryptopayment::cli::Arguments;

use crate::program::{program, run};

/// Every command by the words it is called with.
fn commands(of: &Command, above: &str, found: &mut Vec<String>) {
    for command in of.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{above} {}", command.get_name());
        commands(command, &name, found);
        found.push(name);
    }
}

fn every_command() -> Vec<String> {
    let mut found = Vec::new();
    commands(&Arguments::command(), "cryptopayment", &mut found);
    assert!(found.len() > 25, "{found:?}");
    found
}

#[tokio::test]
async fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = program();
        command.args(["completions", shell]);
        let script = run(command).await.ok().out;
        for name in every_command() {
            let word = name.rsplit(' ').next().unwrap();
            assert!(script.contains(word), "{shell} does not complete {name}");
        }
    }
    let mut command = program();
    // A configuration that does not exist: a completion script needs none.
    command.args(["--config", "/nonexistent", "completions", "bash"]);
    run(command).await.ok();
}

#[tokio::test]
async fn the_manual_describes_every_command() {
    let mut command = program();
    command.arg("man");
    let page = run(command).await.ok().out;
    assert!(page.starts_with(".ie") || page.contains(".TH cryptopayment"), "{page}");
    let page = page.replace("\\-", "-");
    for name in every_command() {
        let definition = Arguments::command();
        let leaf = name
            .split(' ')
            .skip(1)
            .try_fold(&definition, |command, word| command.find_subcommand(word));
        if leaf.unwrap().get_subcommands().next().is_none() {
            assert!(page.contains(&format!(".SH \"{}\"", name.to_uppercase())), "{name}");
        }
    }
}

#[tokio::test]
async fn help_has_examples() {
    for name in ["doctor", "listen", "trigger", "compat", "admin"] {
        let mut command = program();
        command.args([name, "--help"]);
        let help = run(command).await.ok().out;
        assert!(help.contains("Examples:"), "{help}");
    }
}
