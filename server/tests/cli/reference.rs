//! `docs/reference/cli.md` says what the command line's definition says, and its examples are commands that
//! the program takes. `UPDATE_DOCS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _, Parser as _};
use cryptopayment::cli::Arguments;

use crate::shell_words::commands;

const OPENING: &str = "\
# Command line

<!-- Written by `UPDATE_DOCS=1 cargo test -p cryptopayment --test cli reference`; do not edit. -->

One program: without a command it is a server with everything in it; the other commands are clients
of a running one, or look at a deployment without changing it. Every command has `--help`; those that
print tables have `--json`. `cryptopayment completions bash` and `cryptopayment man` write what a shell
and `man` want to know.

Exit codes: 0 when all is well; 1 when something is not, or the server refuses; 2 when the command
line makes no sense; 64 when the configuration does not.
";

#[test]
fn the_reference_is_in_step_with_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
    let written = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &written).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == written, "docs/reference/cli.md is out of step: run with UPDATE_DOCS=1");
}

/// The commands of the blocks that begin with `Examples:`.
fn examples(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```\nExamples:\n").skip(1);
    // Behind an empty line there is running text; behind two blanks, what a command does.
    let lines = blocks.filter_map(|block| block.split("```").next()?.split("\n\n").next());
    let lines: Vec<&str> = lines
        .flat_map(str::lines)
        .map(|line| line.trim().split("  ").next().unwrap_or_default())
        .collect();
    commands(&lines.join("\n"))
}

#[test]
fn every_example_is_a_command() {
    let examples = examples(&reference());
    assert!(examples.len() > 15, "{examples:?}");
    let wrong = examples.iter().filter_map(|words| {
        let error = Arguments::try_parse_from(words).err().map(|error| error.to_string());
        let named = (words[0] != "cryptopayment").then(|| "is another program".to_owned());
        error.or(named).map(|why| format!("{words:?}: {why}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn reference() -> String {
    let mut definition = Arguments::command();
    definition.build();
    let mut page = OPENING.to_owned();
    let name = definition.get_name().to_owned();
    describe(&mut page, &definition, &name);
    page
}

fn describe(page: &mut String, command: &Command, name: &str) {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let mut usage = command.clone().bin_name(name.to_owned());
    let usage = usage.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    write!(page, "\n## {name}\n\n{about}\n\n```\n{usage}\n```\n").unwrap();
    // The global flags and --help stand once, at the top.
    let is_root = !name.contains(' ');
    let shown = |argument: &&Arg| {
        !["help", "version"].contains(&argument.get_id().as_str())
            && (is_root || !argument.is_global_set())
    };
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | meaning |\n|---|---|\n");
        for argument in arguments {
            writeln!(page, "| `{}` | {} |", form(argument), meaning(argument)).unwrap();
        }
    }
    if let Some(more) = command.get_after_help() {
        write!(page, "\n```\n{more}\n```\n").unwrap();
    }
    for inner in command.get_subcommands().filter(|command| command.get_name() != "help") {
        describe(page, inner, &format!("{name} {}", inner.get_name()));
    }
}

fn form(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first());
    let value = value.map(|name| format!("<{name}>")).unwrap_or_default();
    let takes = argument.get_action().takes_values();
    match argument.get_long() {
        Some(long) if takes => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default().replace('\n', " ");
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        write!(text, " One of {}.", values.join(", ")).unwrap();
    }
    if let Some(variable) = argument.get_env() {
        write!(text, " Variable `{}`.", variable.to_string_lossy()).unwrap();
    }
    if let Some(default) = argument.get_default_values().first() {
        let default = default.to_string_lossy();
        if !default.is_empty() && argument.get_action().takes_values() {
            write!(text, " Default `{default}`.").unwrap();
        }
    }
    text
}
