//! A revision with its place inside a transaction, packed into one word.

use std::num::NonZeroU64;

/// Bits for the place inside a transaction: at most 4,194,303 changes in one.
const SUB_BITS: u32 = 22;
/// The most changes that one transaction can make.
pub const MAX_SUB: u32 = (1 << SUB_BITS) - 1;
/// The greatest revision: 4.4e12, fourteen years of 10,000 changes a second.
pub const MAX_MAIN: i64 = (1 << (64 - SUB_BITS)) - 1;

/// The main revision (that of the transaction) and the place of the change in it. Ordered as the
/// changes happened; never zero, since the first change is revision 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev(NonZeroU64);

impl Rev {
    /// Packs; revisions below 1 are taken as 1.
    pub fn new(main: i64, sub: u32) -> Self {
        let main = main.clamp(1, MAX_MAIN) as u64;
        let packed = (main << SUB_BITS) | u64::from(sub.min(MAX_SUB));
        Self(NonZeroU64::new(packed).unwrap_or(NonZeroU64::MIN))
    }
    /// The transaction's revision.
    pub fn main(self) -> i64 {
        (self.0.get() >> SUB_BITS) as i64
    }
    /// The place in the transaction, from 0.
    pub fn sub(self) -> u32 {
        (self.0.get() & u64::from(MAX_SUB)) as u32
    }
    /// The packed word; big endian on disk, so that bytes sort as revisions do.
    pub fn packed(self) -> u64 {
        self.0.get()
    }
    /// Out of the packed word.
    pub fn from_packed(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_orders() {
        let rev = Rev::new(77, 3);
        assert_eq!((rev.main(), rev.sub()), (77, 3));
        assert!(Rev::new(77, MAX_SUB) < Rev::new(78, 0));
        assert_eq!(Rev::new(MAX_MAIN, MAX_SUB).main(), MAX_MAIN);
        assert_eq!(Rev::from_packed(rev.packed()), Some(rev));
        assert_eq!(Rev::from_packed(0), None);
    }
}
