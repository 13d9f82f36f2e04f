//! How commands answer: tables for people, JSON for programs, a bar while somebody waits at a terminal.
//! Not here: what is in them.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// Characters of a cell; what is longer is for `--json`.
const CELL_CHARS_MAX: usize = 100;

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
                println!();
            }
            if !section.title.is_empty() {
                println!("{}", section.title);
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
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A table with a head; columns are as wide as their widest value.
fn print_table(section: &Section) {
    let Some(head) = section.rows.first().and_then(Value::as_object) else {
        println!("nothing");
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
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
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
