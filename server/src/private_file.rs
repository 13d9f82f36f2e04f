//! Small files that only their owner may read, written whole or not at all. Not here: what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::env::Env;

/// Writes a file of mode 0600. It is on the disk, under its name, when this returns; a crash before
/// that leaves what was there before.
///
/// # Errors
/// What the operating system says.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&temporary, content)?;
    fs::rename(&temporary, path)?;
    sync_directory(path)
}

/// Writes a file as [`write`] does, unless there is one: of those who make it at the same time one wins,
/// and all read the same afterwards.
///
/// # Errors
/// What the operating system says.
pub fn create(path: &Path, content: &[u8], env: &Env) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", env.new_id()));
    let placed =
        write_new(&temporary, content).and_then(|()| match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // The file system has no links.
            Err(_) if !path.exists() => fs::rename(&temporary, path),
            linked => linked,
        });
    // Gone already after a renaming; what is left of a failure nobody reads.
    let _ = fs::remove_file(&temporary);
    placed?;
    sync_directory(path)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Refuses a file that others could read.
///
/// # Errors
/// `PermissionDenied`, saying what to do; or what the operating system says.
pub fn check(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let text = format!("{} is readable by others: chmod 600 it", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Barrier;

    use super::*;

    #[test]
    fn who_makes_it_at_the_same_time_reads_the_same() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        let (env, together) = (Env::system(), Barrier::new(8));
        let read: Vec<String> = std::thread::scope(|scope| {
            let (path, env, together) = (&path, &env, &together);
            let make = move |own: usize| {
                together.wait();
                create(path, format!("key {own}").as_bytes(), env).unwrap();
                fs::read_to_string(path).unwrap()
            };
            let makers: Vec<_> = (0..8).map(|own| scope.spawn(move || make(own))).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(read[0].starts_with("key ") && read.iter().all(|key| *key == read[0]), "{read:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
