//! A set of field paths: what one manager owns of an object. A trie of sorted path elements, so that union,
//! intersection and difference are one walk over both.

use std::cmp::Ordering;

use super::path::PathElement;

/// `members` are the paths that end here; `children` the sets below an element. Both sorted; no child is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub(super) members: Vec<PathElement>,
    pub(super) children: Vec<(PathElement, Set)>,
}

impl Set {
    pub const fn new() -> Self {
        Self { members: Vec::new(), children: Vec::new() }
    }

    /// A set of paths of field names: `["spec"]`, `["metadata", "name"]`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let path: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// The number of paths.
    pub fn len(&self) -> usize {
        self.members.len() + self.children.iter().map(|(_, c)| c.len()).sum::<usize>()
    }

    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => self.insert_member(last.clone()),
            [first, rest @ ..] => self.child_mut(first).insert(rest),
        }
    }

    /// In order, appending is the common case: walkers go through sorted or nearly sorted keys.
    pub(super) fn insert_member(&mut self, element: PathElement) {
        if let Err(at) = self.members.binary_search(&element) {
            self.members.insert(at, element);
        }
    }

    fn child_mut(&mut self, element: &PathElement) -> &mut Self {
        let at = match self.children.binary_search_by(|(e, _)| e.cmp(element)) {
            Ok(at) => at,
            Err(at) => {
                self.children.insert(at, (element.clone(), Self::new()));
                at
            }
        };
        &mut self.children[at].1
    }

    /// Puts a set below an element that has none yet; an empty one is dropped.
    pub(super) fn put_child(&mut self, element: PathElement, set: Self) {
        if set.is_empty() {
            return;
        }
        match self.children.binary_search_by(|(e, _)| e.cmp(&element)) {
            Ok(at) => self.children[at].1 = self.children[at].1.union(&set),
            Err(at) => self.children.insert(at, (element, set)),
        }
    }

    pub fn has_member(&self, element: &PathElement) -> bool {
        self.members.binary_search(element).is_ok()
    }

    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.has_member(last),
            [first, rest @ ..] => self.child(first).is_some_and(|c| c.has(rest)),
        }
    }

    /// The set below an element; None where it is empty.
    pub fn child(&self, element: &PathElement) -> Option<&Self> {
        let at = self.children.binary_search_by(|(e, _)| e.cmp(element)).ok()?;
        Some(&self.children[at].1)
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let members = zip(&self.members, &other.members, |e| e, |a, b| a.or(b).cloned());
        let children = zip(
            &self.children,
            &other.children,
            |c| &c.0,
            |a, b| match (a, b) {
                (Some((e, a)), Some((_, b))) => Some((e.clone(), a.union(b))),
                (one, two) => one.or(two).cloned(),
            },
        );
        Self { members, children }
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let members = zip(&self.members, &other.members, |e| e, |a, b| a.filter(|_| b.is_some()).cloned());
        let children = zip(
            &self.children,
            &other.children,
            |c| &c.0,
            |a, b| match (a, b) {
                (Some((e, a)), Some((_, b))) => kept(e, a.intersection(b)),
                _ => None,
            },
        );
        Self { members, children }
    }

    /// The paths that `other` does not have. What lies below a path of `other` stays.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let members = zip(&self.members, &other.members, |e| e, |a, b| a.filter(|_| b.is_none()).cloned());
        let children = zip(
            &self.children,
            &other.children,
            |c| &c.0,
            |a, b| match (a, b) {
                (Some((e, a)), Some((_, b))) => kept(e, a.difference(b)),
                (a, _) => a.cloned(),
            },
        );
        Self { members, children }
    }

    /// As [`Set::difference`], and what lies below a path of `other` goes too.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let members = zip(&self.members, &other.members, |e| e, |a, b| a.filter(|_| b.is_none()).cloned());
        let left = self.children.iter().filter(|(e, _)| !other.has_member(e));
        let children = left.filter_map(|(e, a)| match other.child(e) {
            Some(b) => kept(e, a.recursive_difference(b)),
            None => Some((e.clone(), a.clone())),
        });
        Self { members, children: children.collect() }
    }

    /// Every path, in order.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Vec<PathElement>>) {
        for member in &self.members {
            let mut path = prefix.clone();
            path.push(member.clone());
            out.push(path);
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect(prefix, out);
            prefix.pop();
        }
    }
}

fn kept(element: &PathElement, set: Set) -> Option<(PathElement, Set)> {
    (!set.is_empty()).then(|| (element.clone(), set))
}

/// One walk over two sorted lists; `pick` gets what each side has of an element.
fn zip<T>(
    a: &[T],
    b: &[T],
    key: impl Fn(&T) -> &PathElement,
    pick: impl Fn(Option<&T>, Option<&T>) -> Option<T>,
) -> Vec<T> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    while i < a.len() || j < b.len() {
        let order = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => key(x).cmp(key(y)),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        let (left, right) = match order {
            Ordering::Less => (a.get(i), None),
            Ordering::Greater => (None, b.get(j)),
            Ordering::Equal => (a.get(i), b.get(j)),
        };
        i += usize::from(left.is_some());
        j += usize::from(right.is_some());
        out.extend(pick(left, right));
    }
    out
}

#[cfg(test)]
mod tests {

    use super::*;

    fn set(text: &str) -> Set {
        Set::from_json(text).unwrap()
    }

    #[test]
    fn operations() {
        let a = set(r#"{"f:a":{},"f:b":{".":{},"f:c":{},"f:d":{}}}"#);
        let b = set(r#"{"f:b":{"f:c":{}},"f:x":{}}"#);
        assert_eq!(a.union(&b).to_json(), r#"{"f:a":{},"f:b":{".":{},"f:c":{},"f:d":{}},"f:x":{}}"#);
        assert_eq!(a.intersection(&b).to_json(), r#"{"f:b":{"f:c":{}}}"#);
        assert_eq!(a.difference(&b).to_json(), r#"{"f:a":{},"f:b":{".":{},"f:d":{}}}"#);
        let top = Set::of_fields(&[&["b"]]);
        assert_eq!(a.difference(&top).to_json(), r#"{"f:a":{},"f:b":{"f:c":{},"f:d":{}}}"#);
        assert_eq!(a.recursive_difference(&top).to_json(), r#"{"f:a":{}}"#);
        assert!(a.difference(&a).is_empty());
        assert_eq!(a.len(), 4);
        assert_eq!(a.paths().len(), 4);
    }

    #[test]
    fn order_and_round_trip() {
        let text = r#"{"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{}},"v:\"x\"":{},"i:3":{}}}"#;
        assert_eq!(set(text).to_json(), text);
        assert!(Set::from_json("{\"q:a\":{}}").is_none());
        assert!(Set::from_json("[]").is_none());
    }
}
