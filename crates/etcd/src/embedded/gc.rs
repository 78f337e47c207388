//! Compaction after it was decided: a thread that drops old changes from the index, then from the
//! disk, in small steps between the committer's groups, and rewrites tables when most of what they
//! hold is dropped. A crash on the way loses nothing: what is left is found and dropped at open.

use std::sync::mpsc::Receiver;

use super::engine::{Engine, INDEX_STEP};
use super::index::Item;
use super::record;
use crate::{Error, Result};

/// Changes removed from disk in one batch.
const REMOVE_STEP: usize = 512;

/// The thread's own state.
pub struct Collector {
    /// Changes removed since tables were last rewritten.
    removed: usize,
    /// Tables smaller than this are not worth rewriting.
    reclaim_above: u64,
}

impl Collector {
    /// A collector that leaves tables alone while they are at most so large.
    pub fn new(reclaim_above: u64) -> Self {
        Self { removed: 0, reclaim_above }
    }

    /// Runs until the committer is gone. `garbage` is what an earlier run left on disk.
    pub fn run(mut self, engine: &Engine, garbage: &[Item], compactions: &Receiver<i64>) {
        let mut outcome = self.remove(engine, garbage).and_then(|()| self.reclaim(engine));
        while let Ok(revision) = compactions.recv() {
            if engine.check_healthy().is_err() {
                continue;
            }
            outcome = outcome.and_then(|()| self.compact(engine, revision));
            if let Err(e) = &outcome {
                // fjall refuses writes after a failed one; so do we.
                engine.poison(e.to_string());
            }
        }
    }

    fn compact(&mut self, engine: &Engine, revision: i64) -> Result<()> {
        let (mut after, mut dropped) = (None::<Box<[u8]>>, Vec::new());
        loop {
            after = engine.index.write().prune(after.as_deref(), revision, INDEX_STEP, &mut dropped);
            if dropped.len() >= REMOVE_STEP || after.is_none() {
                self.remove(engine, &dropped)?;
                dropped.clear();
            }
            if after.is_none() {
                return self.reclaim(engine);
            }
        }
    }

    fn remove(&mut self, engine: &Engine, items: &[Item]) -> Result<()> {
        for step in items.chunks(REMOVE_STEP) {
            let mut batch = engine.disk.batch();
            for item in step {
                batch.remove_meta(&record::change_key(item.rev));
                if !item.is_delete() {
                    batch.remove_value(item.rev);
                }
            }
            engine.disk.commit(batch, engine.durable(), false)?;
        }
        self.removed += items.len();
        Ok(())
    }

    fn reclaim(&mut self, engine: &Engine) -> Result<()> {
        let live = engine.index.read().item_count();
        if self.removed < live.max(1) || engine.disk.bytes() <= self.reclaim_above {
            return Ok(());
        }
        self.removed = 0;
        match engine.disk.reclaim() {
            // The tables stay as they were, which is no loss.
            Err(Error::Corrupt { place, what }) => {
                tracing::warn!(%place, %what, "space of compacted history was not reclaimed");
                Ok(())
            }
            other => other,
        }
    }
}
