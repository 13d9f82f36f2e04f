//! What a shell and `man` know of the program, written from the command line's own definition:
//! completions and the manual page.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Command as Definition, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Arguments, Command};

/// Answers what needs no configuration; `None` for everything else.
pub fn answer(arguments: &Arguments) -> Option<ExitCode> {
    let written = match arguments.command {
        Some(Command::Completions { shell }) => print(&completions(shell)),
        Some(Command::Man) => manual().and_then(|page| print(&page)),
        _ => return None,
    };
    // Whoever closed the pipe early has read enough.
    Some(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(text: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// The completion script of a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut definition = Arguments::command();
    let name = definition.get_name().to_owned();
    clap_complete::generate(shell, &mut definition, name, &mut script);
    script
}

/// The manual page: the program, then each command with its own synopsis and options.
///
/// # Errors
/// Writing into memory does not fail.
pub fn manual() -> std::io::Result<Vec<u8>> {
    let mut definition = Arguments::command();
    definition.build();
    let mut page = Vec::new();
    let man = Man::new(definition.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let name = definition.get_name().to_owned();
    for command in definition.get_subcommands() {
        describe(&mut page, command, &name)?;
    }
    Man::new(definition).render_version_section(&mut page)?;
    Ok(page)
}

fn describe(page: &mut Vec<u8>, command: &Definition, above: &str) -> std::io::Result<()> {
    if command.get_name() == "help" || command.is_hide_set() {
        return Ok(());
    }
    let name = format!("{above} {}", command.get_name());
    let inner: Vec<&Definition> = command.get_subcommands().collect();
    if inner.is_empty() {
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        let man = Man::new(command.clone().bin_name(name));
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        man.render_extra_section(&mut section)?;
        // Below its own heading the sections are subsections.
        page.extend_from_slice(
            String::from_utf8_lossy(&section).replace(".SH ", ".SS ").as_bytes(),
        );
        return Ok(());
    }
    for command in inner {
        describe(page, command, &name)?;
    }
    Ok(())
}
