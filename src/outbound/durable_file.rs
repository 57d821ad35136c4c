//! Files that are there whole or not at all, also after a crash or a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock;

/// What a new file allows: everybody may read documents, nobody else a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `0644`, narrowed by the umask.
    Shared,
    /// `0600`.
    Private,
}

/// Writes `bytes` to `path`, replacing what was there in one step: a temporary file in the same
/// directory, synced, renamed, and the directory synced. Missing directories are made. Blocks: call
/// it through [`blocking`] from async code.
pub(super) fn write(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no directory"))?;
    make_directory(directory)?;
    let temporary = temporary_beside(path);
    let written = write_synced(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // Best effort: the error that matters is the first one.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_directory(directory)
}

/// As [`write`], but what is there already stays.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no directory"))?;
    make_directory(directory)?;
    let temporary = temporary_beside(path);
    let written = write_synced(&temporary, bytes, mode).and_then(|()| {
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    // Best effort: nobody reads it.
    drop(fs::remove_file(&temporary));
    written?;
    sync_directory(directory)
}

/// Makes a directory and its parents, durably.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        make_directory(parent)?;
    }
    match fs::create_dir(directory) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Makes sure that files can be made in a directory, which is made when missing.
pub(super) fn check_writable(directory: &Path) -> io::Result<()> {
    make_directory(directory)?;
    let probe = temporary_beside(&directory.join("probe"));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)?;
    fs::remove_file(probe)
}

/// Runs blocking work off the reactor's threads; a panic in it is an error like any other.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|join| Err(io::Error::other(join)))
}

fn write_synced(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mode = match mode {
        Mode::Shared => 0o644,
        Mode::Private => 0o600,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A name of its own for every writer, so that two writers of one file never share a temporary one.
fn temporary_beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.tmp", clock::random_hex::<12>()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_stays_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/file");
        write(&path, b"one", Mode::Shared).unwrap();
        write(&path, b"two", Mode::Shared).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names_in(path.parent().unwrap()), ["file"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        // Renaming a file over a directory that is not empty fails after the temporary was written.
        fs::create_dir_all(path.join("inner")).unwrap();
        assert!(write(&path, b"new", Mode::Shared).is_err());
        assert_eq!(names_in(directory.path()), ["taken"]);
    }

    #[test]
    fn a_private_file_is_readable_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        write(&path, b"hush", Mode::Private).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
