//! A log file of one event a line that is put away when it is full, under the names of upstream's logs:
//! `audit-2026-11-21T19-14-56.123.log`, in UTC.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiserver::audit::Sink;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use parking_lot::Mutex;

/// `--audit-log-maxsize`, `-maxbackup`, `-maxage`, `-compress`. Zero: no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: u64,
    pub backups: usize,
    pub days: u32,
    pub compress: bool,
}

enum Target {
    Stdout,
    File { path: PathBuf, file: File, size: u64 },
}

/// See the module.
pub struct Log {
    target: Mutex<Target>,
    limits: Limits,
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl Log {
    /// `-` is the standard output.
    pub fn open(path: &str, limits: Limits) -> io::Result<Self> {
        if path == "-" {
            return Ok(Self { target: Mutex::new(Target::Stdout), limits });
        }
        let path = PathBuf::from(path);
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = create(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { target: Mutex::new(Target::File { path, file, size }), limits })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        match &mut *self.target.lock() {
            Target::Stdout => io::stdout().lock().write_all(line),
            Target::File { path, file, size } => {
                let more = line.len() as u64;
                if self.limits.bytes > 0 && *size > 0 && *size + more > self.limits.bytes {
                    put_away(path, Timestamp::now())?;
                    (*file, *size) = (create(path)?, 0);
                    tidy_later(path.clone(), self.limits);
                }
                file.write_all(line)?;
                *size += more;
                Ok(())
            }
        }
    }
}

impl Sink for Log {
    fn write(&self, event: &[u8]) {
        let line = [event, b"\n"].concat();
        if let Err(error) = self.append(&line) {
            tracing::error!(%error, "an audit event is lost");
        }
    }
}

/// `folder/audit-`, `.log`
fn around(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let end = text(path.extension());
    (format!("{}-", text(path.file_stem())), if end.is_empty() { end } else { format!(".{end}") })
}

fn put_away(path: &Path, now: Timestamp) -> io::Result<()> {
    let (start, end) = around(path);
    let stamp = now.strftime("%Y-%m-%dT%H-%M-%S");
    let name = format!("{start}{stamp}.{:03}{end}", now.subsec_millisecond());
    fs::rename(path, path.with_file_name(name))
}

/// Compressing takes a while: not while somebody waits for his answer.
fn tidy_later(path: PathBuf, limits: Limits) {
    let tidied = move || {
        if let Err(error) = tidy(&path, limits, Timestamp::now()) {
            tracing::warn!(%error, "old audit logs are not tidied");
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(tidied)),
        Err(_) => tidied(),
    }
}

/// Logs that were put away, the newest first, and when.
fn put_away_before(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (start, end) = around(path);
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let stamp = plain.strip_prefix(&start).and_then(|n| n.strip_suffix(&end));
        let when = stamp.and_then(|s| jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S%.f", s).ok());
        if let Some(when) = when.and_then(|d| d.in_tz("UTC").ok()) {
            all.push((when.timestamp(), folder.join(name)));
        }
    }
    all.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
    Ok(all)
}

fn tidy(path: &Path, limits: Limits, now: Timestamp) -> io::Result<()> {
    let oldest = now - Duration::from_secs(u64::from(limits.days) * 24 * 3600);
    for (at, (when, old)) in put_away_before(path)?.into_iter().enumerate() {
        if limits.backups > 0 && at >= limits.backups || limits.days > 0 && when < oldest {
            fs::remove_file(&old)?;
        } else if limits.compress && old.extension().is_none_or(|e| e != "gz") {
            compress(&old)?;
        }
    }
    Ok(())
}

fn compress(old: &Path) -> io::Result<()> {
    let mut name = old.as_os_str().to_owned();
    name.push(".gz");
    let out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&name)?;
    let mut encoder = GzEncoder::new(out, Compression::default());
    io::copy(&mut File::open(old)?, &mut encoder)?;
    encoder.finish()?;
    fs::remove_file(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(bytes: u64) -> Limits {
        Limits { bytes, backups: 2, days: 1, compress: true }
    }

    #[test]
    fn a_full_log_is_put_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/audit.log");
        let log = Log::open(path.to_str().unwrap(), limits(12)).unwrap();
        log.write(b"first");
        log.write(b"next");
        log.write(b"third");
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        let old = put_away_before(&path).unwrap();
        assert_eq!(old.len(), 1);
        assert!(old[0].1.to_str().unwrap().ends_with(".log.gz"), "{old:?}");
        let mut text = String::new();
        let file = File::open(&old[0].1).unwrap();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
        assert_eq!(text, "first\nnext\n");
        // What is there is gone on with.
        Log::open(path.to_str().unwrap(), limits(100)).unwrap().write(b"more");
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\nmore\n");
    }

    #[test]
    fn old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        for name in [
            "2026-01-03T00-00-00.000",
            "2026-01-02T12-00-00.000",
            "2026-01-02T11-00-00.500",
            "2025-01-01T00-00-00.000",
        ] {
            fs::write(folder.path().join(format!("audit-{name}.log")), "x").unwrap();
        }
        fs::write(folder.path().join("audit-other.log"), "x").unwrap();
        tidy(&path, Limits { compress: false, ..limits(0) }, "2026-01-03T01:00:00Z".parse().unwrap())
            .unwrap();
        let left: Vec<String> =
            put_away_before(&path).unwrap().iter().map(|(when, _)| when.to_string()).collect();
        assert_eq!(left, ["2026-01-03T00:00:00Z", "2026-01-02T12:00:00Z"]);
        assert!(folder.path().join("audit-other.log").exists());
    }
}
