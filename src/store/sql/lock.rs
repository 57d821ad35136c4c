//! The lock on a data directory: one process works on it, or nodes of one cluster do.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use tokio::time::{Duration, Instant, sleep};

use super::error::unavailable;
use crate::store::StoreError;

const FILE_NAME: &str = "faktor.lock";
/// What stands in the file instead of a process while nodes share the directory.
const SHARED: &str = "nodes of a cluster";

/// A data directory that is ours. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DirectoryLock(File);

impl DirectoryLock {
    /// Makes the directory if it is missing, open to its owner only, and locks it. `InUse` when
    /// another process has it.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        lock(directory, File::try_lock, &std::process::id().to_string()).map(Self)
    }

    /// As [`Self::take`], together with others that share it. `InUse` when a process has it alone.
    pub fn share(directory: &Path) -> Result<Self, StoreError> {
        lock(directory, File::try_lock_shared, SHARED).map(Self)
    }

    pub(super) fn release(&self) -> Result<(), StoreError> {
        self.0.unlock().map_err(unavailable)
    }
}

fn lock(
    directory: &Path,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
    signature: &str,
) -> Result<File, StoreError> {
    let failed = |what: &str, error: io::Error| {
        unavailable(format!(
            "the data directory {} {what}: {error}",
            directory.display()
        ))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| failed("can't be made", error))?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(FILE_NAME))
        .map_err(|error| failed("can't be written to", error))?;
    match try_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse {
                directory: directory.display().to_string(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed("can't be locked", error)),
    }
    sign(&mut file, signature).map_err(|error| failed("can't be written to", error))?;
    Ok(file)
}

fn sign(file: &mut File, signature: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{signature}")
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    match (read, text.trim()) {
        (Ok(_), SHARED) => SHARED.to_owned(),
        (Ok(_), pid) if pid.parse::<u32>().is_ok() => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

/// A file in the data directory by which processes keep each other out for a while. What is locked is
/// free again when its process ends, however it ends.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
    name: &'static str,
}

impl LockFile {
    pub(super) fn open(directory: &Path, name: &'static str) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join(name))
            .map_err(|error| {
                let directory = directory.display();
                unavailable(format!(
                    "{name} in the data directory {directory} can't be opened: {error}"
                ))
            })?;
        Ok(Self { file, name })
    }

    /// Locks it, unless another process has it locked. False: one has.
    pub(super) fn try_lock(&self) -> Result<bool, StoreError> {
        self.tried(self.file.try_lock())
    }

    /// As [`Self::try_lock`], together with others that share it.
    pub(super) fn try_share(&self) -> Result<bool, StoreError> {
        self.tried(self.file.try_lock_shared())
    }

    fn tried(&self, tried: Result<(), TryLockError>) -> Result<bool, StoreError> {
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &io::Error) -> StoreError {
        let name = self.name;
        unavailable(format!("{name} can't be locked: {error}"))
    }

    /// Looks again and again until no other process has it locked; `held` is what to say when one has for
    /// too long.
    pub(super) async fn lock(
        &self,
        (look_every, patience): (Duration, Duration),
        held: &str,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        while !self.try_lock()? {
            if started.elapsed() >= patience {
                return Err(unavailable(held));
            }
            sleep(look_every).await;
        }
        Ok(())
    }

    /// As [`Self::lock`], but this thread stands still, however long another process has it locked.
    pub(super) fn lock_blocking(&self) -> Result<(), StoreError> {
        loop {
            match self.file.lock() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
