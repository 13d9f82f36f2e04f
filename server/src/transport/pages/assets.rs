//! The pages' script, style and icon: files compiled into the program and served under names that
//! hold the hash of their content, so that a browser keeps them for good and never mixes versions.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

/// Bytes of the content's hash that stand in a name.
const HASH_BYTES: usize = 8;

/// The files.
pub static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: Asset::new("checkout", "css", "text/css; charset=utf-8", include_str!("checkout.css")),
    script: Asset::new(
        "checkout",
        "js",
        "text/javascript; charset=utf-8",
        include_str!("checkout.js"),
    ),
    icon: Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")),
});

/// All files of the pages.
pub struct Assets {
    /// How the checkout page looks.
    pub style: Asset,
    /// What keeps it true without a reload.
    pub script: Asset,
    /// The picture on its tab.
    pub icon: Asset,
}

/// One file.
pub struct Asset {
    name: String,
    etag: String,
    content_type: &'static str,
    content: &'static str,
}

/// The file of that name.
pub fn named(name: &str) -> Option<&'static Asset> {
    let Assets { style, script, icon } = &*ASSETS;
    [style, script, icon].into_iter().find(|asset| asset.name == name)
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(content.as_bytes())[..HASH_BYTES]);
        let name = format!("{stem}-{hash}.{extension}");
        Self { name, etag: format!("\"{hash}\""), content_type, content }
    }

    /// Where a page finds it: pages stand one level below the root.
    pub fn url(&self) -> String {
        format!("../assets/{}", self.name)
    }

    /// The file, or that the caller has it.
    pub fn answer(&self, asked: &HeaderMap) -> Response {
        let known =
            asked.get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == self.etag.as_bytes());
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.content.into_response()
        };
        let headers = response.headers_mut();
        if !known {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(CACHE_CONTROL, kept);
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            headers.insert(ETAG, etag);
        }
        response
    }
}
