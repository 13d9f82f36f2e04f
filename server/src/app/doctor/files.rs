//! Files and who may read them: the data directory, what in it is for its owner alone, the keystore
//! with its passphrase.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;

use super::Check;
use crate::app::{configured_key, configured_passphrase, secrets_file, wallet_directory};
use crate::config::Config;
use crate::private_file;
use crate::signer::keystore;
use crate::signer::local::{inspect, wallet_id};

const DIRECTORY: &str = "data_dir";
const KEYSTORE: &str = "keystore";
/// Everybody's bits but the owner's.
const OTHERS: u32 = 0o077;

/// The data directory and the files in it that nobody else may read.
pub fn directory(config: &Config) -> Vec<Check> {
    let path = &config.data_dir;
    let shown = path.display();
    let mode = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => found.permissions().mode(),
        Ok(_) => {
            let text = format!("{shown} is no directory");
            return vec![Check::fail(DIRECTORY, text, "name another one with --data-dir")];
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = format!("{shown} does not exist");
            return vec![Check::warn(DIRECTORY, text, "it is made at the first start")];
        }
        Err(error) => {
            let text = format!("{shown}: {error}");
            return vec![Check::fail(DIRECTORY, text, "run this as the server's own user")];
        }
    };
    let mut checks = Vec::new();
    if mode & OTHERS == 0 {
        checks.push(Check::ok(DIRECTORY, format!("{shown} is its owner's alone")));
    } else {
        let text = format!("others can enter {shown} (mode {:o})", mode & 0o777);
        checks.push(Check::fail(DIRECTORY, text, format!("chmod 700 {shown}")));
    }
    let wallet = wallet_directory(config);
    let private = [
        secrets_file(config),
        path.join("sandbox-credentials.json"),
        wallet.join("keystore.passphrase"),
        wallet.join("issued.jsonl"),
        config.signer.passphrase_file.clone(),
    ];
    for file in private.iter().filter(|file| file.is_file()) {
        if let Err(error) = private_file::check(file) {
            let cure = format!("chmod 600 {}", file.display());
            checks.push(Check::fail("private files", error.to_string(), cure));
        }
    }
    checks
}

/// Whether the keystore opens, and the id of the wallet in it.
pub fn keystore(config: &Config) -> (Check, Option<String>) {
    let directory = wallet_directory(config);
    if !keystore::exists(&directory) {
        return without_keystore(config);
    }
    let opened = configured_passphrase(config).and_then(|configured| {
        let passphrase = keystore::known_passphrase(configured, config.is_sandbox(), &directory)?;
        let passphrase =
            passphrase.ok_or_else(|| anyhow::anyhow!("keystore.passphrase is missing"))?;
        Ok(inspect(&directory, config.environment.as_str(), &passphrase)?)
    });
    match opened {
        Ok(id) => {
            let text = format!("opens; wallet {}", id.get(..16).unwrap_or(&id));
            (Check::ok(KEYSTORE, text), Some(id))
        }
        Err(error) => {
            let cure = "set signer.passphrase_file to the passphrase it was made with, or restore the \
                        directory `wallet` from a backup; without it no address can be swept";
            (Check::fail(KEYSTORE, format!("{error:#}"), cure), None)
        }
    }
}

fn without_keystore(config: &Config) -> (Check, Option<String>) {
    if config.signer.public_key.is_empty() {
        let cure = "it is made at the first start; back up the directory `wallet` then";
        return (Check::warn(KEYSTORE, "there is none", cure), None);
    }
    match configured_key(config) {
        Ok(key) => {
            let text = "none here; signer.public_key vouches for addresses (role api)";
            (Check::ok(KEYSTORE, text), Some(wallet_id(&key)))
        }
        Err(error) => {
            let cure = "copy public_key from the log of `cryptopayment worker`";
            (Check::fail(KEYSTORE, format!("{error:#}"), cure), None)
        }
    }
}
