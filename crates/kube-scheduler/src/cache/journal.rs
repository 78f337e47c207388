//! The last pods that came to nodes and left them, so that what was counted over all pods can be brought up to date
//! by the difference.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Slot;
use crate::pod::Pod;

/// Who is further behind counts anew.
const MOST: usize = 1024;

/// A pod came to a node (`by` 1) or left it (-1).
#[derive(Debug)]
pub struct Moved {
    pub slot: Slot,
    pub pod: Arc<Pod>,
    pub by: i64,
}

/// A ring of changes, each with its number.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Moved>,
    end: u64,
}

impl Journal {
    pub(super) fn push(&mut self, moved: Moved) {
        if self.entries.len() == MOST {
            self.entries.pop_front();
        }
        self.entries.push_back(moved);
        self.end += 1;
    }

    /// The number that the next change will have.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The changes from number `seen` on; None if they are not all there any more.
    pub fn since(&self, seen: u64) -> Option<impl Iterator<Item = &Moved>> {
        let behind = usize::try_from(self.end - seen).ok().filter(|n| *n <= self.entries.len())?;
        Some(self.entries.range(self.entries.len() - behind..))
    }
}
