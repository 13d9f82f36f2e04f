//! The reader's clone: a copy of the repository's files, uncommitted changes included, so that nothing that a
//! document does reaches the repository; and what it did to the copy, which it would do to every reader's.
//! Not here: the programs beside it, and the reader (`guides/session.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::parts;

/// What builds, tests and programs make and git does not keep.
const NOT_KEPT: [&str; 5] = [".cache", ".git", "__pycache__", "node_modules", "target"];
/// Where the program keeps its data, at the top.
const DATA: &str = "data";

/// What the clone held before anything was done in it.
pub struct FreshClone {
    folder: PathBuf,
    tops: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl FreshClone {
    /// Copies the repository into a folder that is empty.
    pub fn made_in(folder: &Path) -> Self {
        let tops = kept_at_the_top();
        for path in paths_below(&parts::repository(), &tops) {
            let to = folder.join(&path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(parts::repository().join(path), to).unwrap();
        }
        Self { files: read_below(folder, &tops), folder: folder.to_owned(), tops }
    }

    /// Files of the repository that are others now or gone, and new ones in its folders. New ones at the top
    /// are the reader's own.
    pub fn changes(&self) -> Vec<String> {
        let now = read_below(&self.folder, &self.tops);
        let mut changes: Vec<String> = Vec::new();
        for (path, content) in &self.files {
            match now.get(path) {
                None => changes.push(format!("{} is gone", path.display())),
                Some(other) if other != content => {
                    changes.push(format!("{} is changed", path.display()));
                }
                Some(_) => {}
            }
        }
        let new = now.keys().filter(|path| !self.files.contains_key(*path));
        changes.extend(new.map(|path| format!("{} is new", path.display())));
        changes
    }
}

/// What git knows at the top, and not what somebody left there who did what a document says. Without git
/// there is no telling.
fn kept_at_the_top() -> BTreeSet<PathBuf> {
    let root = parts::repository();
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&root).output();
    let listed = listed.ok().filter(|output| output.status.success() && !output.stdout.is_empty());
    let Some(listed) = listed else {
        return names(&root).filter(|name| name != DATA).map(PathBuf::from).collect();
    };
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tops = listed.split_terminator('\0').map(|path| Path::new(path).iter().take(1).collect());
    tops.collect()
}

/// The names in a folder, without what git does not keep.
fn names(folder: &Path) -> impl Iterator<Item = OsString> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| !NOT_KEPT.iter().any(|other| name == other))
}

/// Every file that is one of these or below one of them; all paths are from `root`.
fn paths_below(root: &Path, tops: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> = tops.iter().cloned().collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let whole = root.join(&path);
        if whole.is_dir() {
            open.extend(names(&whole).map(|name| path.join(name)));
        } else if whole.is_file() {
            found.push(path);
        }
    }
    found
}

/// The same with what is in them.
fn read_below(root: &Path, tops: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| {
        let content = std::fs::read(root.join(&path)).unwrap();
        (path, content)
    };
    paths_below(root, tops).into_iter().map(read).collect()
}

#[test]
fn what_a_document_does_to_its_clone_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let clone = FreshClone::made_in(folder.path());
    let write = |path: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "anything").unwrap();
    };
    for own in ["sell.py", "generated/gateway/options.py", "proto/__pycache__/a.pyc"] {
        write(own);
    }
    assert_eq!(clone.changes(), Vec::<String>::new());
    write("gateway/options/v1/options_pb2.py");
    write("Makefile");
    std::fs::remove_file(folder.path().join("README.md")).unwrap();
    let seen =
        ["Makefile is changed", "README.md is gone", "gateway/options/v1/options_pb2.py is new"];
    assert_eq!(clone.changes(), seen);
}
