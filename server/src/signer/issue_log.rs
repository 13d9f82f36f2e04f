//! The signer's own log: which indexes it has issued, one JSON line each, every line bound to the
//! one before it by a hash. Written to the disk before an address leaves the signer. Not here: keys.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::SignerError;
use crate::domain::address::Role;
use crate::domain::asset::Network;
use crate::env::Env;

/// One line: indexes below `next_index` were issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: i64,
    network: String,
    role: u32,
    next_index: u32,
    prev: String,
    hash: String,
}

/// The open log.
#[derive(Debug)]
pub struct IssueLog {
    file: File,
    last_hash: String,
    last_at: i64,
    next: BTreeMap<(Network, u32), u32>,
}

impl IssueLog {
    /// Opens the log and checks every line. A last line that a crash cut off is removed: what it
    /// would have recorded never left the signer. Any other damage refuses to open.
    pub fn open(path: &Path) -> Result<Self, SignerError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
        file.seek(SeekFrom::End(0))?;
        let mut log =
            Self { file, last_hash: String::new(), last_at: i64::MIN, next: BTreeMap::new() };
        for (number, line) in text[..whole].lines().enumerate() {
            log.accept(line).ok_or_else(|| {
                SignerError::Keystore(format!("issue log: line {} is damaged", number + 1))
            })?;
        }
        Ok(log)
    }

    fn accept(&mut self, text: &str) -> Option<()> {
        let line: Line = serde_json::from_str(text).ok()?;
        let network: Network = line.network.parse().ok()?;
        let sound =
            line.prev == self.last_hash && line.hash == hash(&line) && line.at >= self.last_at;
        if !sound {
            return None;
        }
        let next = self.next.entry((network, line.role)).or_default();
        if line.next_index <= *next {
            return None;
        }
        *next = line.next_index;
        self.last_hash = line.hash;
        self.last_at = line.at;
        Some(())
    }

    /// One past the highest index issued.
    pub fn next_index(&self, network: Network, role: Role) -> u32 {
        self.next.get(&(network, role.level())).copied().unwrap_or(0)
    }

    /// Records that indexes below `next_index` are issued; on the disk when this returns. Time never
    /// goes backwards in the log, whatever the clock does.
    pub fn record(
        &mut self,
        network: Network,
        role: Role,
        next_index: u32,
        env: &Env,
    ) -> Result<(), SignerError> {
        if next_index <= self.next_index(network, role) {
            return Ok(());
        }
        let mut line = Line {
            at: env.system_now().0.max(self.last_at),
            network: network.as_str().to_owned(),
            role: role.level(),
            next_index,
            prev: self.last_hash.clone(),
            hash: String::new(),
        };
        line.hash = hash(&line);
        let mut text = serde_json::to_string(&line)
            .map_err(|error| SignerError::Keystore(error.to_string()))?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.next.insert((network, role.level()), next_index);
        self.last_hash = line.hash;
        self.last_at = line.at;
        Ok(())
    }
}

fn hash(line: &Line) -> String {
    let Line { at, network, role, next_index, prev, .. } = line;
    hex::encode(Sha256::digest(format!("{at}\n{network}\n{role}\n{next_index}\n{prev}")))
}
