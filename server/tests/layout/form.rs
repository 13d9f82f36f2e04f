//! The form of a file: its length, its lines, its functions, its opening words, its name. Not here:
//! what stands in it.

use crate::source::{Source, item_end, line_of};
use crate::{Finding, words};

const FILE_LINES_MAX: usize = 600;
const TEST_FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 80;
const LINE_CHARS_MAX: usize = 110;
/// Tables of cases are read across.
const TEST_LINE_CHARS_MAX: usize = 160;

const EMPTY_NAMES: [&str; 8] =
    ["common", "helper", "helpers", "misc", "types", "util", "utils", "utilities"];

/// The file is too long.
pub fn file_length(source: &Source) -> Vec<Finding> {
    let lines = source.raw.lines().count();
    let limit = if source.is_test { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines <= limit {
        return Vec::new();
    }
    vec![Finding::new(limit + 1, format!("{lines} lines, at most {limit}"))]
}

/// A line is too long.
pub fn line_length(source: &Source) -> Vec<Finding> {
    let limit = if source.is_test { TEST_LINE_CHARS_MAX } else { LINE_CHARS_MAX };
    source
        .raw
        .lines()
        .enumerate()
        .filter(|(_, line)| line.chars().count() > limit)
        .map(|(index, line)| {
            let length = line.chars().count();
            Finding::new(index + 1, format!("{length} characters, at most {limit}"))
        })
        .collect()
}

/// A function is too long.
pub fn function_length(source: &Source) -> Vec<Finding> {
    let code: Vec<char> = source.code.chars().collect();
    let mut found = Vec::new();
    for (byte, _) in source.code.match_indices("fn ") {
        let at = source.code[..byte].chars().count();
        let inside_word = at > 0 && crate::is_word(code[at - 1]);
        let name: String = code[at + 3..].iter().take_while(|&&c| crate::is_word(c)).collect();
        if inside_word || name.is_empty() {
            continue;
        }
        let first = line_of(&code, at);
        let lines = line_of(&code, item_end(&code, at) - 1) - first + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
            found.push(Finding::new(first, what));
        }
    }
    found
}

/// The file does not say what lives in it.
pub fn opening(source: &Source) -> Vec<Finding> {
    let first = source.raw.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//!").is_some_and(|text| text.trim().len() > 12);
    if says { Vec::new() } else { vec![Finding::new(1, format!("opens with `{first}`"))] }
}

/// The file or a folder above it has a name that says nothing.
pub fn name(source: &Source) -> Vec<Finding> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| Finding::new(1, format!("is named `{part}`")))
        .collect()
}

/// A module that is declared inline with such a name.
pub fn module_name(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for empty in EMPTY_NAMES {
        for line in words(&source.code, empty) {
            let text = source.code.lines().nth(line - 1).unwrap_or_default();
            if text.contains(&format!("mod {empty} {{")) {
                found.push(Finding::new(line, format!("declares `mod {empty}`")));
            }
        }
    }
    found
}
