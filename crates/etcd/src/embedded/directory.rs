//! The data directory: the lock, the format version, and where fjall's files lie in it.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | the pid of the process that has the store open, under `flock` |
//! | `format` | `keelson-store N` |
//! | `db/` | fjall's files: journals, tables |

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
const FORMAT_WORD: &str = "keelson-store";

/// An open, locked data directory. The lock ends with it.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    lock: File,
}

impl Drop for Directory {
    /// Not left to the file's closing: a child that another thread has just forked has it open too, until its exec.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(root = %self.root.display(), %error, "a store's directory stays locked until all have closed it");
        }
    }
}

/// An [`Error::Io`] of one operation on one path.
pub fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |e| Error::Io { operation, path, reason: e.to_string() }
}

impl Directory {
    /// Makes the directory if there is none, locks it and checks its format.
    pub fn open(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(io_error("create", root))?;
        let lock = lock(&root.join("lock"))?;
        let directory = Self { root: root.to_owned(), lock };
        directory.check_format()?;
        Ok(directory)
    }

    /// Where fjall's files lie.
    pub fn db(&self) -> PathBuf {
        self.root.join("db")
    }

    fn check_format(&self) -> Result<()> {
        let path = self.root.join("format");
        match std::fs::read_to_string(&path) {
            Ok(text) => check_format_text(&text, &self.root),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.begin_format(&path),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                Err(corrupt(&path, "is not a format version"))
            }
            Err(e) => Err(io_error("read", &path)(e)),
        }
    }

    fn begin_format(&self, path: &Path) -> Result<()> {
        if self.db().exists() {
            return Err(corrupt(path, "is missing, though there is data"));
        }
        let fresh = self.root.join("format.new");
        let write = || {
            let mut file = File::create(&fresh)?;
            writeln!(file, "{FORMAT_WORD} {FORMAT}")?;
            file.sync_all()?;
            std::fs::rename(&fresh, path)?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(io_error("write", path))
    }
}

fn corrupt(path: &Path, what: &str) -> Error {
    Error::Corrupt { place: path.display().to_string(), what: what.to_owned() }
}

fn check_format_text(text: &str, root: &Path) -> Result<()> {
    let number = text.strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim().parse::<u32>().ok());
    match number {
        None | Some(0) => Err(corrupt(&root.join("format"), "is not a format version")),
        Some(found) if found > FORMAT => {
            Err(Error::NewerFormat { path: root.to_owned(), found, supported: FORMAT })
        }
        Some(_) => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(io_error("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _unreadable_is_zero = file.read_to_string(&mut text);
            return Err(Error::Locked { path: path.to_owned(), pid: text.trim().parse().unwrap_or(0) });
        }
        Err(TryLockError::Error(e)) => return Err(io_error("lock", path)(e)),
    }
    let mut write = || {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write().map_err(io_error("write", path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let path = dir.path().join("lock");
        assert_eq!(Directory::open(dir.path()).unwrap_err(), Error::Locked { path, pid: std::process::id() });
        let of_a_forked_child = first.lock.try_clone().unwrap();
        drop(first);
        Directory::open(dir.path()).unwrap();
        drop(of_a_forked_child);
    }

    #[test]
    fn other_formats_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Directory::open(dir.path()).unwrap());
        let format = dir.path().join("format");
        std::fs::write(&format, "keelson-store 2\n").unwrap();
        let newer = Error::NewerFormat { path: dir.path().to_owned(), found: 2, supported: 1 };
        assert_eq!(Directory::open(dir.path()).unwrap_err(), newer);
        for text in ["", "keelson-store", "keelson-store x", "\u{1}\u{2}"] {
            std::fs::write(&format, text).unwrap();
            assert!(matches!(Directory::open(dir.path()), Err(Error::Corrupt { .. })), "{text:?}");
        }
        std::fs::remove_file(&format).unwrap();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        assert!(matches!(Directory::open(dir.path()), Err(Error::Corrupt { .. })), "data without format");
    }
}
