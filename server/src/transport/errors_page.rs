//! The page that an error's `doc_url` leads to: every reason with its cause and cure, taken from the
//! comments of the contract's `ErrorReason`. Not here: which reason a failure has.

use std::fmt::Write as _;

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// The enum whose values are listed.
const ENUM: &str = "ErrorReason";
/// What its values' names begin with.
const PREFIX: &str = "ERROR_REASON_";
/// Where a file's enums are in a source path (`FileDescriptorProto.enum_type`).
const ENUMS: i32 = 5;
/// Where an enum's values are in a source path (`EnumDescriptorProto.value`).
const VALUES: i32 = 2;

/// The page as plain text, from a descriptor set with its comments.
pub fn text(descriptor_set: &[u8]) -> Result<String, prost::DecodeError> {
    let mut page = String::from("Why calls fail. Each reason says its cause and its cure.\n");
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
                    .map(|place| place.leading_comments().trim().replace("\n ", "\n    "))
                    .next()
                    .unwrap_or_default();
                let name = value.name().trim_start_matches(PREFIX);
                // Writing into a String never fails.
                let _ = write!(page, "\n{name}\n    {comment}\n");
            }
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::failure::Reason;

    #[test]
    fn every_reason_of_this_server_is_explained() {
        let page = text(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
        let own = Reason::ALL.iter().map(|reason| reason.as_str());
        for reason in own.chain(rpc_gateway::reason::ALL.iter().copied()) {
            let entry = page.split(&format!("\n{reason}\n")).nth(1);
            let explained = entry.and_then(|rest| rest.lines().next()).unwrap_or_default();
            assert!(explained.trim().len() > 10, "{reason} is not explained");
        }
    }
}
