//! A Rust file as the layout rules see it: its code without comments and literals, its string
//! literals by line, and which of both stand in tests. A lexer of the few tokens this needs, not a
//! parser. Not here: the rules.

use std::fs;
use std::path::{Path, PathBuf};

/// A string literal, unquoted, and where it starts.
pub struct Literal {
    pub line: usize,
    pub text: String,
    at: usize,
}

/// One file.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    pub raw: String,
    /// Comments and the contents of literals are spaces; lines stay where they are.
    pub code: String,
    pub literals: Vec<Literal>,
    /// Like `code`, and what is compiled for tests only is spaces too.
    pub live_code: String,
    /// Whether the whole file belongs to tests.
    pub is_test: bool,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let (code, mut literals) = split(raw);
        let live: Vec<char> = without_test_items(&code);
        for literal in &mut literals {
            literal.line = line_of(&code, literal.at);
        }
        Self {
            path: path.to_owned(),
            raw: raw.to_owned(),
            code: code.iter().collect(),
            literals,
            live_code: live.iter().collect(),
            is_test: path.split('/').any(|part| part == "tests" || part == "benches")
                || stem(path) == "tests"
                || stem(path).ends_with("_tests"),
        }
    }

    /// The room of `server/src` it belongs to: `store` of `server/src/store/ledger.rs`.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("server/src/")?;
        inside.split('/').next().map(|first| first.trim_end_matches(".rs"))
    }

    /// The literals that are not in tests.
    pub fn live_literals(&self) -> impl Iterator<Item = &Literal> {
        let live: Vec<char> = self.live_code.chars().collect();
        self.literals.iter().filter(move |literal| live[literal.at] == '"')
    }

    /// Files that this one declares with `#[cfg(test)] mod name;`, without their `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own = match stem(&self.path) {
            "mod" | "lib" | "main" => folder.to_owned(),
            name => format!("{folder}/{name}"),
        };
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("#[cfg(test)]") {
            let item = &self.code[at..];
            let declaration = item.split(['{', ';']).next().unwrap_or_default();
            if !item[declaration.len()..].starts_with(';') {
                continue;
            }
            if let Some((_, name)) = declaration.split_once("mod ") {
                found.push(format!("{own}/{}", name.trim()));
            }
        }
        found
    }
}

fn stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Every Rust file of the workspace.
pub fn workspace() -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = Vec::new();
    for folder in ["gateway", "migrations", "proto", "sdk", "server"] {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below the root").to_string_lossy();
            Source::new(&name, &fs::read_to_string(path).expect("readable UTF-8"))
        })
        .collect();
    let declared: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let module = source.path.trim_end_matches(".rs");
        source.is_test |= declared.iter().any(|test| {
            module == test || module.strip_prefix(test).is_some_and(|rest| rest.starts_with('/'))
        });
    }
    assert!(sources.len() > 10, "the walk must see the workspace, not {} files", sources.len());
    sources
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, "target" | "node_modules" | "generated") && !name.starts_with('.')
            {
                collect(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The 1-based line of a character.
pub fn line_of(code: &[char], at: usize) -> usize {
    1 + code[..at].iter().filter(|&&c| c == '\n').count()
}

/// Blanks comments and the contents of literals; collects the string literals.
fn split(raw: &str) -> (Vec<char>, Vec<Literal>) {
    let mut code: Vec<char> = raw.chars().collect();
    let mut literals = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let end = match (code[at], code.get(at + 1)) {
            ('/', Some('/')) => end_of_line(&code, at),
            ('/', Some('*')) => end_of_block_comment(&code, at),
            ('"', _) => {
                let hashes = raw_hashes(&code, at);
                let end = end_of_string(&code, at, hashes);
                let text: String = code[at + 1..end.saturating_sub(1)].iter().collect();
                literals.push(Literal { line: 0, text, at });
                blank(&mut code, at + 1, end.saturating_sub(1));
                at = end + hashes.unwrap_or(0);
                continue;
            }
            ('\'', Some(next)) => match end_of_char(&code, at, *next) {
                Some(end) => end,
                None => at + 1, // a lifetime
            },
            _ => {
                at += 1;
                continue;
            }
        };
        if end > at + 1 {
            blank(&mut code, at, end);
        }
        at = end;
    }
    (code, literals)
}

fn blank(code: &mut [char], from: usize, to: usize) {
    let to = to.min(code.len());
    for c in code.iter_mut().take(to).skip(from).filter(|c| **c != '\n') {
        *c = ' ';
    }
}

fn end_of_line(code: &[char], at: usize) -> usize {
    code[at..].iter().position(|&c| c == '\n').map_or(code.len(), |n| at + n)
}

fn end_of_block_comment(code: &[char], at: usize) -> usize {
    let (mut depth, mut here) = (0, at);
    while here + 1 < code.len() {
        match (code[here], code[here + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                here += 1;
                continue;
            }
        }
        here += 2;
        if depth == 0 {
            return here;
        }
    }
    code.len()
}

/// How many `#` stand between an `r` and the quote; `None` when the string is not raw.
fn raw_hashes(code: &[char], quote: usize) -> Option<usize> {
    let hashes = code[..quote].iter().rev().take_while(|&&c| c == '#').count();
    let prefix = quote.checked_sub(hashes + 1)?;
    (code[prefix] == 'r').then_some(hashes)
}

/// One past the closing quote.
fn end_of_string(code: &[char], quote: usize, raw: Option<usize>) -> usize {
    let mut here = quote + 1;
    while here < code.len() {
        match (code[here], raw) {
            ('\\', None) => here += 1,
            ('"', None) => return here + 1,
            ('"', Some(hashes)) => {
                let follow = code[here + 1..].iter().take_while(|&&c| c == '#').count();
                if follow >= hashes {
                    return here + 1;
                }
            }
            _ => {}
        }
        here += 1;
    }
    code.len()
}

/// One past a character literal; `None` for a lifetime.
fn end_of_char(code: &[char], at: usize, next: char) -> Option<usize> {
    if next != '\\' {
        return (code.get(at + 2) == Some(&'\'')).then_some(at + 3);
    }
    code[at + 3..].iter().position(|&c| c == '\'').map(|n| at + 4 + n)
}

/// Blanks each item that stands behind `#[cfg(test)]`.
fn without_test_items(code: &[char]) -> Vec<char> {
    let mark: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut live = code.to_vec();
    let mut at = 0;
    while at + mark.len() <= code.len() {
        if code[at..at + mark.len()] != mark[..] {
            at += 1;
            continue;
        }
        let end = item_end(code, at + mark.len());
        blank(&mut live, at, end);
        at = end;
    }
    live
}

/// One past the item that starts here: its closing brace, or its semicolon.
pub fn item_end(code: &[char], from: usize) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (offset, c) in code[from..].iter().enumerate() {
        match c {
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 && others == 0 {
                    return from + offset + 1;
                }
            }
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            ';' if braces == 0 && others == 0 => return from + offset + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let source = Source::new(
        "server/src/store/x.rs",
        concat!(
            "fn a<'x>(b: &'x str) { /* c /* d */ e */ let f = '\"'; // g\n",
            "  let h = \"i \\\" j\"; let k = r#\"l \" m\"#; let n = b'\\''; }\n",
            "#[cfg(test)]\nmod tests { const O: &str = \"p\"; }\nfn q() {}\n",
        ),
    );
    for gone in [" c ", " d ", " e ", " g", " i ", "j", "l ", " m"] {
        assert!(!source.code.contains(gone), "{gone:?} is left in {}", source.code);
    }
    assert!(source.code.contains("let n"), "{}", source.code);
    let texts: Vec<&str> = source.literals.iter().map(|literal| literal.text.as_str()).collect();
    assert_eq!(texts, ["i \\\" j", "l \" m", "p"]);
    assert_eq!(source.literals[1].line, 2);
    assert_eq!(source.live_literals().count(), 2);
    assert!(!source.live_code.contains("mod tests") && source.live_code.contains("fn q"));
    assert_eq!(source.room(), Some("store"));
}
