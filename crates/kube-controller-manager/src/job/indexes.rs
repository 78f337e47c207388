//! Sets of completion indexes, as the status holds them: `1,3-5,7`.

use std::fmt;

/// Sorted ranges, both ends included, that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// Reads the text; what is not below `completions`, or no number, is left out.
    pub fn parse(text: &str, completions: i32) -> Self {
        let range = |part: &str| -> Option<(i32, i32)> {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().ok()?, last.parse::<i32>().ok()?);
            (first < completions && first <= last).then(|| (first, last.min(completions - 1)))
        };
        let mut ranges: Vec<_> = text.split(',').filter_map(range).collect();
        ranges.sort_unstable();
        let mut merged = Self::default();
        ranges.into_iter().for_each(|(first, last)| merged.append(first, last));
        merged
    }

    fn append(&mut self, first: i32, last: i32) {
        match self.0.last_mut() {
            Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => self.0.push((first, last)),
        }
    }

    /// With these indexes, in any order.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = i32>) -> Self {
        let mut ranges = self.0.clone();
        ranges.extend(more.into_iter().map(|i| (i, i)));
        ranges.sort_unstable();
        let mut merged = Self::default();
        ranges.into_iter().for_each(|(first, last)| merged.append(first, last));
        merged
    }

    pub fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    pub fn total(&self) -> i32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many indexes both have.
    pub fn common(&self, other: &Self) -> i32 {
        let overlap = |a: &(i32, i32), b: &(i32, i32)| (a.1.min(b.1) - a.0.max(b.0) + 1).max(0);
        self.0.iter().map(|a| other.0.iter().map(|b| overlap(a, b)).sum::<i32>()).sum()
    }

    /// The first `count` indexes below `completions` that are not in here and that `skip` does not name.
    pub fn first_missing(&self, count: usize, completions: i32, skip: impl Fn(i32) -> bool) -> Vec<i32> {
        (0..completions).filter(|i| !self.contains(*i) && !skip(*i)).take(count).collect()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                // Two neighbours stand as two numbers.
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        for (text, completions, expected, total) in [
            ("", 5, "", 0),
            ("0", 5, "0", 1),
            ("0,1", 5, "0,1", 2),
            ("1,3-5,7", 9, "1,3-5,7", 5),
            ("3-5,1,2", 9, "1-5", 5),
            ("0-9", 4, "0-3", 4),
            ("5,6", 4, "", 0),
            ("x,2", 4, "2", 1),
        ] {
            let found = Indexes::parse(text, completions);
            assert_eq!((found.to_string(), found.total()), (expected.to_owned(), total), "{text}");
        }
    }

    #[test]
    fn sets() {
        let some = Indexes::parse("1,3-5", 10);
        assert_eq!(some.with([2, 9, 4]).to_string(), "1-5,9");
        assert_eq!((0..7).filter(|i| some.contains(*i)).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(some.common(&Indexes::parse("0-3,5,8", 10)), 3);
        assert_eq!(some.first_missing(2, 10, |i| i == 0), [2, 6]);
        assert_eq!(some.first_missing(9, 3, |_| false), [0, 2]);
    }
}
