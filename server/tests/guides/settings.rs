//! The page of settings, written from the defaults file: each table, each setting with its variable, its
//! default and its comment. Not here: who compares it with `docs/operating/configuration.md`.

use cryptopayment::config::DEFAULTS;

/// Where the page stands in the repository.
pub const PATH: &str = "docs/operating/configuration.md";
/// What names of environment variables begin with.
const PREFIX: &str = "CRYPTOPAYMENT_";

/// What names of the networks' tables begin with.
const NETWORKS: &str = "networks.";

/// A setting.
struct Setting {
    key: String,
    default: String,
    about: String,
}

/// A table of settings; the first has no name.
#[derive(Default)]
struct Table {
    name: String,
    about: String,
    settings: Vec<Setting>,
}

/// The page.
pub fn page() -> String {
    let (about, tables) = read(DEFAULTS);
    let tables = with_networks_as_one(tables);
    let mut text = format!(
        "<!-- Written by a test from server/config.default.toml: UPDATE_DOCS=1 cargo test -p cryptopayment \
         --test guides -->\n# Configuration\n\n{about}\n\nA deployment that is wrong in a setting does not \
         start and names every setting that is wrong.\n"
    );
    for table in tables.iter().filter(|table| !table.name.is_empty() || !table.settings.is_empty())
    {
        let title = if table.name.is_empty() { "At the top" } else { &table.name };
        text.push_str(&format!("\n## {title}\n"));
        if !table.about.is_empty() {
            text.push_str(&format!("\n{}\n", table.about));
        }
        if !table.settings.is_empty() {
            text.push_str("\n| setting | default | what |\n|---|---|---|\n");
        }
        for setting in &table.settings {
            let path = format!("{}.{}", table.name, setting.key);
            let variable = path.trim_start_matches('.').replace('.', "__").to_uppercase();
            text.push_str(&format!(
                "| `{}`<br>`{PREFIX}{variable}` | {} | {} |\n",
                setting.key,
                setting.default,
                setting.about.replace('|', "\\|"),
            ));
        }
    }
    text
}

/// One table for all networks: the settings of the first, with the defaults of each where they differ.
fn with_networks_as_one(tables: Vec<Table>) -> Vec<Table> {
    let (networks, mut others): (Vec<Table>, Vec<Table>) =
        tables.into_iter().partition(|table| table.name.starts_with(NETWORKS));
    let about = networks[0].about.clone();
    let keys: Vec<&str> = networks[0].settings.iter().map(|setting| setting.key.as_str()).collect();
    let mut settings = Vec::new();
    for first in &networks[0].settings {
        let of_each: Vec<(&str, &str)> = networks
            .iter()
            .filter_map(|table| {
                let own = table.settings.iter().find(|setting| setting.key == first.key)?;
                Some((&table.name[NETWORKS.len()..], own.default.as_str()))
            })
            .collect();
        let same = of_each.iter().all(|(_, default)| *default == first.default);
        let listed: Vec<String> =
            of_each.iter().map(|(name, default)| format!("{name} {default}")).collect();
        let default = if same { first.default.clone() } else { listed.join(", ") };
        settings.push(Setting {
            key: first.key.clone(),
            default,
            about: said_of(&first.key, &keys, &about),
        });
    }
    let at = others.iter().position(|table| table.name == "sandbox").unwrap_or(others.len());
    let about = "One table per network: `networks.btc`, `networks.ltc`, `networks.eth`, \
                 `networks.trc20`, `networks.bep20`; in a variable the network's name stands for NETWORK.";
    let name = format!("{NETWORKS}NETWORK");
    others.insert(at, Table { name, about: about.to_owned(), settings });
    others
}

/// The part of a table's comment that begins with this key, up to where another key's begins.
fn said_of(key: &str, keys: &[&str], about: &str) -> String {
    let begins = |key: &str| {
        let first = |before: &str| about.find(&format!("{before}`{key}` ")).map(|at| at + 2);
        [". ", "; "].into_iter().filter_map(first).min()
    };
    let Some(at) = begins(key) else { return String::new() };
    let end = keys.iter().filter_map(|key| begins(key)).filter(|next| *next > at).min();
    let said = &about[at + key.len() + 3..end.map_or(about.len(), |end| end - 2)];
    said.trim_end_matches('.').to_owned()
}

/// What the file says of itself, and its tables.
fn read(defaults: &str) -> (String, Vec<Table>) {
    let (head, rest) = defaults.split_once("\n\n").unwrap();
    let mut tables = vec![Table::default()];
    let mut about: Vec<String> = Vec::new();
    let mut lines = rest.lines();
    while let Some(line) = lines.next() {
        if let Some(said) = line.strip_prefix('#') {
            about.push(said.trim().to_owned());
        } else if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let about = std::mem::take(&mut about).join(" ");
            tables.push(Table { name: name.to_owned(), about, settings: Vec::new() });
        } else if let Some((key, value)) = line.split_once(" = ") {
            let mut default = value.to_owned();
            while default.matches('[').count() > default.matches(']').count() {
                default.push_str(lines.next().expect("the list ends").trim());
            }
            let about = std::mem::take(&mut about).join(" ");
            let default = format!("`{}`", default.replace('|', "\\|"));
            let setting = Setting { key: key.to_owned(), default, about };
            tables.last_mut().unwrap().settings.push(setting);
        } else {
            about.clear();
        }
    }
    let said: Vec<&str> = head.lines().map(|line| line.trim_start_matches('#').trim()).collect();
    (said.join(" "), tables)
}

#[test]
fn every_setting_says_what_it_does() {
    let (_, tables) = read(DEFAULTS);
    for table in with_networks_as_one(tables) {
        for setting in table.settings {
            let place = format!("[{}] {}", table.name, setting.key);
            assert!(
                !setting.about.is_empty(),
                "{place} has no comment in server/config.default.toml"
            );
            assert!(!setting.default.trim_matches('`').is_empty(), "{place} has no default");
        }
    }
    let is_row = |line: &&str| line.starts_with("| ");
    for row in page().lines().filter(is_row) {
        // A bar inside of a cell is escaped.
        let cells: Vec<String> =
            row.replace("\\|", "").split('|').map(|cell| cell.trim().to_owned()).collect();
        let [_, written @ .., _] = cells.as_slice() else { panic!("{row}") };
        assert!(written.len() == 3 && written.iter().all(|cell| !cell.is_empty()), "{row}");
    }
}

#[test]
fn every_setting_has_its_row() {
    fn keys(path: &str, value: &toml::Value, found: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) if !path.ends_with("__node") => {
                for (key, value) in table {
                    keys(&format!("{path}__{key}"), value, found);
                }
            }
            _ => found.push(path.trim_start_matches("__").to_uppercase()),
        }
    }
    let mut found = Vec::new();
    keys("", &toml::from_str::<toml::Value>(DEFAULTS).unwrap(), &mut found);
    assert!(found.len() > 40, "{found:?}");
    let page = page();
    for key in found {
        let key = match key.strip_prefix("NETWORKS__").and_then(|rest| rest.split_once("__")) {
            Some((_, setting)) => format!("NETWORKS__NETWORK__{setting}"),
            None => key,
        };
        assert!(page.contains(&format!("`{PREFIX}{key}`")), "{key} has no row");
    }
}
