//! The command line: the real program as a child process, against a server inside the test. Most on
//! SQLite; what meets the database itself on PostgreSQL too.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

#[path = "cli/admin.rs"]
mod admin;
#[path = "cli/compat.rs"]
mod compat;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/https.rs"]
mod https;
#[path = "cli/listen.rs"]
mod listen;
#[path = "cli/pipes.rs"]
mod pipes;
#[path = "cli/process.rs"]
mod process;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/reference.rs"]
mod reference;
#[path = "cli/roles.rs"]
mod roles;
#[path = "cli/shell.rs"]
mod shell;
#[path = "support/shell_words.rs"]
mod shell_words;
mod support;
#[path = "support/tls_proxy.rs"]
mod tls_proxy;
#[path = "cli/trigger.rs"]
mod trigger;
#[path = "cli/whole.rs"]
mod whole;
