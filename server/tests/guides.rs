//! README and guides, done as they say: every command is run against the real program, every sample is
//! written to its file and used, every output is compared with what was printed. A code block that
//! nothing runs fails the law below. What names and ports stand for is in `guides/session.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

#[path = "guides/blocks.rs"]
mod blocks;
#[path = "guides/clone.rs"]
mod clone;
#[path = "guides/contract.rs"]
mod contract;
#[path = "guides/metrics.rs"]
mod metrics;
#[path = "guides/operating.rs"]
mod operating;
#[path = "guides/output.rs"]
mod output;
#[path = "guides/session.rs"]
mod session;
#[path = "guides/settings.rs"]
mod settings;
#[path = "support/shell_words.rs"]
mod shell_words;
mod support;
#[path = "guides/yaml.rs"]
mod yaml;

use std::path::{Path, PathBuf};

use clap::Parser as _;
use cryptopayment::cli::Arguments;
use cryptopayment::transport::grpc::checkout::{WATCHERS_MAX, WATCHERS_PER_INVOICE_MAX};
use support::parts;
use support::rest::Rest;
use support::server::{Engine, TestServer};

/// Documents whose blocks are run, besides those in `docs/guides`.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/README.md", "docs/start.md"];

/// Every document of the law, relative to the repository.
fn documents() -> Vec<String> {
    let mut all: Vec<String> = DOCUMENTS.map(str::to_owned).to_vec();
    let mut guides: Vec<String> = markdown_below("docs/guides");
    guides.sort();
    assert!(!guides.is_empty(), "the guides are gone");
    all.extend(guides);
    all
}

fn markdown_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parts::repository().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(markdown_below(&path));
        } else if path.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

fn read(document: &str) -> String {
    std::fs::read_to_string(parts::repository().join(document))
        .unwrap_or_else(|error| panic!("{document}: {error}"))
}

#[test]
fn every_code_block_is_run_used_or_compared() {
    let planted =
        "```bash\nls\n```\n```json\n{}\n```\n```php file=a.php\n```\n```text output\n```\n";
    let seen = blocks::faults(&blocks::read(planted));
    assert_eq!(seen.len(), 3, "the law is blind: {seen:?}");
    let mut faults = Vec::new();
    for document in documents() {
        let found = blocks::faults(&blocks::read(&read(&document)));
        faults.extend(found.into_iter().map(|fault| format!("{document}:{fault}")));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let mut documents = markdown_below("docs");
    let top = ["README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG"];
    documents.extend(top.map(|name| format!("{name}.md")));
    let mut dead = Vec::new();
    for document in documents {
        let text = blocks::without(&read(&document));
        let folder = Path::new(&document).parent().unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || path.is_empty();
            if !outside && !parts::repository().join(folder).join(path).exists() {
                dead.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
    let index = read("docs/README.md");
    for page in markdown_below("docs/guides").iter().chain(&markdown_below("docs/operating")) {
        let target = page.strip_prefix("docs/").unwrap();
        assert!(index.contains(&format!("]({target})")), "docs/README.md does not list {page}");
    }
}

/// Limits that have no setting, whose page would keep them true.
#[test]
fn how_many_may_wait_on_the_checkout_is_told_as_it_is() {
    for document in ["docs/guides/checkout.md", "docs/operating/hardening.md"] {
        let text = read(document).split_whitespace().collect::<Vec<_>>().join(" ");
        let thousands = WATCHERS_MAX / 1_000;
        let hundreds = WATCHERS_MAX % 1_000;
        for limit in [
            format!("{WATCHERS_PER_INVOICE_MAX} for each invoice"),
            format!("{thousands},{hundreds:03} in all"),
        ] {
            assert!(text.contains(&limit), "{document} does not say: {limit}");
        }
    }
}

/// Commands in running text and tables: those that the blocks do not run exist at least.
#[test]
fn every_command_that_is_named_exists() {
    let makefile = read("Makefile");
    let mut unknown = Vec::new();
    for document in documents().into_iter().chain(markdown_below(operating::FOLDER)) {
        let text = blocks::without(&read(&document));
        for code in text.split('`').skip(1).step_by(2) {
            let mut words: Vec<&str> = code.split_whitespace().collect();
            // As operators call their commands for short.
            if words.first() == Some(&"admin") {
                words.insert(0, "cryptopayment");
            }
            let known = match words.as_slice() {
                ["make", target] => makefile.contains(&format!("\n{target}:")),
                ["cryptopayment", rest @ ..] if rest.iter().all(|word| is_plain(word)) => {
                    Arguments::try_parse_from(&words).is_ok()
                }
                _ => true,
            };
            if !known {
                unknown.push(format!("{document}: {code}"));
            }
        }
    }
    assert!(unknown.is_empty(), "\n{}\n", unknown.join("\n"));
}

/// A word that stands for itself and not for something that the reader puts there.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readme_does_what_it_says() {
    session::play("README.md", &read("README.md")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_leads_to_a_paid_invoice() {
    session::play("docs/start.md", &read("docs/start.md")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guides_do_what_they_say() {
    for document in documents().into_iter().filter(|name| name.starts_with("docs/guides/")) {
        session::play(&document, &read(&document)).await;
    }
}

/// The pages that are written and not typed. With UPDATE_DOCS set they are written anew.
#[test]
fn reference_and_settings_are_what_the_program_is() {
    let mut pages = contract::pages();
    pages.push((settings::PATH.to_owned(), settings::page()));
    pages.push((metrics::PATH.to_owned(), metrics::page()));
    let mut stale = Vec::new();
    for (path, text) in &pages {
        let file = parts::repository().join(path);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        } else if std::fs::read_to_string(&file).ok().as_ref() != Some(text) {
            stale.push(path.clone());
        }
    }
    // Pages of packages that are gone.
    let known = |path: &String| pages.iter().any(|(page, _)| page == path);
    let of_packages = |path: &String| path.contains("/cryptopayment.") && !known(path);
    stale.extend(markdown_below("docs/reference").into_iter().filter(of_packages));
    let cure = "UPDATE_DOCS=1 cargo test -p cryptopayment --test guides reference";
    assert!(stale.is_empty(), "{stale:?} are not what the program is; {cure}");
}

/// The page that an error's `doc_url` leads to says what the catalogue says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deployment_tells_the_same_of_its_errors() {
    let server = TestServer::start(Engine::Sqlite).await;
    let told = Rest::of(&server).get("/docs/errors").await.body;
    for (reason, about) in contract::reasons() {
        let anchor = format!(r#"id="{}""#, reason.to_ascii_lowercase());
        let entry = told.split(&anchor).nth(1).and_then(|rest| rest.split("</dd>").next());
        let entry = entry.unwrap_or_else(|| panic!("{reason} has no anchor"));
        assert_eq!(letters(&text_of(entry)), letters(&format!("{reason}{about}")));
    }
    server.finish().await;
}

/// What a reader sees of HTML.
fn text_of(html: &str) -> String {
    let parts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let text: String = parts.collect();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// A text without its spaces and marks of code.
fn letters(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace() && *letter != '`').collect()
}

/// Where a file of the tests' own stands.
pub fn own(name: &str) -> PathBuf {
    parts::repository().join("server/tests/guides").join(name)
}
