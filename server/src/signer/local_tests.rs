//! The signer as its user meets it: created, opened again, restored, tampered with.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use super::*;
use crate::signer::keystore;

const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";

fn settings(directory: &Path) -> KeystoreSettings {
    KeystoreSettings {
        directory: directory.to_owned(),
        environment: "sandbox".to_owned(),
        chains: Network::ALL.map(|network| (network, ChainKind::Sandbox)).into(),
    }
}

fn pass(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn open(directory: &Path, passphrase: &str) -> Result<LocalSigner, SignerError> {
    LocalSigner::open(settings(directory), &pass(passphrase), Env::system())
}

#[tokio::test]
async fn addresses_survive_a_restart_and_their_signatures_hold() {
    let home = tempfile::tempdir().unwrap();
    let signer = open(home.path(), "a").unwrap();
    assert!(signer.created());
    let first = signer.addresses(Network::Ltc, Role::Deposit, 0, 5).await.unwrap();
    let id = signer.wallet_id();
    drop(signer);

    let signer = open(home.path(), "a").unwrap();
    assert!(!signer.created());
    assert_eq!(signer.wallet_id(), id);
    assert_eq!(signer.next_index(Network::Ltc, Role::Deposit).await.unwrap(), 5);
    assert_eq!(signer.addresses(Network::Ltc, Role::Deposit, 0, 5).await.unwrap(), first);
    let key = signer.verifying_key();
    for signed in &first {
        assert!(signed.is_authentic(&key, "sandbox"));
        assert!(!signed.is_authentic(&key, "live"));
        assert!(signed.address.text.starts_with("rltc1q"));
        let mut moved = signed.clone();
        moved.address.index += 1;
        assert!(!moved.is_authentic(&key, "sandbox"));
        let mut other = signed.clone();
        other.address.key[2] ^= 1;
        assert!(!other.is_authentic(&key, "sandbox"));
    }
}

#[test]
fn one_process_one_passphrase_one_environment() {
    let home = tempfile::tempdir().unwrap();
    let signer = open(home.path(), "a").unwrap();
    let second = open(home.path(), "a").unwrap_err().to_string();
    assert!(second.contains("another process"), "{second}");
    drop(signer);
    let wrong = open(home.path(), "b").unwrap_err().to_string();
    assert!(wrong.contains("wrong passphrase"), "{wrong}");
    let live = KeystoreSettings { environment: "live".to_owned(), ..settings(home.path()) };
    let other = LocalSigner::open(live, &pass("a"), Env::system()).unwrap_err().to_string();
    assert!(other.contains("belongs to sandbox"), "{other}");
}

#[tokio::test]
async fn restoring_gives_the_same_addresses() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut texts = Vec::new();
    for home in [&one, &two] {
        let signer =
            LocalSigner::restore(settings(home.path()), &pass("a"), WORDS, Env::system()).unwrap();
        let signed = signer.addresses(Network::Trc20, Role::Deposit, 7, 1).await.unwrap();
        texts.push(signed[0].address.text.clone());
        let again = LocalSigner::restore(settings(home.path()), &pass("a"), WORDS, Env::system());
        assert!(again.is_err(), "an existing keystore is never overwritten");
    }
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].starts_with('T'));
}

#[tokio::test]
async fn a_torn_line_is_forgotten_and_a_changed_one_refuses() {
    let home = tempfile::tempdir().unwrap();
    let signer = open(home.path(), "a").unwrap();
    signer.addresses(Network::Ltc, Role::Deposit, 0, 3).await.unwrap();
    signer.addresses(Network::Ltc, Role::Deposit, 3, 3).await.unwrap();
    drop(signer);
    let log = home.path().join(LOG_FILE);
    let sound = fs::read_to_string(&log).unwrap();

    fs::write(&log, format!("{sound}{{\"at\":1,\"netw")).unwrap();
    let signer = open(home.path(), "a").unwrap();
    assert_eq!(signer.next_index(Network::Ltc, Role::Deposit).await.unwrap(), 6);
    drop(signer);

    fs::write(&log, sound.replacen("\"next_index\":3", "\"next_index\":2", 1)).unwrap();
    assert!(open(home.path(), "a").unwrap_err().to_string().contains("line 1 is damaged"));
    let second_line = sound.lines().nth(1).unwrap();
    fs::write(&log, format!("{second_line}\n")).unwrap();
    assert!(open(home.path(), "a").is_err(), "a removed line is noticed");
}

#[test]
fn files_are_private_and_hold_no_word_in_the_clear() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = tempfile::tempdir().unwrap();
    let signer =
        LocalSigner::restore(settings(home.path()), &pass("a"), WORDS, Env::system()).unwrap();
    assert!(!format!("{signer:?}").contains("abandon"));
    let file = home.path().join("keystore.json");
    assert!(!fs::read_to_string(&file).unwrap().contains("abandon"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(signer);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(home.path(), "a").unwrap_err().to_string().contains("readable by others"));
}

#[test]
fn the_sandbox_keeps_a_passphrase_and_live_demands_one() {
    let home = tempfile::tempdir().unwrap();
    let env = Env::system();
    let first = keystore::passphrase(None, true, home.path(), &env).unwrap();
    let again = keystore::passphrase(None, true, home.path(), &env).unwrap();
    assert_eq!(first, again);
    assert!(first.len() >= 64);
    assert!(keystore::passphrase(None, false, home.path(), &env).is_err());
    assert!(keystore::passphrase(Some(pass("")), false, home.path(), &env).is_err());
}

#[tokio::test]
async fn what_it_was_not_asked_to_serve_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let only_ltc = KeystoreSettings {
        chains: [(Network::Ltc, ChainKind::Sandbox)].into(),
        ..settings(home.path())
    };
    let signer = LocalSigner::open(only_ltc, &pass("a"), Env::system()).unwrap();
    assert!(signer.addresses(Network::Btc, Role::Deposit, 0, 1).await.is_err());
    assert!(signer.addresses(Network::Ltc, Role::Deposit, 0, 10_001).await.is_err());
    assert!(signer.addresses(Network::Ltc, Role::Deposit, (1 << 31) - 1, 2).await.is_err());
    assert_eq!(signer.next_index(Network::Ltc, Role::Deposit).await.unwrap(), 0);
}
