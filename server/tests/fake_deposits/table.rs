//! The rows of the catalogue: every case that held prints a line and leaves it in a file, whatever the
//! binary, the order and the threads; `make test` prints the file when the tests are over.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Names the file; without it the lines are only printed.
const VARIABLE: &str = "FAKE_DEPOSITS_LOG";

/// What must become of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not money of ours: nothing is recorded as a payment.
    Refused,
    /// Seen, and worth nothing before it is in a block that stays.
    Held,
    /// Money like any other, credited as often as it was paid.
    Credited,
    /// Was credited, and is taken back.
    TakenBack,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Held => "held",
            Self::Credited => "credited",
            Self::TakenBack => "taken back",
        }
    }
}

/// One case: its number in the catalogue, what is tried, what must become of it, and why.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub id: &'static str,
    pub case: &'static str,
    pub verdict: Verdict,
    pub why: &'static str,
}

impl Row {
    pub const fn new(
        id: &'static str,
        case: &'static str,
        verdict: Verdict,
        why: &'static str,
    ) -> Self {
        Self { id, case, verdict, why }
    }

    /// Notes that the case held.
    pub fn held(&self) {
        let Self { id, case, verdict, why } = self;
        let line = format!("{id:<5} {case:<62} {:<10} {why}\n", verdict.as_str());
        print!("{line}");
        let Some(path) = std::env::var_os(VARIABLE) else { return };
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write of one short line: lines of other threads and binaries stay whole.
        file.write_all(line.as_bytes()).unwrap();
    }
}
