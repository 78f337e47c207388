//! From an item of a list to its path element.

use std::collections::HashMap;

use super::path::PathElement;
use super::place::{Kind, Place};
use crate::value::Value;

/// The element of `item` in the list at `place`; Err in upstream's words where it has none.
pub(super) fn element_of(place: Place<'_>, kind: Kind, item: &Value) -> Result<PathElement, String> {
    if kind == Kind::Keyed { keyed(place, item) } else { of_set(item) }
}

fn of_set(item: &Value) -> Result<PathElement, String> {
    match item {
        Value::Map(_) | Value::Raw(_) => {
            Err("associative list without keys has an element that's a map type".into())
        }
        Value::List(_) => Err("not supported: associative list with lists as elements".into()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
        scalar => Ok(PathElement::Value(scalar.clone())),
    }
}

fn keyed(place: Place<'_>, item: &Value) -> Result<PathElement, String> {
    let map = match item {
        Value::Map(map) => map,
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        _ => return Err("associative list with keys may not have non-map elements".into()),
    };
    let names = place.keys();
    let mut keys = Vec::with_capacity(names.len());
    for name in &names {
        if let Some(value) = map.get(name).or_else(|| place.key_default(name)) {
            keys.push(((*name).into(), value.clone()));
        }
    }
    if keys.is_empty() {
        let names: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            names.join(" ")
        ));
    }
    keys.sort_by(|a: &(crate::value::Key, Value), b| a.0.as_bytes().cmp(b.0.as_bytes()));
    Ok(PathElement::Key(keys))
}

/// The items of a list by their elements, each element once, in the order of their first items.
pub(super) struct Indexed<'a> {
    pub order: Vec<PathElement>,
    pub items: Vec<Vec<&'a Value>>,
    /// Places in `order` by hash of the element's text; only made for long lists.
    by_text: Option<HashMap<String, usize>>,
}

/// Above this many items a hash finds elements, below it a scan does.
const LONG: usize = 16;

fn text(element: &PathElement) -> String {
    let mut out = String::new();
    element.write(&mut out);
    out
}

impl<'a> Indexed<'a> {
    /// Items without an element are left out: validation names them.
    pub fn of(place: Place<'_>, kind: Kind, list: &'a [Value]) -> Self {
        let mut out =
            Self { order: Vec::new(), items: Vec::new(), by_text: (list.len() > LONG).then(HashMap::new) };
        for item in list {
            let Ok(element) = element_of(place, kind, item) else { continue };
            match out.find(&element) {
                Some(at) => out.items[at].push(item),
                None => out.push(element, item),
            }
        }
        out
    }

    fn push(&mut self, element: PathElement, item: &'a Value) {
        if let Some(map) = &mut self.by_text {
            map.insert(text(&element), self.order.len());
        }
        self.order.push(element);
        self.items.push(vec![item]);
    }

    pub fn find(&self, element: &PathElement) -> Option<usize> {
        match &self.by_text {
            Some(map) => map.get(&text(element)).copied(),
            None => self.order.iter().position(|e| e == element),
        }
    }

    /// All items of an element.
    pub fn get(&self, element: &PathElement) -> &[&'a Value] {
        self.find(element).map_or(&[], |at| &self.items[at])
    }
}
