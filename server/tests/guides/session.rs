//! One reader who does what a document says: a clone of the repository, the program running, a shell
//! that runs block after block. Only what stands for the reader's own is replaced in the text: ports,
//! and the key, secret and APP_KEY that the program printed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::blocks::{self, Block, Kind};
use super::clone::FreshClone;
use super::output;
use crate::support::parts;
use crate::support::server::DEADLINE;

/// What the program prints last when it is ready.
const READY: &str = "export AUTH=";
/// Ports of the documents that are other ones here: the reader's receivers and web site.
const PORTS: [&str; 5] =
    ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003", "127.0.0.1:8000"];
/// Where the documents say that the program serves.
const SERVER: &str = "127.0.0.1:8080";
/// What begins the output of a block.
const MARK: &str = "@@block ";
/// Where `cargo build` leaves the program in a clone: a document that types its name puts it on the PATH.
const BUILT: &str = "target/debug/cryptopayment";
/// What stands in front of the documents' programs on the reader's PATH: they are run as they were
/// built or installed by `make test`, and nothing is downloaded.
const SHIMS: [&str; 8] = ["buf", "cargo", "node", "npm", "php", "pip", "python3", "xdg-open"];

/// The reader's place, with the program running in it.
struct Session {
    folder: TempDir,
    clone: FreshClone,
    program: Child,
    banner: String,
    /// Texts of the documents and what stands for them here.
    mine: Vec<(String, String)>,
}

/// Does what the document says.
pub async fn play(name: &str, document: &str) {
    let blocks = blocks::read(document);
    if blocks.is_empty() {
        return;
    }
    let (name, blocks) = (name.to_owned(), blocks);
    let played = tokio::task::spawn_blocking(move || {
        let session = Session::start(&blocks);
        session.write_files(&name, &blocks);
        session.run(&name, &blocks);
        let changes = session.clone.changes();
        assert!(changes.is_empty(), "{name} writes into the repository:\n{}", changes.join("\n"));
    });
    if let Err(error) = played.await {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Session {
    fn start(blocks: &[Block]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clone = FreshClone::made_in(folder.path());
        put_programs_into(folder.path());
        let mut mine: Vec<(String, String)> =
            PORTS.iter().map(|port| ((*port).to_owned(), free_port())).collect();
        let given = blocks.iter().find(|block| block.kind == Kind::Server);
        let command = replaced(given.map_or(BUILT, |block| &block.text), &mine);
        let log = std::fs::File::create(folder.path().join("program.log")).unwrap();
        let mut program = shell(folder.path(), "127.0.0.1:0")
            .arg(command)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let banner = read_banner(&mut program);
        let mut session = Self { folder, clone, program, banner, mine: Vec::new() };
        assert!(session.banner.contains(READY), "it does not start:\n{}", session.log());
        let word = |label: &str| {
            let rest = session.banner.split(label).nth(1).unwrap();
            rest.split_whitespace().next().unwrap().to_owned()
        };
        let address = word("serves at http://");
        for (text, label) in [
            ("pk_test_...", "api key "),
            ("sk_test_...", "api secret "),
            ("YOUR_APP_KEY", "app key "),
        ] {
            mine.push((text.to_owned(), word(label)));
        }
        mine.push((SERVER.to_owned(), address));
        session.mine = mine;
        session
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("program.log")).unwrap_or_default()
    }

    fn address(&self) -> &str {
        &self.mine.last().unwrap().1
    }

    /// Writes the documents' files. One that stands in the repository is compared instead.
    fn write_files(&self, name: &str, blocks: &[Block]) {
        for block in blocks {
            let Kind::File(file) = &block.kind else { continue };
            let standing = parts::repository().join(file);
            if standing.is_file() {
                let text = std::fs::read_to_string(&standing).unwrap();
                assert!(text == block.text, "{name}:{}: is not {file}", block.line);
            } else {
                let path = self.folder.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, replaced(&block.text, &self.mine)).unwrap();
            }
        }
    }

    /// Runs the blocks in one shell and compares what each prints.
    fn run(&self, name: &str, blocks: &[Block]) {
        let mut script =
            String::from("set -eu -o pipefail\ntrap 'kill $(jobs -p) 2> .kill || :' EXIT\n");
        let expected = self.folder.path().join(".expected");
        std::fs::create_dir(&expected).unwrap();
        for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.kind == Kind::Run) {
            let shown = shown_after(blocks, at).map_or("", |(text, _)| text);
            std::fs::write(expected.join(block.line.to_string()), shown).unwrap();
            script.push_str(&format!(
                "export BLOCK={}\nprintf '\\n{MARK}%s\\n' $BLOCK\n",
                block.line
            ));
            script.push_str(&replaced(&block.text, &self.mine));
        }
        std::fs::write(self.folder.path().join(".script"), &script).unwrap();
        let output = shell(self.folder.path(), self.address())
            .arg("exec timeout --kill-after=5 600 bash .script")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            panic!("{name}: {}\n{printed}\n{complaint}\n{}", output.status, self.log());
        }
        let mut faults = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            let Some((shown, json)) = shown_after(blocks, at) else { continue };
            let mark = format!("\n{MARK}{}\n", block.line);
            let printed = match block.kind {
                Kind::Server => self.banner.as_str(),
                _ => {
                    let after = printed.split(&mark).nth(1).unwrap_or_default();
                    after.split(&format!("\n{MARK}")).next().unwrap_or_default()
                }
            };
            if let Some(difference) = output::difference(shown, printed, json) {
                faults.push(format!("{name}:{}: prints something else\n{difference}", block.line));
            }
        }
        assert!(faults.is_empty(), "{}\n{complaint}", faults.join("\n"));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The program may be the grandchild of a `make`: the signal goes to all of its group.
        let group = format!("-{}", self.program.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.program.wait();
    }
}

/// The output that a document shows for its block at this place.
fn shown_after(blocks: &[Block], at: usize) -> Option<(&str, bool)> {
    match blocks.get(at + 1) {
        Some(Block { kind: Kind::Output { json }, text, .. })
            if matches!(blocks[at].kind, Kind::Run | Kind::Server) =>
        {
            Some((text, *json))
        }
        _ => None,
    }
}

fn replaced(text: &str, mine: &[(String, String)]) -> String {
    mine.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A port of loopback that is free now, as `127.0.0.1:PORT`.
fn free_port() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

/// Programs that run what is built and installed here.
fn put_programs_into(folder: &Path) {
    let programs = folder.join(".bin");
    std::fs::create_dir(&programs).unwrap();
    for shim in SHIMS {
        let path = programs.join(shim);
        std::fs::copy(super::own("shims").join(shim), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let built = folder.join(BUILT);
    std::fs::create_dir_all(built.parent().unwrap()).unwrap();
    symlink(env!("CARGO_BIN_EXE_cryptopayment"), built).unwrap();
}

/// Where cargo puts the examples that it builds with the tests.
fn examples() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples")
}

/// Where a program is that the environment does not name: the reader's PATH begins with ours.
fn on_path(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
    found.find(|path| path.is_file()).unwrap_or_else(|| panic!("{program} is missing"))
}

/// A shell of the reader's, in his clone; what it is to run is its last argument.
fn shell(folder: &Path, listen: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(folder.join(".bin")).chain(std::env::split_paths(&path));
    let name = |variable: &str, default: &str| {
        std::env::var_os(variable).unwrap_or_else(|| on_path(default).into_os_string())
    };
    let mut command = Command::new("bash");
    command
        .arg("-c")
        .current_dir(folder)
        .stdin(Stdio::null())
        // These tests may be run by a make of their own, which would have this one talk to it.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env_remove("MFLAGS")
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("REAL_BUF", parts::buf().get_program())
        .env("REAL_NODE", name("NODE", "node"))
        .env("REAL_PHP", name("PHP", "php"))
        .env("REAL_PYTHON", name("PYTHON", "python3"))
        .env("REAL_PYTHONPATH", parts::python_path(None))
        .env_remove("PYTHONPATH")
        .env("EXAMPLES", examples())
        .env("CLIENT_MODULES", parts::node_modules())
        .env("PLAYWRIGHT", parts::playwright())
        .env("CHROMIUM", parts::chromium())
        .env("OPEN", super::own("open.mjs"))
        .env("CRYPTOPAYMENT_HTTP__LISTEN", listen)
        // Enough addresses for a document; hundreds more would be made at each start.
        .env("CRYPTOPAYMENT_POOL__ADDRESSES_LOW", "20")
        .env("CRYPTOPAYMENT_POOL__ADDRESSES_BATCH", "40")
        .env("CRYPTOPAYMENT_POOL__ADDRESSES_LEASED", "20");
    command
}

/// What the program prints until it is ready, or until it ends.
fn read_banner(program: &mut Child) -> String {
    let mut output = BufReader::new(program.stdout.take().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut banner = String::new();
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            banner.push_str(&line);
            if line.contains(READY) {
                break;
            }
            line.clear();
        }
        let _ = tell.send(banner);
        // Read on: a full pipe would stop the program.
        let _ = output.read_to_end(&mut Vec::new());
    });
    told.recv_timeout(DEADLINE).unwrap_or_default()
}
