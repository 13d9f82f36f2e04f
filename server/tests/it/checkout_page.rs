//! The checkout page as HTTP: every header of page and files, and that they belong together. What
//! it looks like and does in a browser is tests/browser.rs.

use cryptopayment::domain::asset::Network;
use reqwest::Method;

use crate::conformance::world::World;
use crate::support::rest::{Answer, Rest, answer};

const POLICY: &str = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Every header but what each answer has, `name: value`, sorted.
fn headers(answer: &Answer) -> Vec<String> {
    let own = answer
        .headers
        .iter()
        .filter(|(name, _)| !["content-length", "date"].contains(&name.as_str()));
    let mut lines: Vec<String> =
        own.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

/// What `attribute="..."` says, everywhere in a page.
fn attributes<'p>(page: &'p str, attribute: &str) -> Vec<&'p str> {
    let parts = page.split(attribute).skip(1);
    parts.filter_map(|part| part.strip_prefix("=\"")?.split('"').next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_their_files_have_exactly_these_headers() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let payer = Rest::with(&world.server, None);
    let invoice = world.invoice().await;
    let strict = [
        "cache-control: no-store",
        POLICY,
        "content-type: text/html; charset=utf-8",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ];
    let page = payer.get(&format!("/pay/{}", invoice.id)).await;
    assert_eq!((page.status, headers(&page)), (200, strict.map(str::to_owned).to_vec()));
    for nothing in ["nothing", "%FF", "%00"] {
        let missing = payer.get(&format!("/pay/{nothing}")).await;
        let got = (missing.status, headers(&missing));
        assert_eq!(got, (404, strict.map(str::to_owned).to_vec()), "{nothing}");
    }

    let mut files = attributes(&page.body, "src");
    files.extend(attributes(&page.body, "rel=\"stylesheet\" href"));
    files.extend(attributes(&page.body, "type=\"image/svg+xml\" href"));
    let kinds = ["text/javascript; charset=utf-8", "text/css; charset=utf-8", "image/svg+xml"];
    assert_eq!(files.len(), kinds.len(), "{files:?}");
    for (file, kind) in files.iter().zip(kinds) {
        let path = file.strip_prefix("..").unwrap_or_else(|| panic!("{file} is elsewhere"));
        let sent = payer.get(path).await;
        let etag = sent.headers["etag"].to_str().unwrap().to_owned();
        assert!(path.contains(etag.trim_matches('"')), "{path} is named by its content");
        let expected = [
            "cache-control: public, max-age=31536000, immutable".to_owned(),
            POLICY.to_owned(),
            format!("content-type: {kind}"),
            format!("etag: {etag}"),
            "referrer-policy: no-referrer".to_owned(),
            "x-content-type-options: nosniff".to_owned(),
        ];
        assert_eq!((sent.status, headers(&sent)), (200, expected.to_vec()));
        let again = answer(payer.request(Method::GET, path).header("if-none-match", &etag)).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
    }
    assert_eq!(payer.get("/assets/checkout-0000000000000000.js").await.status, 404);
    let posted = payer.post(&format!("/pay/{}", invoice.id), "{}").await;
    let mut expected = strict.map(str::to_owned).to_vec();
    expected.insert(0, "allow: GET,HEAD".to_owned());
    assert_eq!((posted.status, headers(&posted)), (405, expected));
    assert!(posted.body.contains("can only be opened"), "{}", posted.body);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_names_no_other_host_and_runs_nothing_inline() {
    let world = World::sandbox(crate::ENGINE, Network::Btc).await;
    let payer = Rest::with(&world.server, None);
    let invoice = world.invoice().await;
    let page = payer.get(&format!("/pay/{}", invoice.id)).await.body;
    let slash = payer.request(Method::GET, &format!("/pay/{}/", invoice.id)).send().await.unwrap();
    let there = (slash.status().as_u16(), slash.url().path().to_owned());
    assert_eq!(there, (200, format!("/pay/{}", invoice.id)), "its links are relative to this");
    let namespace = "xmlns=\"http://www.w3.org/2000/svg\"";
    assert!(!page.replace(namespace, "").contains("://"), "{page}");
    for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
        assert!(!page.contains(inline), "{inline} in {page}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("defer></script>"), "the one script is a file");
    assert!(page.contains("<noscript>"));
    world.finish().await;
}
