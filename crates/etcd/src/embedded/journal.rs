//! A look at fjall's journals before fjall opens them. fjall cuts a journal off at the first bytes
//! that it cannot read, which is right for a torn tail and loses acknowledged writes if something in
//! the middle is damaged. This tells the two apart by the markers that end each of our batches
//! ([`Marker`]): a torn tail is cut here, any other damage refuses the store (see [`Check::durable`]).
//!
//! It reads the journal of fjall 3 (`N.jnl`: start, items, end a batch; zeros to the end), and
//! nothing else of its files: tables have checksums that fjall checks.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::directory::io_error;
use super::record::{MARKER, Marker};
use crate::{Error, Result};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: &[u8] = &[b'F', b'J', b'L', 3];

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
struct Scan {
    /// Where the last whole batch ends.
    whole: usize,
    /// Whether there is more than zeros after that.
    damaged: bool,
    /// The newest revision that was surely acknowledged, by all markers found, also in the damage.
    durable: i64,
}

/// What the journals say before fjall reads them.
#[derive(Debug, Default)]
pub struct Check {
    /// The revision that was surely acknowledged: after recovery the store must be there at least.
    pub durable: i64,
    torn: Option<Torn>,
}

/// A tail that was cut off.
#[derive(Debug)]
struct Torn {
    path: PathBuf,
    at: usize,
    tail: Vec<u8>,
}

impl Check {
    /// Puts a tail back that turned out to hold acknowledged writes, so that the next attempt to
    /// open sees the damage again. fjall must not have the files open.
    pub fn restore(self) -> Result<()> {
        let Some(torn) = self.torn else { return Ok(()) };
        let write = || {
            let mut file = File::options().write(true).open(&torn.path)?;
            file.set_len(torn.at as u64)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&torn.tail)?;
            file.sync_all()
        };
        write().map_err(io_error("restore", &torn.path))
    }
    /// Where the tail was cut off, for messages.
    pub fn place(&self) -> Option<String> {
        self.torn.as_ref().map(|torn| format!("{} byte {}", torn.path.display(), torn.at))
    }
}

/// Checks the journals in `db`, and cuts off a torn tail of the newest.
pub fn check(db: &Path) -> Result<Check> {
    let journals = list(db)?;
    let mut check = Check::default();
    for (at, path) in journals.iter().enumerate() {
        let bytes = read_without_tail(path).map_err(io_error("read", path))?;
        let scan = scan(&bytes);
        check.durable = check.durable.max(scan.durable);
        if !scan.damaged {
            continue;
        }
        if at + 1 < journals.len() {
            // fjall syncs a journal before it begins the next one, so this was whole once.
            let place = format!("{} byte {}", path.display(), scan.whole);
            return Err(Error::Corrupt {
                place,
                what: "journal is damaged, though a later one follows".into(),
            });
        }
        cut(path, scan.whole).map_err(io_error("cut", path))?;
        check.torn = Some(Torn { path: path.clone(), at: scan.whole, tail: bytes[scan.whole..].to_vec() });
    }
    Ok(check)
}

fn list(db: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(db) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("list", db)(e)),
    };
    let mut journals = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error("list", db))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), Some("jnl")) = (number, path.extension().and_then(|e| e.to_str())) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// A journal is made 64 MiB long at once; what was never written is a hole, which need not be read.
fn read_without_tail(path: &Path) -> std::io::Result<Vec<u8>> {
    use nix::unistd::{Whence, lseek};
    let file = File::open(path)?;
    let mut written = 0;
    loop {
        let data = match lseek(&file, written, Whence::SeekData) {
            Ok(at) => at,
            Err(nix::errno::Errno::ENXIO) => break,
            Err(e) => return Err(e.into()),
        };
        written = lseek(&file, data, Whence::SeekHole)?;
    }
    lseek(&file, 0, Whence::SeekSet)?;
    let mut bytes = Vec::with_capacity(usize::try_from(written).unwrap_or_default());
    file.take(written.unsigned_abs()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn cut(path: &Path, len: usize) -> std::io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(len as u64)?;
    file.sync_all()
}

fn scan(bytes: &[u8]) -> Scan {
    let (mut at, mut durable) = (0, 0);
    while let Some(batch) = read_batch(&bytes[at..]) {
        at += batch.len;
        durable = durable.max(batch.marker.map_or(0, |marker| marker.durable));
    }
    let damaged = bytes[at..].iter().any(|byte| *byte != 0);
    if damaged {
        durable = Marker::find_all(&bytes[at..]).map(|marker| marker.durable).fold(durable, i64::max);
    }
    Scan { whole: at, damaged, durable }
}

struct Batch {
    len: usize,
    marker: Option<Marker>,
}

/// Reads one whole batch; `None` if it is not whole, or not what its marker says.
fn read_batch(bytes: &[u8]) -> Option<Batch> {
    let mut reader = Reader(bytes);
    if reader.byte()? != START {
        return None;
    }
    let count = u32::from_le_bytes(*reader.array()?);
    reader.array::<8>()?;
    let (mut sum, mut marker) = (crc32fast::Hasher::new(), None);
    for _ in 0..count {
        let (key, value) = read_item(&mut reader)?;
        if key == MARKER {
            marker = Some(Marker::decode(value)?);
        } else {
            sum.update(key);
            sum.update(value);
        }
    }
    let ended = reader.byte()? == END && reader.array::<8>().is_some() && reader.slice(4)? == TRAILER;
    let sums_up = marker.is_none_or(|marker| marker.sum == sum.finalize());
    (ended && sums_up).then(|| Batch { len: bytes.len() - reader.0.len(), marker })
}

fn read_item<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    if reader.byte()? != ITEM {
        return None;
    }
    reader.slice(1 + 1 + 8)?; // kind of value, compression, keyspace
    let key_len = u16::from_le_bytes(*reader.array()?);
    reader.array::<4>()?; // length before compression, which is off
    let value_len = u32::from_le_bytes(*reader.array()?);
    Some((reader.slice(usize::from(key_len))?, reader.slice(value_len as usize)?))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|b| b[0])
    }
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(head)
    }
    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
}
