//! What is read at open: the index and the leases out of the metadata, checked on the way. Every
//! revision after the compact one must be there whole; each record has its checksum.

use std::time::Instant;

use super::disk::Disk;
use super::index::{Index, Item};
use super::lease::Leases;
use super::record::{self, CHANGE, COMPACT, LEASE};
use crate::{Error, Result};

/// The state of a store that was just opened.
pub struct Recovered {
    pub index: Index,
    pub leases: Leases,
    pub revision: i64,
    pub compacted: i64,
    /// Changes that compaction dropped from the index, but perhaps not from the disk.
    pub garbage: Vec<Item>,
}

/// Reads the metadata.
pub fn recover(disk: &Disk, now: Instant) -> Result<Recovered> {
    let mut leases = recover_leases(disk, now)?;
    let compacted = disk.number(COMPACT)?.unwrap_or_default();
    let mut reading = Reading { index: Index::default(), last: None, compacted };
    disk.each_meta(CHANGE, |key, record| {
        let change = record::decode_change(key, record).map_err(|what| bad(key, what))?;
        reading.check_follows(&change)?;
        if leases.contains(change.lease) || leases.of_key(&change.key) != 0 {
            leases.attach(&change.key, change.lease);
        }
        reading.index.push(&change.key, change.item);
        reading.last = Some((change.item, change.last));
        Ok(())
    })?;
    let revision = reading.finish()?;
    let mut garbage = Vec::new();
    if compacted > 0 {
        let mut after = reading.index.prune(None, compacted, usize::MAX, &mut garbage);
        while after.is_some() {
            after = reading.index.prune(after.as_deref(), compacted, usize::MAX, &mut garbage);
        }
    }
    Ok(Recovered { index: reading.index, leases, revision, compacted, garbage })
}

fn recover_leases(disk: &Disk, now: Instant) -> Result<Leases> {
    let mut leases = Leases::default();
    disk.each_meta(LEASE, |key, record| {
        let id = key.get(1..9).and_then(|b| b.first_chunk::<8>()).ok_or_else(|| bad(key, "key too short"))?;
        let ttl = record::decode_number(key, record).map_err(|what| bad(key, what))?;
        leases.grant(i64::from_be_bytes(*id), ttl, now);
        Ok(())
    })?;
    Ok(leases)
}

struct Reading {
    index: Index,
    /// The change read last, and whether it ended its transaction.
    last: Option<(Item, bool)>,
    compacted: i64,
}

impl Reading {
    /// After the compact revision nothing may be missing; before it anything may.
    fn check_follows(&self, change: &record::Change) -> Result<()> {
        let (rev, main) = (change.item.rev, change.item.rev.main());
        if main <= self.compacted {
            return Ok(());
        }
        let follows = match self.last {
            Some((last, false)) if last.rev.main() > self.compacted => {
                (main, rev.sub()) == (last.rev.main(), last.rev.sub() + 1)
            }
            Some((last, true)) if last.rev.main() > self.compacted => {
                (main, rev.sub()) == (last.rev.main() + 1, 0)
            }
            // A compact revision of 0 means that the first change is revision 2.
            _ => (main, rev.sub()) == (self.compacted.max(1) + 1, 0),
        };
        if follows { Ok(()) } else { Err(gap(main)) }
    }

    fn finish(&self) -> Result<i64> {
        match self.last {
            Some((last, false)) if last.rev.main() > self.compacted => Err(gap(last.rev.main())),
            Some((last, _)) => Ok(last.rev.main().max(self.compacted)),
            None => Ok(self.compacted.max(1)),
        }
    }
}

fn gap(main: i64) -> Error {
    Error::Corrupt { place: format!("revision {main}"), what: "changes before it are missing".into() }
}

fn bad(key: &[u8], what: &str) -> Error {
    let place = match key.get(1..9).and_then(|b| b.first_chunk::<8>()) {
        Some(word) => format!("metadata {}{}", char::from(key[0]), u64::from_be_bytes(*word)),
        None => format!("metadata {key:?}"),
    };
    Error::Corrupt { place, what: what.to_owned() }
}
