//! Ranges of sizes and of costs, whose ends stay within u64.

use crate::value::CostRange;

/// From the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub min: u64,
    pub max: u64,
}

impl Range {
    pub const ZERO: Self = Self::fixed(0);
    pub const ONE: Self = Self::fixed(1);
    pub const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    /// What a union begins with.
    pub const EMPTY: Self = Self { min: u64::MAX, max: 0 };

    pub const fn fixed(n: u64) -> Self {
        Self { min: n, max: n }
    }

    pub const fn of(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Times a fraction, rounded up.
    pub fn scaled(self, by: f64) -> Self {
        let scale = |n: u64| (n as f64 * by).ceil() as u64;
        Self { min: scale(self.min), max: scale(self.max) }
    }

    /// The cost of going through a text of this size.
    pub fn scanned(self) -> Self {
        self.scaled(0.1)
    }

    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

impl From<Range> for CostRange {
    fn from(of: Range) -> Self {
        Self { min: of.min, max: of.max }
    }
}
