//! Why a pod fitted nowhere, in the words that events and conditions show.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;

use super::{PluginId, PluginSet, Rejection};
use crate::cache::Slot;
use crate::pod::Pod;

/// Where a pod can go once others are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    pub node: CompactString,
    /// The most important first.
    pub victims: Vec<Arc<Pod>>,
}

/// No node would do.
#[derive(Clone, Debug, Default)]
pub struct FitError {
    pub nodes: usize,
    /// A plugin refused before any node was looked at.
    pub pre_filter: Option<String>,
    /// The nodes that were looked at.
    pub rejected: Vec<(Slot, Rejection)>,
    /// What is said of the nodes that were not, because a plugin named others as the only ones.
    pub absent: Option<String>,
    pub post_filter: Option<String>,
    /// The pods that make room for this one.
    pub preemption: Option<Preemption>,
    /// A node that the pod was nominated for has no place for it any more.
    pub void_nomination: bool,
    /// Who refused: the events that these wait for bring the pod back.
    pub plugins: PluginSet,
}

impl FitError {
    pub fn add(&mut self, slot: Slot, plugin: PluginId, rejection: Rejection) {
        self.plugins.insert(plugin);
        self.rejected.push((slot, rejection));
    }

    /// `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.`
    pub fn message(&self) -> String {
        let mut text = format!("0/{} nodes are available:", self.nodes);
        match &self.pre_filter {
            Some(reason) => text.push_str(&format!(" {reason}.")),
            None => {
                let reasons = self.histogram();
                if !reasons.is_empty() {
                    text.push_str(&format!(" {}.", reasons.join(", ")));
                }
            }
        }
        if let Some(more) = self.post_filter.as_deref().filter(|m| !m.is_empty()) {
            text.push(' ');
            text.push_str(more);
        }
        text
    }

    fn histogram(&self) -> Vec<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for reason in self.rejected.iter().flat_map(|(_, r)| &r.reasons) {
            *counts.entry(Cow::as_ref(reason)).or_default() += 1;
        }
        if let Some(absent) = &self.absent
            && self.rejected.len() < self.nodes
        {
            *counts.entry(absent).or_default() += self.nodes - self.rejected.len();
        }
        let mut lines: Vec<String> =
            counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        lines.sort_unstable();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let mut error = FitError { nodes: 12, ..FitError::default() };
        for slot in 0..10 {
            error.add(slot, PluginId(1), Rejection::unresolvable("node(s) had untolerated taint(s)"));
        }
        let mut two = Rejection::unschedulable("Insufficient cpu");
        two.reasons.push("Insufficient memory".into());
        error.add(10, PluginId(2), two);
        error.add(11, PluginId(2), Rejection::unschedulable("Insufficient cpu"));
        assert_eq!(
            error.message(),
            "0/12 nodes are available: 1 Insufficient memory, 10 node(s) had untolerated taint(s), 2 Insufficient cpu."
        );
        error.post_filter = Some("preemption: no.".into());
        assert!(error.message().ends_with("2 Insufficient cpu. preemption: no."));
        let refused = FitError {
            nodes: 3,
            pre_filter: Some("persistentvolumeclaim \"c\" not found".into()),
            ..FitError::default()
        };
        assert_eq!(refused.message(), "0/3 nodes are available: persistentvolumeclaim \"c\" not found.");
        let mut absent = FitError {
            nodes: 3,
            absent: Some("node(s) didn't satisfy plugin(s) [NodeAffinity]".into()),
            ..FitError::default()
        };
        absent.add(0, PluginId(1), Rejection::unschedulable("Too many pods"));
        assert_eq!(
            absent.message(),
            "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
        );
    }
}
