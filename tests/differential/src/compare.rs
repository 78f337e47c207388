//! All cases in their order, to both servers at once each.

use std::collections::BTreeMap;

use crate::Result;
use crate::cases::{Case, Cases};
use crate::exchange::{Client, Kept};
use crate::normal;

/// What came of one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Same,
    Different,
    /// Different, as known.
    Known,
    /// Known to be different, and the same.
    Gone,
}

impl Outcome {
    fn of(different: bool, known: bool) -> Self {
        match (different, known) {
            (false, false) => Self::Same,
            (true, false) => Self::Different,
            (true, true) => Self::Known,
            (false, true) => Self::Gone,
        }
    }

    pub fn failed(self) -> bool {
        matches!(self, Self::Different | Self::Gone)
    }
}

/// How the cases ended, by outcome.
#[derive(Default)]
pub struct Score(BTreeMap<&'static str, usize>);

impl Score {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        let name = match outcome {
            Outcome::Same => "same",
            Outcome::Different => "different",
            Outcome::Known => "known",
            Outcome::Gone => "gone",
        };
        *self.0.entry(name).or_default() += 1;
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        other.0.into_iter().for_each(|(name, n)| *self.0.entry(name).or_default() += n);
        self
    }

    pub fn of(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// Sends all cases and prints what is different; `verbose` prints known differences too.
pub async fn run(cases: &Cases, upstream: &Client, ours: &Client, verbose: bool) -> Result<Score> {
    let (mut kept_there, mut kept_here) = (Kept::new(), Kept::new());
    let mut score = Score::default();
    for (name, case) in &cases.all {
        let (there, here) = futures::future::join(
            upstream.send(case, &cases.templates, &mut kept_there),
            ours.send(case, &cases.templates, &mut kept_here),
        )
        .await;
        let (there, here) = (there?, here?);
        let request = case.payload(&cases.templates).unwrap_or_default();
        let wanted = normal::of(&there, &request, &case.unordered);
        let got = normal::of(&here, &request, &case.unordered);
        let different = normal::differences(&wanted, &got);
        let outcome = Outcome::of(!different.is_empty(), cases.known.contains_key(name));
        score.count(outcome);
        if outcome.failed() || verbose && outcome == Outcome::Known {
            show(name, case, outcome, &different);
        }
    }
    Ok(score)
}

fn show(name: &str, case: &Case, outcome: Outcome, different: &[(String, String, String)]) {
    const SHOWN: usize = 12;
    let (method, target) = case.line();
    println!("{outcome:?}: {name}\n  {method} {target}");
    for (at, there, here) in different.iter().take(SHOWN) {
        println!("  {at}\n    upstream {}\n    ours     {}", cut(there), cut(here));
    }
    if different.len() > SHOWN {
        println!("  and {} more", different.len() - SHOWN);
    }
}

fn cut(text: &str) -> String {
    const LENGTH: usize = 1200;
    if text.chars().count() > LENGTH {
        text.chars().take(LENGTH).chain("...".chars()).collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_differences_fail_and_so_do_gone_ones() {
        let failed = [(false, false), (true, false), (true, true), (false, true)]
            .map(|(d, k)| Outcome::of(d, k).failed());
        assert_eq!(failed, [false, true, false, true]);
    }
}
