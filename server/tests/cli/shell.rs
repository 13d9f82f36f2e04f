//! The program towards the shell: completions, manual page and help know every command, and what it makes
//! is for its user alone. Not here: what commands do.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use cryptopayment::cli::Arguments;

use crate::program::{program, run, run_with};

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

/// In a directory that others may look into, as a service manager makes it, the ledger is nobody else's.
#[tokio::test]
async fn what_the_program_makes_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = directory.path().join("empty.toml");
    std::fs::write(&file, "").unwrap();
    run_with(&file, &data, &["migrate"]).await.ok();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let made: Vec<_> =
        std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(made.iter().any(|path| path.ends_with("ledger.sqlite")), "{made:?}");
    for path in made {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
