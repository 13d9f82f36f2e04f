//! The program as a process that serves until it is told to end: its output, its log, its end. Not here:
//! commands that end by themselves (`program`).

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;

use crate::program::{closed_pipe, program};
use crate::support::server::{DEADLINE, eventually};

/// A process that runs; it does not outlive its test.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the program with a configuration file, beside which its log is written, a data directory and
    /// a role, or none.
    pub fn start(file: &Path, data: &Path, role: Option<&str>) -> Self {
        let mut command = program();
        command.args(role);
        Self::spawn(command, file, data)
    }

    /// The same in every role, with standard output closed before it says anything.
    pub fn start_unread(file: &Path, data: &Path) -> Self {
        let mut command = program();
        command.stdout(closed_pipe());
        Self::spawn(command, file, data)
    }

    fn spawn(mut command: Command, file: &Path, data: &Path) -> Self {
        let log = file.with_extension("log");
        command.arg("--config").arg(file).arg("--data-dir").arg(data);
        let child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    /// What it prints up to the line with this text.
    pub async fn printed(&mut self, last: &'static str) -> String {
        let output = BufReader::new(self.child.stdout.take().unwrap());
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            for line in output.lines().map_while(Result::ok) {
                text += &format!("{line}\n");
                if line.contains(last) {
                    break;
                }
            }
            text
        });
        let text = tokio::time::timeout(DEADLINE, reading).await.expect("it starts").unwrap();
        assert!(text.contains(last), "{text}\n{}", self.log());
        text
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The lines of the log with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// SIGTERM, which it answers by ending well.
    pub async fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = eventually("it ends", || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        })
        .await;
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands behind this label in what a server prints when it is ready.
pub fn word<'a>(banner: &'a str, label: &str) -> &'a str {
    let rest = banner.split(label).nth(1).unwrap_or_else(|| panic!("{banner}"));
    rest.split_whitespace().next().unwrap()
}
