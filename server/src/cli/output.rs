//! How commands answer: tables for people, JSON for programs, a bar while somebody waits at a terminal.
//! Not here: what is in them.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// Characters of a cell; what is longer is for `--json`.
const CELL_CHARS_MAX: usize = 100;
/// What a shell tells of a program that SIGPIPE ended.
const EXIT_CLOSED_PIPE: i32 = 141;

/// Prints a line of a command's answer. Who closes the pipe has read enough, as `head` does: the command
/// ends there, as programs do that get SIGPIPE. Rust ignores that signal, and `println!` would panic.
pub fn say(line: impl Display) {
    let Err(error) = writeln!(std::io::stdout().lock(), "{line}") else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(EXIT_CLOSED_PIPE);
    }
    note(format_args!("the answer cannot be written: {error}"));
    std::process::exit(1);
}

/// Prints a line beside the answer, to standard error. Who does not read it misses nothing of the answer.
pub fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A table.
#[derive(Debug, Clone)]
pub struct Section {
    /// What it is called in JSON and above the table; empty when it is the only one.
    pub title: &'static str,
    /// Its columns in the order for people; empty means all.
    pub columns: &'static [&'static str],
    /// Objects with the same keys.
    pub rows: Vec<Value>,
}

/// What a command answers.
#[derive(Debug, Clone)]
pub struct Answer(pub Vec<Section>);

impl Answer {
    /// One table.
    pub fn table(columns: &'static [&'static str], rows: Vec<Value>) -> Self {
        Self(vec![Section { title: "", columns, rows }])
    }

    /// Prints it.
    ///
    /// # Errors
    /// When it is no JSON, which does not happen.
    pub fn print(self, json: bool) -> serde_json::Result<()> {
        if json {
            return print_json(&self.into_json());
        }
        for (n, section) in self.0.iter().enumerate() {
            if n > 0 {
                say("");
            }
            if !section.title.is_empty() {
                say(section.title);
            }
            print_table(section);
        }
        Ok(())
    }

    fn into_json(self) -> Value {
        let mut titled = Map::new();
        for section in self.0 {
            if section.title.is_empty() {
                return Value::Array(section.rows);
            }
            titled.insert(section.title.to_owned(), Value::Array(section.rows));
        }
        Value::Object(titled)
    }
}

/// Prints a value as JSON, for people who read it all the same.
///
/// # Errors
/// When it is no JSON, which does not happen.
pub fn print_json(value: &Value) -> serde_json::Result<()> {
    say(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A table with a head; columns are as wide as their widest value.
fn print_table(section: &Section) {
    let Some(head) = section.rows.first().and_then(Value::as_object) else {
        say("nothing");
        return;
    };
    let all: Vec<&str> = head.keys().map(String::as_str).collect();
    let columns = if section.columns.is_empty() { &all } else { section.columns };
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|name| heading(name)).collect()];
    for row in &section.rows {
        lines.push(columns.iter().map(|column| cell(row.get(column))).collect());
    }
    let width = |column: usize| {
        let widths = lines.iter().filter_map(|line| line.get(column));
        widths.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
        say(padded.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn heading(name: &str) -> String {
    name.replace('_', " ").to_uppercase()
}

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::Array(values)) => {
            values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    };
    // A receiver's answer may hold anything, escape sequences of terminals among it.
    let plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CELL_CHARS_MAX).collect();
    if plain.chars().count() < text.chars().count() { format!("{plain}...") } else { plain }
}

/// A bar on the terminal; nothing where nobody watches.
pub fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{msg:14} {wide_bar} {pos}/{len} {eta}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    bar
}

/// A spinner on the terminal; nothing where nobody watches.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(TURN);
    spinner
}
