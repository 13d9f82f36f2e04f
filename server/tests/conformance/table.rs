//! The table of cases by network: every case that held leaves a line in a file, whatever the binary,
//! the order and the threads; `scripts/conformance-table.sh` prints it when the tests are over.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Names the file; without it nothing is noted.
const VARIABLE: &str = "CONFORMANCE_LOG";

/// Notes that a case held. `module` is where the test was made: `sqlite::it::networks::btc`.
pub fn passed(module: &str, case: &str) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let binary = module.split("::").next().unwrap_or_default();
    let column = module.rsplit("::").next().unwrap_or_default();
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    // One write of one short line: lines of other threads and binaries stay whole.
    file.write_all(format!("{binary} {column} {case}\n").as_bytes()).unwrap();
}
