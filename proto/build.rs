//! Compiles the contract without protoc: protox parses, tonic-prost-build writes the code, and the
//! descriptor set is kept whole (prost's own types would drop the options the server reads).

use std::path::PathBuf;

use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

/// Every file of the contract; a new file is named here.
const FILES: &[&str] =
    &["gateway/options/v1/options.proto", "cryptopayment/options/v1/options.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let foreign = root.join("../third_party");
    println!("cargo:rerun-if-changed={}", root.join("cryptopayment").display());
    println!("cargo:rerun-if-changed={}", root.join("gateway").display());
    println!("cargo:rerun-if-changed={}", foreign.display());

    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(root));
    resolver.add(IncludeFileResolver::new(foreign));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptor_set.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
