//! Compiles the contract without protoc: protox parses, tonic-prost-build writes the code, clients with
//! one codec and servers with another, and the descriptor set is kept whole (prost's own types would drop
//! the options the server reads).

use std::path::{Path, PathBuf};

use prost_build::{Config, Service, ServiceGenerator};
use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let foreign = root.join("../third_party");
    println!("cargo:rerun-if-changed={}", root.join("cryptopayment").display());
    println!("cargo:rerun-if-changed={}", root.join("gateway").display());
    println!("cargo:rerun-if-changed={}", foreign.display());

    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(root.clone()));
    resolver.add(IncludeFileResolver::new(foreign));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true).open_files(contract_files(&root)?)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptor_set.bin"), compiler.encode_file_descriptor_set())?;
    Config::new()
        .service_generator(Box::new(ClientsAndServers::new()))
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Writes a client and a server for each service.
struct ClientsAndServers([Box<dyn ServiceGenerator>; 2]);

impl ClientsAndServers {
    fn new() -> Self {
        let tonic = tonic_prost_build::configure;
        let client = tonic().build_server(false).codec_path("crate::codec::SmallBuffers");
        let server = tonic().build_client(false).codec_path("crate::codec::Served");
        Self([client.service_generator(), server.service_generator()])
    }
}

impl ServiceGenerator for ClientsAndServers {
    fn generate(&mut self, service: Service, code: &mut String) {
        for generator in &mut self.0 {
            generator.generate(service.clone(), code);
        }
    }
}

/// Every `.proto` below this crate, in the order of their names, as paths to import them by.
fn contract_files(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("cryptopayment"), root.join("gateway")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path));
            }
        }
    }
    found.sort();
    Ok(found)
}
