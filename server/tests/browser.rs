//! The checkout page in a real browser: starts a server and lets a script open its pages in
//! Chromium, play payments, and look for faults. Pictures go to target/checkout-pictures.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

mod support;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::server::{Engine, TestServer};

/// What the environment names, or where it is by default.
fn named(variable: &str, default: PathBuf) -> PathBuf {
    let found = std::env::var_os(variable).map_or(default, PathBuf::from);
    assert!(found.exists(), "{variable}: {} is missing: run `make test`", found.display());
    found
}

/// What a wallet's camera reads from a picture.
fn scanned(picture: &Path) -> String {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(picture).unwrap()));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    let (width, height) = (frame.width as usize, frame.height as usize);
    let (line, step) = (frame.line_size, frame.color_type.samples());
    let light = |x: usize, y: usize| pixels[y * line + x * step];
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, light);
    let codes = image.detect_grids();
    assert_eq!(codes.len(), 1, "codes in {}", picture.display());
    codes[0].decode().unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checkout_page_does_what_it_says() {
    let server = TestServer::start(Engine::Sqlite).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pictures = root.join("target/checkout-pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    let parts = root.join(".cache/test-parts/browser/node_modules/playwright-core");
    let node = std::env::var("NODE").unwrap_or_else(|_| "node".to_owned());
    let mut command = Command::new(node);
    command
        .arg(root.join("server/tests/browser/checkout.mjs"))
        .env("BASE_URL", &server.url)
        .env("AUTHORIZATION", server.authorization())
        .env("CHROMIUM", named("CHROMIUM", "/usr/bin/chromium".into()))
        .env("PLAYWRIGHT", named("PLAYWRIGHT", parts))
        .env("PICTURES", &pictures)
        .stdin(Stdio::null());
    // The script ends by itself, however long a page hangs.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    let codes: Vec<(&str, &str)> =
        said.lines().filter_map(|line| line.strip_prefix("code ")?.split_once(' ')).collect();
    assert_eq!(codes.len(), 11, "each network in light and dark, and a rest: {said}");
    for (name, expected) in codes {
        assert_eq!(scanned(&pictures.join(format!("code-{name}.png"))), expected, "{name}");
    }
    server.finish().await;
}
