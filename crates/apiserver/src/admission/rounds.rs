//! The second round of mutating plugins (upstream's reinvocation): a plugin that changed an object which others had
//! seen before asks for it. In it every plugin runs again, and those that call somebody (webhooks, policies) repeat the
//! calls that want to be repeated and are older than a change.

use std::collections::{BTreeMap, BTreeSet};

use api::Value;

/// What the rounds of one request know; made anew for each.
#[derive(Debug, Default)]
pub struct Rounds {
    again: bool,
    second: bool,
    plugins: BTreeMap<&'static str, Memory>,
}

/// What one plugin has called.
#[derive(Debug, Default)]
struct Memory {
    /// The object after its last call.
    left: Option<Value>,
    /// Calls that want to be repeated when somebody changes the object after them.
    called: BTreeSet<String>,
    /// Of these, the ones whose object was changed since.
    due: BTreeSet<String>,
}

impl Memory {
    fn changed(&mut self) {
        self.due.append(&mut self.called);
    }
}

impl Rounds {
    /// True if the chain is to run once more.
    pub fn another(&mut self) -> bool {
        let more = self.again && !self.second;
        self.second |= more;
        more
    }

    /// The plugin begins: whoever changed the object since its last call makes its calls due.
    pub fn begin(&mut self, plugin: &'static str, object: Option<&Value>) {
        if let Some(memory) = self.plugins.get_mut(plugin).filter(|_| self.second)
            && memory.left.as_ref() != object
        {
            memory.changed();
        }
    }

    /// Whether this call is to be made in this round.
    pub fn is_due(&self, plugin: &'static str, call: &str) -> bool {
        !self.second || self.plugins.get(plugin).is_some_and(|memory| memory.due.contains(call))
    }

    /// A call changed the object.
    pub fn changed(&mut self, plugin: &'static str) {
        self.plugins.entry(plugin).or_default().changed();
        self.again = true;
    }

    /// A call was made that wants to be repeated after changes.
    pub fn called(&mut self, plugin: &'static str, call: impl Into<String>) {
        self.plugins.entry(plugin).or_default().called.insert(call.into());
    }

    /// The plugin ends and leaves the object so.
    pub fn end(&mut self, plugin: &'static str, object: Option<&Value>) {
        if let Some(memory) = self.plugins.get_mut(plugin).filter(|m| !m.called.is_empty()) {
            memory.left = object.cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_older_than_a_change_are_due_again() {
        let (before, after) = (Value::from("before"), Value::from("after"));
        let mut rounds = Rounds::default();
        rounds.begin("A", Some(&before));
        assert!(rounds.is_due("A", "one") && rounds.is_due("A", "two"));
        rounds.called("A", "one");
        // A change by the second call makes the first due, not itself.
        rounds.changed("A");
        rounds.called("A", "two");
        rounds.end("A", Some(&before));
        assert!(rounds.another());
        rounds.begin("A", Some(&before));
        assert!(rounds.is_due("A", "one") && !rounds.is_due("A", "two"));
        assert!(!rounds.another(), "never a third round");
        // Somebody else's change makes all due.
        rounds.begin("A", Some(&after));
        assert!(rounds.is_due("A", "two"));
    }

    #[test]
    fn nothing_changed_is_one_round() {
        let mut rounds = Rounds::default();
        rounds.called("A", "one");
        rounds.end("A", None);
        assert!(!rounds.another());
    }
}
