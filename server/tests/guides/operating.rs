//! The samples of `docs/operating`: settings are loaded, commands and rules are read as the program and
//! Prometheus would. Nothing is run there: what an operator has (nodes, a monitoring) is not here. Not here:
//! which metrics there are (`guides/metrics.rs`).

use std::collections::BTreeSet;

use clap::Parser as _;
use cryptopayment::cli::Arguments;
use cryptopayment::config::{Config, Flags};
use serde_json::Value;
use toml::Table;

use super::blocks::{self, Block, Kind};
use super::{metrics, yaml};
use crate::shell_words::commands;
use crate::support::parts;

/// Where the pages are.
pub const FOLDER: &str = "docs/operating";
/// What a deployment with real money has set besides a sample: samples are for these.
const LIVE: &str = "
environment = \"live\"
http.public_url = \"https://pay.example\"
rates.source = \"market\"
signer.passphrase_file = \"/etc/cryptopayment/passphrase\"
networks.trc20.enabled = false
networks.bep20.enabled = false
networks.eth.enabled = false
networks.btc.enabled = false
networks.ltc = { backend = \"node\", chain = \"mainnet\", node = { url = \"http://127.0.0.1:9332\" } }
";

/// Settings of a unit of systemd (systemd.unit, systemd.service and systemd.exec) that samples use.
const UNIT: [(&str, &[&str]); 3] = [
    ("Unit", &["Description", "After", "Wants"]),
    (
        "Service",
        &[
            "User",
            "ExecStart",
            "StateDirectory",
            "StateDirectoryMode",
            "UMask",
            "LimitNOFILE",
            "Restart",
            "RestartSec",
            "RestartPreventExitStatus",
            "TimeoutStopSec",
            "NoNewPrivileges",
            "PrivateTmp",
            "ProtectHome",
            "ProtectSystem",
        ],
    ),
    ("Install", &["WantedBy"]),
];

/// What is wrong with each sample of a page, with its line.
fn faults(page: &str) -> Vec<String> {
    let wrong = |block: &Block| {
        let Kind::Unknown(language) = &block.kind else {
            return match block.kind {
                Kind::Run => wrong_commands(&block.text),
                _ => vec!["nothing is run here: say bash, toml, ini or yaml".to_owned()],
            };
        };
        match language.as_str() {
            "toml" => wrong_settings(&block.text),
            "ini" if block.text.starts_with('[') => wrong_unit(&block.text),
            "ini" => wrong_options(&block.text),
            "yaml" => wrong_rules(&block.text),
            _ => vec![format!("nothing reads a block `{language}`: say bash, toml, ini or yaml")],
        }
    };
    let of_block = |block: &Block| {
        let line = block.line;
        wrong(block).into_iter().map(move |fault| format!("{line}: {fault}"))
    };
    blocks::read(page).iter().flat_map(of_block).collect()
}

/// Commands of the program and of make.
fn wrong_commands(text: &str) -> Vec<String> {
    commands(text).iter().filter_map(|words| wrong_command(words)).collect()
}

fn wrong_command(words: &[String]) -> Option<String> {
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["cryptopayment", ..] => {
            Arguments::try_parse_from(words).err().map(|error| error.to_string())
        }
        ["make", target, set @ ..] => {
            let makefile = super::read("Makefile");
            let rule = makefile.split(&format!("\n{target}:")).nth(1);
            let uses = |one: &&str| {
                let name = one.split('=').next().unwrap_or_default();
                rule.is_some_and(|rule| rule.contains(&format!("$({name})")))
            };
            let known = rule.is_some() && set.iter().all(uses);
            (!known).then(|| format!("make knows no {target} {set:?}"))
        }
        _ => Some(format!("{words:?} is no command of the program and none of make")),
    }
}

/// Settings, loaded as the file of a live deployment.
fn wrong_settings(text: &str) -> Vec<String> {
    let sample = match toml::from_str::<Table>(text) {
        Ok(sample) => sample,
        Err(error) => return vec![error.to_string()],
    };
    let mut whole: Table = toml::from_str(LIVE).unwrap();
    if let Some(networks) = sample.get("networks").and_then(toml::Value::as_table) {
        // Theirs are the defaults: on, and with what the sample says.
        let others = whole["networks"].as_table_mut().unwrap();
        others.retain(|name, _| !networks.contains_key(name));
    }
    merge(&mut whole, sample);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cryptopayment.toml");
    std::fs::write(&file, toml::to_string(&whole).unwrap()).unwrap();
    let flags = Flags { data_dir: Some(folder.path().join("data")) };
    Config::load(Some(&file), &flags).err().map_or_else(Vec::new, |error| error.0)
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => merge(inner, value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Settings of a node of the family of Bitcoin: each is one of its options.
fn wrong_options(text: &str) -> Vec<String> {
    let help = std::process::Command::new(parts::litecoind()).arg("-help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  -"))
        .filter_map(|line| line.split(['=', ' ']).next())
        .collect();
    assert!(options.len() > 50, "{help}");
    let is_option = |line: &str| line.split_once('=').is_some_and(|(key, _)| options.contains(key));
    let wrong = text.lines().filter(|line| !is_option(line));
    wrong.map(|line| format!("{line}: no such option")).collect()
}

/// A unit of systemd: nothing but settings that are known here, and a command of the program.
fn wrong_unit(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut section = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            faults.push(format!("{line}: is no `Key=value`"));
            continue;
        };
        let known = UNIT.iter().any(|(of, keys)| *of == section && keys.contains(&key));
        if !known {
            faults.push(format!("[{section}] {key}: is not known"));
        }
        if key == "ExecStart" {
            let command = value.rsplit_once("/bin/").map_or(value, |(_, command)| command);
            faults.extend(wrong_commands(command));
        }
    }
    faults
}

/// What Prometheus is told: where to ask, and when to alert.
fn wrong_rules(text: &str) -> Vec<String> {
    let read = match yaml::read(text) {
        Ok(read) => read,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    let lists = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let jobs = lists(&read, "scrape_configs");
    for job in &jobs {
        let targets = lists(&job["static_configs"][0], "targets");
        if !job["job_name"].is_string() || targets.is_empty() {
            faults.push(format!("asks nobody: {job}"));
        }
    }
    let rules: Vec<Value> =
        lists(&read, "groups").iter().flat_map(|one| lists(one, "rules")).collect();
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap_or("an alert without a name");
        let fault = match rule["expr"].as_str() {
            Some(expression) => metrics::fault(expression),
            None => Some("has no expression".to_owned()),
        };
        faults.extend(fault.map(|fault| format!("{name}: {fault}")));
        if rule.get("for").is_some_and(|time| !is_duration(time)) {
            faults.push(format!("{name}: waits {}", rule["for"]));
        }
    }
    if jobs.is_empty() && rules.is_empty() {
        faults.push("is nothing for Prometheus".to_owned());
    }
    faults
}

fn is_duration(time: &Value) -> bool {
    let number = time.as_str().and_then(|time| time.strip_suffix(['s', 'm', 'h']));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[test]
fn every_sample_of_operating_can_be_used() {
    let planted = "```toml\n[http]\nlistne = \"127.0.0.1:1\"\n```\n```\nls\n```\n```bash\nls\n```\n\
                   ```bash\ncryptopayment admin audits\nmake tset\nmake bench PART=scan\n```\n\
                   ```ini\nprunes=0\n```\n```yaml\na: b\n```\n```json output\n```\n\
                   ```yaml\ngroups:\n  - rules:\n      - alert: A\n        for: 1d\n```\n\
                   ```ini\n[Unit]\nUser=a\n[Service]\nExecStart=/usr/bin/cryptopayment --confg a\n```\n";
    assert_eq!(faults(planted).len(), 13, "the law is blind: {:#?}", faults(planted));
    let mut seen = Vec::new();
    for page in super::markdown_below(FOLDER) {
        let found = faults(&super::read(&page));
        seen.extend(found.into_iter().map(|fault| format!("{page}:{fault}")));
    }
    assert!(seen.is_empty(), "\n{}\n", seen.join("\n"));
    let job = "job_name: cryptopayment\n";
    assert!(super::read(metrics::PATH).contains(job), "the rule of `up` asks for that job");
}

/// The file that a first live deployment is begun with needs nothing beside it.
#[test]
fn the_whole_file_of_a_live_deployment_loads_by_itself() {
    let page = super::read("docs/operating/going-live.md");
    let blocks = blocks::read(&page);
    let is_settings = |block: &&Block| block.kind == Kind::Unknown("toml".to_owned());
    let sample = blocks.iter().find(is_settings).expect("the page has settings");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cryptopayment.toml");
    std::fs::write(&file, &sample.text).unwrap();
    let config = Config::load(Some(&file), &Flags::default()).unwrap();
    assert!(!config.is_sandbox() && config.enabled().len() > 1);
}

/// The samples load where they are to be used, not by a leniency of this test.
#[test]
fn what_samples_are_loaded_beside_is_a_live_deployment() {
    assert_eq!(wrong_settings(""), Vec::<String>::new());
    let faults = wrong_settings("[networks.btc]\nbackend = \"node\"\nchain = \"regtest\"\n");
    assert!(faults.iter().any(|fault| fault.contains("live takes mainnet alone")), "{faults:?}");
}
