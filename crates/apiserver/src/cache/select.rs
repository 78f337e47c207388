//! What a list or watch asks for: a namespace, a name, labels and fields; matched on an entry's plain fields.

use std::sync::Arc;

use apimachinery::fields;
use apimachinery::labels::{self, Operator};

use super::entry::Entry;

/// See the module. Made once a request; field labels are resolved to positions.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// "" for all.
    pub namespace: String,
    /// "" for all.
    pub name: String,
    pub namespaced: bool,
    pub labels: Option<Arc<labels::Selector>>,
    /// (position in `Entry::fields`, value, negated).
    pub fields: Vec<(usize, String, bool)>,
    /// `metadata.name!=x` and `metadata.namespace!=x`.
    not_names: Vec<String>,
    not_namespaces: Vec<String>,
    /// Terms that contradict each other.
    nothing: bool,
}

impl Selection {
    pub fn new(namespaced: bool, namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into(), namespaced, ..Self::default() }
    }

    #[must_use]
    pub fn with_labels(mut self, selector: labels::Selector) -> Self {
        if !selector.is_everything() {
            self.nothing |= selector.is_nothing();
            self.labels = Some(Arc::new(selector));
        }
        self
    }

    /// `position` gives the place of a field label in `Entry::fields`; None: the label is not supported.
    pub fn with_fields(
        mut self,
        selector: &fields::Selector,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, String> {
        for term in selector.terms() {
            match (term.field.as_str(), term.negated) {
                ("metadata.name", false) => {
                    self.nothing |= !self.name.is_empty() && self.name != term.value || term.value.is_empty();
                    self.name.clone_from(&term.value);
                }
                ("metadata.namespace", false) => {
                    self.nothing |= !self.namespace.is_empty() && self.namespace != term.value;
                    self.namespace.clone_from(&term.value);
                }
                ("metadata.name", true) => self.not_names.push(term.value.clone()),
                ("metadata.namespace", true) => self.not_namespaces.push(term.value.clone()),
                (label, negated) => {
                    let at = position(label).ok_or_else(|| label.to_owned())?;
                    self.fields.push((at, term.value.clone(), negated));
                }
            }
        }
        Ok(self)
    }

    /// The one key that can match, if there is only one.
    pub fn key(&self) -> Option<String> {
        match (self.name.is_empty(), self.namespaced, self.namespace.is_empty()) {
            (true, ..) | (_, true, true) => None,
            (_, true, false) => Some(format!("{}/{}", self.namespace, self.name)),
            (_, false, _) => Some(self.name.clone()),
        }
    }

    /// What all matching keys begin with.
    pub fn prefix(&self) -> String {
        if self.namespaced && !self.namespace.is_empty() {
            format!("{}/", self.namespace)
        } else {
            String::new()
        }
    }

    /// True: namespace and name alone decide.
    pub fn is_plain(&self) -> bool {
        self.labels.is_none()
            && self.fields.is_empty()
            && self.not_names.is_empty()
            && self.not_namespaces.is_empty()
            && !self.nothing
            && (self.name.is_empty() || self.key().is_some())
    }

    pub fn matches(&self, entry: &Entry) -> bool {
        !self.nothing
            && (self.namespace.is_empty() || entry.namespace() == self.namespace)
            && (self.name.is_empty() || entry.name() == self.name)
            && self.fields.iter().all(|(at, value, negated)| {
                entry.field_is(*at, value).unwrap_or(value.is_empty()) != *negated
            })
            && !self.not_names.iter().any(|n| n == entry.name())
            && !self.not_namespaces.iter().any(|n| n == entry.namespace())
            && self.labels.as_ref().is_none_or(|s| s.matches(|key| entry.label(key)))
    }

    /// The value that the field at a position must have.
    pub fn field_value(&self, at: usize) -> Option<&str> {
        self.fields.iter().find(|(i, _, negated)| *i == at && !negated).map(|(_, value, _)| value.as_str())
    }

    /// The same whatever the fields are.
    #[must_use]
    pub fn without_fields(&self) -> Self {
        Self { fields: Vec::new(), ..self.clone() }
    }

    /// Whether it looks at a field of the entry that nobody has read yet.
    pub fn is_undecided(&self, entry: &Entry) -> bool {
        self.fields.iter().any(|(at, ..)| entry.field_is(*at, "").is_none())
    }

    /// Labels that must have one value.
    pub fn exact_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let requirements = self.labels.iter().flat_map(|s| s.requirements());
        requirements.filter_map(|r| match (r.operator, r.values.as_slice()) {
            (Operator::Equals | Operator::In, [one]) => Some((r.key.as_str(), one.as_str())),
            _ => None,
        })
    }
}
