//! Alarms that this test program's servers raised: what an operator reads in the log at level ERROR. Not
//! here: other lines.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use tracing::Level;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Keeps what is written to it.
struct Kept;

impl Write for Kept {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Listens from here on, to every server of this program.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt().json().with_max_level(Level::ERROR);
        log.with_writer(|| Kept).init();
    });
}

/// Whether this alarm was raised with this word in its line.
pub fn raised(alarm: &str, word: &str) -> bool {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&lines);
    lines
        .lines()
        .any(|line| line.contains(&format!("\"alarm\":\"{alarm}\"")) && line.contains(word))
}
