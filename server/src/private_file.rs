//! Small files that only their owner may read, written whole or not at all. Not here: what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

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
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
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
