//! Opens the Unix socket of the operator's API so that only the owner can connect, from its first
//! moment on. Not here: what is served on it.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Why a Unix socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers on it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket stands at the path; it is left alone.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The path has no file name or no directory.
    #[error("{} cannot name a socket", .0.display())]
    BadPath(PathBuf),
    /// The operating system refused.
    #[error("cannot open the socket {}: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Binds a socket at `path` with mode 0600; a socket left by a dead process is replaced.
///
/// `bind` makes the file with the process's umask, so a `chmod` after it would leave a moment in
/// which others may connect. The socket is therefore made in a directory of mode 0700 beside its
/// place, gets its mode there, and is renamed to `path` in one step. The caller removes the file
/// when it stops, if it likes: the next start replaces it. The path may be about 90 bytes long
/// (a socket's address holds 108).
///
/// # Errors
/// [`BindError`]; nothing at `path` has changed then.
pub async fn bind_unix(path: &Path) -> Result<UnixListener, BindError> {
    let fail = |source| BindError::Io { path: path.to_owned(), source };
    let (Some(parent), Some(_)) = (path.parent(), path.file_name()) else {
        return Err(BindError::BadPath(path.to_owned()));
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(BindError::InUse(path.to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    let nursery = parent.join(".bind");
    let newborn = nursery.join("s");
    remove_nursery(&newborn, &nursery).map_err(fail)?;
    std::fs::DirBuilder::new().mode(0o700).create(&nursery).map_err(fail)?;
    let bound = bind_in(&newborn, path);
    let removed = remove_nursery(&newborn, &nursery);
    let listener = bound.map_err(fail)?;
    removed.map_err(fail)?;
    Ok(listener)
}

fn bind_in(newborn: &Path, path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(newborn)?;
    std::fs::set_permissions(newborn, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(newborn, path)?;
    Ok(listener)
}

/// Removes what this, or a start that died half way, has made.
fn remove_nursery(newborn: &Path, nursery: &Path) -> io::Result<()> {
    for result in [std::fs::remove_file(newborn), std::fs::remove_dir(nursery)] {
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
