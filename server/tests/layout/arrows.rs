//! Which room may name which: the arrows of ARCHITECTURE.md as tables, and the reading of paths in
//! code that they are checked against. Not here: words and sizes.

use crate::source::{Source, line_of};
use crate::{Finding, is_word, words};

/// What each room of `server/src` may name, besides itself. A new room gets its line here.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("env", &["domain"]),
    ("failpoint", &[]),
    ("held", &[]),
    ("metrics", &["env", "domain"]),
    ("private_file", &["env"]),
    ("telemetry", &["env"]),
    ("secret_box", &["env"]),
    ("signals", &["domain"]),
    ("config", &["domain"]),
    // Clients of a running server, and what it prints of itself. `listen` sends what `webhook` sends,
    // by the same code.
    ("cli", &["app", "config", "domain", "webhook"]),
    ("store", &["domain"]),
    ("chain", &["domain"]),
    ("signer", &["domain"]),
    ("rates", &["domain"]),
    ("webhook", &["domain"]),
    ("usecase", &["domain", "store", "chain", "signer", "rates"]),
    ("worker", &["usecase", "chain", "signer", "webhook", "rates", "domain", "store"]),
    ("transport", &["usecase", "store", "domain"]),
];

/// Single files that name one thing more, each for a reason that stands beside it:
/// `(file below server/src, room)`.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The sandbox's service is a remote control of the simulated chains and nothing else.
    ("transport/grpc/sandbox.rs", "chain"),
    // The webhook body is one message, told by deliveries and by the event log alike.
    ("transport/convert.rs", "webhook"),
    // A test delivery is sent, and a signature checked, while their caller waits.
    ("transport/grpc/webhooks.rs", "webhook"),
    ("transport/grpc/send_test.rs", "webhook"),
    // What the check of a signature found, as messages.
    ("transport/grpc/webhook_answers.rs", "webhook"),
];

/// The composition root names everything; the library's root lists the rooms.
const ROOTS: [&str; 2] = ["app", "lib"];

/// Every room but `domain` may name these.
const LEAVES: [&str; 8] =
    ["env", "failpoint", "held", "metrics", "private_file", "secret_box", "signals", "telemetry"];

/// What `main.rs` may name of the library.
const OF_MAIN: [&str; 6] = ["app", "cli", "config", "env", "failpoint", "telemetry"];

/// Rooms of which `usecase` sees the traits alone: what their `mod.rs` declares.
const TRAITS_ONLY: [&str; 3] = ["chain", "signer", "rates"];

/// Crates that only some places of `server/src` may name.
const CRATES: &[(&str, &[&str])] = &[
    ("cryptopayment_proto", &["app", "cli", "transport", "webhook"]),
    ("rpc_gateway", &["app", "transport", "webhook"]),
    ("sea_orm", &["store", "chain/sandbox"]),
    ("sea_orm_migration", &["store"]),
    ("cryptopayment_migrations", &["app", "store"]),
    // The command line calls with the generated clients: the tests hold the server against the SDK,
    // which a server that brings its own would have to follow.
    ("cryptopayment_sdk", &[]),
    ("sqlx", &["store", "chain/sandbox"]),
    // HTML is made in one place, by a template that escapes.
    ("maud", &["transport/pages"]),
    ("qrcode", &["transport/pages"]),
    ("prometheus_client", &["metrics", "transport/metrics"]),
];

/// A path in code, from the crate's root: `["store", "ledger", "post"]`.
struct Named {
    line: usize,
    segments: Vec<String>,
}

/// A room names a room that it must not.
pub fn rooms(source: &Source) -> Vec<Finding> {
    let Some(room) = source.room().filter(|room| !source.is_test && !ROOTS.contains(room)) else {
        return Vec::new();
    };
    let paths =
        if room == "main" { named(source, "cryptopayment") } else { named(source, "crate") };
    let Some(allowed) = allowed(room) else {
        return vec![Finding::new(
            1,
            format!("`{room}` is no known room: give it a line in ARROWS"),
        )];
    };
    paths
        .into_iter()
        .filter(|path| path.segments[0] != room && !allowed.contains(&path.segments[0].as_str()))
        .filter(|path| !is_excepted(source, &path.segments[0]))
        .map(|path| {
            Finding::new(path.line, format!("`{room}` names `{}`", path.segments.join("::")))
        })
        .collect()
}

fn is_excepted(source: &Source, room: &str) -> bool {
    let inside = source.path.strip_prefix("server/src/");
    inside.is_some_and(|file| EXCEPTIONS.contains(&(file, room)))
}

fn allowed(room: &str) -> Option<Vec<&'static str>> {
    if room == "main" {
        return Some(OF_MAIN.to_vec());
    }
    let mut allowed = ARROWS.iter().find(|(name, _)| *name == room)?.1.to_vec();
    if room != "domain" {
        allowed.extend(LEAVES);
    }
    Some(allowed)
}

/// `usecase` names an implementation of chain, signer or rates instead of its trait. `submodules`
/// are the modules of those rooms, as `chain/bitcoin`.
pub fn traits_only(source: &Source, submodules: &[String]) -> Vec<Finding> {
    if source.room() != Some("usecase") || source.is_test {
        return Vec::new();
    }
    named(source, "crate")
        .into_iter()
        .filter(|path| TRAITS_ONLY.contains(&path.segments[0].as_str()) && path.segments.len() > 1)
        .filter(|path| submodules.contains(&path.segments[..2].join("/")))
        .map(|path| {
            Finding::new(path.line, format!("`usecase` names `{}`", path.segments.join("::")))
        })
        .collect()
}

/// The modules of the rooms that `usecase` sees by their traits.
pub fn submodules(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let Some(inside) = source.path.strip_prefix("server/src/") else { continue };
        let parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if parts.len() > 1 && TRAITS_ONLY.contains(&parts[0]) && parts[1] != "mod" {
            found.push(parts[..2].join("/"));
        }
    }
    found
}

/// A crate is named in a place that it does not belong to.
pub fn crates(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.path.strip_prefix("server/src/").filter(|_| !source.is_test) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, places) in CRATES {
        let at_home = places.iter().any(|place| {
            inside.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        });
        if !at_home {
            let home = if places.is_empty() { "tests".to_owned() } else { places.join(", ") };
            for line in words(&source.live_code, name) {
                found.push(Finding::new(line, format!("`{name}` is for {home}")));
            }
        }
    }
    found
}

/// The SDK names a crate of ours other than the contract; the gateway names any.
pub fn neutral_crates(source: &Source) -> Vec<Finding> {
    let allowed: &[&str] = if source.path.starts_with("sdk/rust/src/") {
        &["cryptopayment_proto", "cryptopayment_sdk"]
    } else if source.path.starts_with("gateway/src/") {
        &["rpc_gateway"]
    } else {
        return Vec::new();
    };
    let ours = ["cryptopayment", "cryptopayment_proto", "cryptopayment_migrations", "rpc_gateway"];
    let foreign = ours.iter().chain(&["sea_orm", "cryptopayment_sdk"]);
    let mut found = Vec::new();
    for name in foreign.filter(|name| !allowed.contains(name)) {
        for line in words(&source.code, name) {
            found.push(Finding::new(line, format!("names the crate `{name}`")));
        }
    }
    found
}

/// The same in a manifest: crates of ours among the dependencies (not those of tests).
pub fn neutral_manifest(text: &str, allowed: &[&str]) -> Vec<Finding> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let ours = name.starts_with("cryptopayment") || name == "rpc-gateway" || name == "sea-orm";
        let counts = section == "[dependencies]" || section == "[build-dependencies]";
        if counts && ours && !allowed.contains(&name) {
            found.push(Finding::new(index + 1, format!("depends on `{name}`")));
        }
    }
    found
}

/// Every path that starts at `root` or climbs to the crate's root by `super`.
fn named(source: &Source, root: &str) -> Vec<Named> {
    let code: Vec<char> = source.live_code.chars().collect();
    let depth = module_depth(&source.path);
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let Some((word, end)) = word_at(&code, at) else {
            at += 1;
            continue;
        };
        at = end;
        let mut rest = after_colons(&code, end);
        if word == "super" {
            let mut climbed = 1;
            while let Some((next, end)) = rest.and_then(|from| word_at(&code, from)) {
                if next != "super" {
                    break;
                }
                climbed += 1;
                at = end;
                rest = after_colons(&code, end);
            }
            if climbed != depth {
                continue;
            }
        } else if word != root {
            continue;
        }
        if let Some(from) = rest {
            let mut paths = Vec::new();
            at = tree(&code, from, &mut Vec::new(), &mut paths);
            let line = line_of(&code, from);
            found.extend(paths.into_iter().map(|segments| Named { line, segments }));
        }
    }
    found
}

/// How many `super` lead from a file's own module to the crate's root.
fn module_depth(path: &str) -> usize {
    let inside = path.split_once("src/").map_or(path, |(_, inside)| inside);
    let parts = inside.trim_end_matches(".rs").split('/');
    parts.filter(|part| !matches!(*part, "mod" | "lib" | "main")).count()
}

/// The word that starts here, and its end.
fn word_at(code: &[char], at: usize) -> Option<(String, usize)> {
    let starts = code.get(at).is_some_and(|&c| is_word(c)) && (at == 0 || !is_word(code[at - 1]));
    let word: String = code[at..].iter().take_while(|&&c| starts && is_word(c)).collect();
    let end = at + word.chars().count();
    (!word.is_empty()).then_some((word, end))
}

/// Where the path goes on behind `::`.
fn after_colons(code: &[char], at: usize) -> Option<usize> {
    let at = skip_space(code, at);
    (code.get(at) == Some(&':') && code.get(at + 1) == Some(&':')).then(|| skip_space(code, at + 2))
}

fn skip_space(code: &[char], at: usize) -> usize {
    at + code[at.min(code.len())..].iter().take_while(|c| c.is_whitespace()).count()
}

/// Reads a use tree (`a::{b, c::d}`) behind `prefix` and returns where it ends.
fn tree(code: &[char], at: usize, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
    let base = prefix.len();
    let mut at = skip_space(code, at);
    loop {
        if code.get(at) == Some(&'{') {
            at += 1;
            while code.get(at).is_some_and(|&c| c != '}') {
                let end = tree(code, at, prefix, out);
                at = skip_space(code, end.max(at + 1));
            }
            at += 1;
            break;
        }
        let Some((word, end)) = word_at(code, at) else { break };
        prefix.push(word);
        at = end;
        match after_colons(code, end) {
            Some(next) if code.get(next) != Some(&'<') => at = next,
            _ => {
                out.push(prefix.clone());
                break;
            }
        }
    }
    if code.get(at) == Some(&'*') {
        out.push(prefix.clone());
    }
    prefix.truncate(base);
    at
}
