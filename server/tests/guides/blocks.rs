//! Code blocks of a document and what their first line asks for: to be run, to be written to a file, to
//! be compared with what was printed. Not here: the running.

/// What happens to a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `bash`: its lines are run, in one shell with all others of the document.
    Run,
    /// `bash server`: starts the program, which goes on running.
    Server,
    /// `LANGUAGE file=NAME`: is a file, written before anything is run.
    File(String),
    /// `text output`, `json output`: what the block before prints. `...` stands for anything.
    Output {
        /// Whether blanks and line breaks between tokens mean nothing.
        json: bool,
    },
    /// Anything else.
    Unknown(String),
}

/// A fenced block.
#[derive(Debug, Clone)]
pub struct Block {
    /// Where it begins, from 1.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
}

/// The blocks of a document, in order.
pub fn read(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in document.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                open = true;
                blocks.push(Block { line: index + 1, kind: kind(info), text: String::new() });
            }
            None if open => {
                let block = blocks.last_mut().expect("a fence was read");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

fn kind(info: &str) -> Kind {
    match info.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["bash"] => Kind::Run,
        ["bash", "server"] => Kind::Server,
        ["text", "output"] => Kind::Output { json: false },
        ["json", "output"] => Kind::Output { json: true },
        [_, file] if file.starts_with("file=") => Kind::File(file["file=".len()..].to_owned()),
        _ => Kind::Unknown(info.to_owned()),
    }
}

/// The document without its blocks.
pub fn without(document: &str) -> String {
    let mut open = false;
    let mut text = String::new();
    for line in document.lines() {
        if line.starts_with("```") {
            open = !open;
        } else if !open {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Blocks that nothing runs, uses or compares, each with its line.
pub fn faults(blocks: &[Block]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ran = false;
    for (at, block) in blocks.iter().enumerate() {
        let fault = match &block.kind {
            Kind::Unknown(info) => Some(format!(
                "nothing runs a block `{info}`: say bash, `file=NAME`, `text output` or `json output`"
            )),
            Kind::File(name) => {
                let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
                let stem = base.split('.').next().unwrap_or(base);
                let used = blocks.iter().enumerate().any(|(other, block)| {
                    let names = |word: &str| !word.is_empty() && block.text.contains(word);
                    other != at && (names(stem) || names(folder))
                });
                (!used).then(|| format!("no block uses the file {name}"))
            }
            Kind::Output { .. } if !ran => Some("is the output of no block before it".to_owned()),
            _ => None,
        };
        faults.extend(fault.map(|fault| format!("{}: {fault}", block.line)));
        ran = matches!(block.kind, Kind::Run | Kind::Server);
    }
    faults
}
