//! The test contract: its descriptor set, compiled as the tests start, and its generated code,
//! which is checked in so that the library itself needs no build script.

use std::path::Path;
use std::sync::LazyLock;

use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

#[allow(clippy::all, clippy::unwrap_used, clippy::float_arithmetic, dead_code)]
#[rustfmt::skip]
pub mod library_v1 {
    include!("generated/library.v1.rs");
}

/// Set this variable to write the generated code anew instead of comparing it.
const WRITE_VARIABLE: &str = "GATEWAY_WRITE_GENERATED";

pub static DESCRIPTOR_SET: LazyLock<Vec<u8>> =
    LazyLock::new(|| compiler().encode_file_descriptor_set());

fn compiler() -> Compiler {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolver = ChainFileResolver::new();
    for folder in ["tests/proto", "../proto", "../third_party"] {
        resolver.add(IncludeFileResolver::new(root.join(folder)));
    }
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_files(["library/v1/library.proto"]).unwrap();
    compiler
}

/// A descriptor set of one more file, given as text, with everything it imports.
pub fn compile(proto: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("probe.proto"), proto).unwrap();
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(folder.path().to_owned()));
    for part in ["../proto", "../third_party"] {
        resolver.add(IncludeFileResolver::new(root.join(part)));
    }
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(["probe.proto"]).unwrap();
    compiler.encode_file_descriptor_set()
}

#[test]
fn the_generated_code_is_that_of_the_contract() {
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_client(false)
        .out_dir(out.path())
        .disable_comments(["."])
        .emit_rerun_if_changed(false)
        .compile_fds(compiler().file_descriptor_set())
        .unwrap();
    let fresh = std::fs::read_to_string(out.path().join("library.v1.rs")).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/generated/library.v1.rs");
    if std::env::var_os(WRITE_VARIABLE).is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap();
    assert!(known == fresh, "run this test with {WRITE_VARIABLE}=1 to write it anew");
}
