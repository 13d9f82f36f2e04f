//! The page that an error's `doc_url` leads to: every reason with its cause and cure, taken from the
//! comments of the contract's `ErrorReason`, each under its own anchor. Not here: which reason a
//! failure has.

use maud::{Markup, html};
use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::checkout::document;

/// The enum whose values are listed.
const ENUM: &str = "ErrorReason";
/// What its values' names begin with.
const PREFIX: &str = "ERROR_REASON_";
/// Where a file's enums are in a source path (`FileDescriptorProto.enum_type`).
const ENUMS: i32 = 5;
/// Where an enum's values are in a source path (`EnumDescriptorProto.value`).
const VALUES: i32 = 2;

/// The page, from a descriptor set with its comments.
pub fn page(descriptor_set: &[u8]) -> Result<Markup, prost::DecodeError> {
    let reasons = reasons(descriptor_set)?;
    let body = html! {
        main class="card reasons" {
            h1 { "Why calls fail" }
            p { "Each reason with its cause and its cure." }
            dl {
                @for (name, about) in &reasons {
                    dt id=(name.to_ascii_lowercase()) { (name) }
                    dd { (with_code(about)) }
                }
            }
        }
    };
    Ok(document("Why calls fail", &body))
}

/// Each reason's name and comment.
fn reasons(descriptor_set: &[u8]) -> Result<Vec<(String, String)>, prost::DecodeError> {
    let mut found = Vec::new();
    for file in FileDescriptorSet::decode(descriptor_set)?.file {
        for (at, reasons) in (0_i32..).zip(&file.enum_type) {
            if reasons.name() != ENUM {
                continue;
            }
            for (value_at, value) in (0_i32..).zip(&reasons.value) {
                let path = [ENUMS, at, VALUES, value_at];
                let places = file.source_code_info.iter().flat_map(|info| &info.location);
                let comment = places
                    .filter(|place| place.path == path)
                    .map(|place| place.leading_comments().trim().replace("\n ", "\n"))
                    .next();
                let name = value.name().trim_start_matches(PREFIX).to_owned();
                found.push((name, comment.unwrap_or_default()));
            }
        }
    }
    Ok(found)
}

/// A comment whose words in backticks are code.
fn with_code(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::failure::Reason;

    #[test]
    fn every_reason_of_this_server_is_explained_under_its_anchor() {
        let page = page(cryptopayment_proto::DESCRIPTOR_SET).unwrap().into_string();
        let own = Reason::ALL.iter().map(|reason| reason.as_str());
        for reason in own.chain(rpc_gateway::reason::ALL.iter().copied()) {
            let anchor = reason.to_ascii_lowercase();
            let entry = page.split(&format!(r#"<dt id="{anchor}">{reason}</dt><dd>"#)).nth(1);
            let explained = entry.and_then(|rest| rest.split("</dd>").next()).unwrap_or_default();
            assert!(explained.trim().len() > 10, "{reason} is not explained");
        }
    }
}
