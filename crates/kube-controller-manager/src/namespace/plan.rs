//! What is left in a namespace that is being deleted, as its conditions tell it.

use std::collections::BTreeMap;

use client::Time;

use crate::views::Condition;

/// What deleting the content of a namespace came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub discovery_failures: Vec<String>,
    pub deletion_failures: Vec<String>,
    /// Objects left by `resource.group`.
    pub remaining: BTreeMap<String, usize>,
    /// Objects left by finalizer.
    pub finalizers: BTreeMap<String, usize>,
    /// Seconds within which graceful deletions should be over.
    pub estimate: i64,
}

impl Outcome {
    /// Nothing is left, and all was looked at.
    pub fn is_done(&self) -> bool {
        self.remaining.is_empty() && self.deletion_failures.is_empty() && self.discovery_failures.is_empty()
    }

    /// The conditions of the namespace, as `present` with what is new. None: they tell it already.
    pub fn conditions(&self, present: &[Condition], now: Time) -> Option<Vec<Condition>> {
        let mut conditions = present.to_vec();
        let mut changed = false;
        for (kind, found, good) in self.findings() {
            // A good state is told only once a bad one was, or something is left at all.
            let (status, (reason, message)) = match found {
                Some(bad) => ("True", bad),
                None => ("False", (good.0, good.1.to_owned())),
            };
            let same = |c: &Condition| {
                c.kind == kind && c.status == status && c.reason == reason && c.message == message
            };
            if conditions.iter().any(same) {
                continue;
            }
            changed = true;
            let mut new = Condition::new(kind, status, reason, message, now);
            if let Some(old) = conditions.iter_mut().find(|c| c.kind == kind) {
                if old.status == status {
                    new.last_transition_time = old.last_transition_time;
                }
                *old = new;
            } else {
                conditions.push(new);
            }
        }
        changed.then_some(conditions)
    }

    fn findings(&self) -> [(&'static str, Option<Reason>, (&'static str, &'static str)); 5] {
        let failures =
            |list: &[String], what: &str| format!("{what}, {} remaining: {}", list.len(), list.join(", "));
        let discovery = (!self.discovery_failures.is_empty()).then(|| {
            let (count, list) = (self.discovery_failures.len(), self.discovery_failures.join(", "));
            ("DiscoveryFailed", format!("Discovery failed for some groups, {count} failing: {list}"))
        });
        let deletion = (!self.deletion_failures.is_empty()).then(|| {
            (
                "ContentDeletionFailed",
                failures(&self.deletion_failures, "Failed to delete all resource types"),
            )
        });
        let remaining = (!self.remaining.is_empty()).then(|| {
            let list = self
                .remaining
                .iter()
                .map(|(r, n)| format!("{r} has {n} resource instances"))
                .collect::<Vec<_>>();
            ("SomeResourcesRemain", format!("Some resources are remaining: {}", list.join(", ")))
        });
        let finalizers = (!self.finalizers.is_empty()).then(|| {
            let list = self
                .finalizers
                .iter()
                .map(|(f, n)| format!("{f} in {n} resource instances"))
                .collect::<Vec<_>>();
            (
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {}", list.join(", ")),
            )
        });
        [
            (
                "NamespaceDeletionDiscoveryFailure",
                discovery,
                ("ResourcesDiscovered", "All resources successfully discovered"),
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                None,
                ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ),
            (
                "NamespaceDeletionContentFailure",
                deletion,
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
            ("NamespaceContentRemaining", remaining, ("ContentRemoved", "All content successfully removed")),
            (
                "NamespaceFinalizersRemaining",
                finalizers,
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ]
    }
}

type Reason = (&'static str, String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_tell_what_is_left() {
        let now = Time::now();
        let outcome = Outcome {
            remaining: [("pods.".to_owned(), 2)].into(),
            finalizers: [("a/b".to_owned(), 1)].into(),
            ..Outcome::default()
        };
        assert!(!outcome.is_done());
        let conditions = outcome.conditions(&[], now).unwrap();
        let told: Vec<_> = conditions.iter().map(|c| (&*c.kind, &*c.status)).collect();
        assert_eq!(told[3], ("NamespaceContentRemaining", "True"));
        assert_eq!(conditions[3].message, "Some resources are remaining: pods. has 2 resource instances");
        assert_eq!(
            conditions[4].message,
            "Some content in the namespace has finalizers remaining: a/b in 1 resource instances"
        );
        assert!(outcome.conditions(&conditions, now).is_none());
        let done = Outcome::default();
        assert!(done.is_done());
        assert!(done.conditions(&conditions, now).unwrap().iter().all(|c| c.status == "False"));
    }
}
