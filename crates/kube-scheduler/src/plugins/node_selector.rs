//! Node selectors, compiled to numbers.

use std::collections::HashSet;

use client::StringMap;
use compact_str::CompactString;

use crate::cache::NodeInfo;
use crate::resources::{Symbol, Symbols};
use crate::views::{NodeSelector, NodeSelectorTerm, Requirement};

/// A condition on one label.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    In(Symbol, Vec<Symbol>),
    NotIn(Symbol, Vec<Symbol>),
    Exists(Symbol),
    DoesNotExist(Symbol),
    GreaterThan(Symbol, i64),
    LessThan(Symbol, i64),
    /// The name of the node is one of these, or none of them.
    Name {
        one_of: bool,
        names: Vec<CompactString>,
    },
    /// What is malformed matches nothing.
    Never,
}

impl Condition {
    fn label(requirement: &Requirement, symbols: &mut Symbols) -> Self {
        let key = symbols.intern(&requirement.key);
        let number = || match &requirement.values[..] {
            [one] => one.parse::<i64>().ok(),
            _ => None,
        };
        let mut values = || requirement.values.iter().map(|v| symbols.intern(v)).collect();
        match requirement.operator.as_str() {
            "In" => Self::In(key, values()),
            "NotIn" => Self::NotIn(key, values()),
            "Exists" => Self::Exists(key),
            "DoesNotExist" => Self::DoesNotExist(key),
            "Gt" => number().map_or(Self::Never, |n| Self::GreaterThan(key, n)),
            "Lt" => number().map_or(Self::Never, |n| Self::LessThan(key, n)),
            _ => Self::Never,
        }
    }

    fn field(requirement: &Requirement) -> Self {
        let one_of = requirement.operator == "In";
        if requirement.key != "metadata.name"
            || !(one_of || requirement.operator == "NotIn")
            || requirement.values.len() != 1
        {
            return Self::Never;
        }
        Self::Name { one_of, names: requirement.values.clone() }
    }

    fn matches(&self, node: &NodeInfo) -> bool {
        match self {
            Self::In(key, values) => node.label(*key).is_some_and(|l| values.contains(&l.value)),
            Self::NotIn(key, values) => !node.label(*key).is_some_and(|l| values.contains(&l.value)),
            Self::Exists(key) => node.label(*key).is_some(),
            Self::DoesNotExist(key) => node.label(*key).is_none(),
            Self::GreaterThan(key, bound) => {
                node.label(*key).and_then(|l| l.number).is_some_and(|n| n > *bound)
            }
            Self::LessThan(key, bound) => node.label(*key).and_then(|l| l.number).is_some_and(|n| n < *bound),
            Self::Name { one_of, names } => names.contains(&node.name) == *one_of,
            Self::Never => false,
        }
    }
}

/// All of its conditions hold. An empty term matches nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Term(Vec<Condition>);

impl Term {
    pub fn new(term: &NodeSelectorTerm, symbols: &mut Symbols) -> Self {
        let labels = term.match_expressions.iter().map(|r| Condition::label(r, symbols));
        Self(labels.chain(term.match_fields.iter().map(Condition::field)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, node: &NodeInfo) -> bool {
        !self.0.is_empty() && self.0.iter().all(|c| c.matches(node))
    }
}

/// One of its terms matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms(Vec<Term>);

impl Terms {
    pub fn new(selector: &NodeSelector, symbols: &mut Symbols) -> Self {
        Self(selector.node_selector_terms.iter().map(|t| Term::new(t, symbols)).collect())
    }

    pub fn matches(&self, node: &NodeInfo) -> bool {
        self.0.iter().any(|t| t.matches(node))
    }
}

/// All of these labels (`spec.nodeSelector`).
pub fn of_map(map: &StringMap, symbols: &mut Symbols) -> Term {
    Term(
        map.iter()
            .map(|(key, value)| Condition::In(symbols.intern(key), vec![symbols.intern(value)]))
            .collect(),
    )
}

/// The names that `metadata.name` is limited to, if every term limits it; `Some` of none where they contradict.
pub fn names(selector: &NodeSelector) -> Option<HashSet<CompactString>> {
    let mut all = HashSet::new();
    for term in &selector.node_selector_terms {
        let mut of_term: Option<HashSet<CompactString>> = None;
        for field in term.match_fields.iter().filter(|f| f.key == "metadata.name" && f.operator == "In") {
            match &mut of_term {
                Some(known) => known.retain(|name| field.values.contains(name)),
                None => of_term = Some(field.values.iter().cloned().collect()),
            }
        }
        all.extend(of_term?);
    }
    (!selector.node_selector_terms.is_empty()).then_some(all)
}
