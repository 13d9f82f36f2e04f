//! Fuzz targets of this crate: each takes any bytes and panics when a property of what was read,
//! written or routed does not hold. They are compiled for tests, and under `cfg(fuzzing)`, which
//! cargo-fuzz sets. The short run of CI is at the end; its driver and seeds are in `fuzz/`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a finding")]

mod json;
mod number;
mod path;
mod requests;

pub use json::{json_reader, json_writer};
pub use number::number;
pub use path::{path, query};
pub use requests::Contract;

#[cfg(test)]
#[path = "../../../fuzz/driver.rs"]
mod driver;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use protox::Compiler;
    use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

    use super::driver::run;
    use super::{Contract, json_reader, json_writer, number, path, query};

    /// The tests' contract, which has every kind of field and option.
    fn contract() -> Contract {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut resolver = ChainFileResolver::new();
        for folder in ["tests/proto", "../proto", "../third_party"] {
            resolver.add(IncludeFileResolver::new(root.join(folder)));
        }
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_files(["library/v1/library.proto"]).unwrap();
        Contract::new(&compiler.encode_file_descriptor_set())
    }

    #[test]
    fn the_reader_agrees_with_serde_json() {
        run("json_reader", 40_000, json_reader);
    }

    #[test]
    fn what_is_written_reads_back() {
        run("json_writer", 40_000, json_writer);
    }

    #[test]
    fn numbers_keep_their_exact_value() {
        run("number", 40_000, number);
    }

    #[test]
    fn paths_lead_where_a_slow_matcher_says() {
        run("path", 40_000, path);
    }

    #[test]
    fn queries_are_decoded_as_their_grammar_has_it() {
        run("query", 40_000, query);
    }

    #[test]
    fn requests_become_messages_or_errors_and_messages_json() {
        let contract = contract();
        run("requests", 15_000, |data| contract.request(data));
        run("messages", 15_000, |data| contract.message(data));
    }
}
