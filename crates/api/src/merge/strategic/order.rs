//! The order of a list after a strategic merge: patched items in the patch's order, the others where they stood.

use crate::value::Value;

/// Where an item of the same identity stands: the same merge key, or the same scalar.
pub(super) fn index_of(list: &[Value], item: &Value, merge_key: Option<&str>) -> Option<usize> {
    match merge_key {
        Some(key) => {
            let wanted = item.get(key)?;
            list.iter().position(|v| v.get(key) == Some(wanted))
        }
        None => list.iter().position(|v| v == item),
    }
}

/// Items that `order` names come in its order; the rest go in front of the first of them that followed it in `before`.
pub(super) fn by_patch_order(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in merged {
        match index_of(order, &item, merge_key) {
            Some(at) => named.push((at, item)),
            None => others.push((index_of(before, &item, merge_key).unwrap_or(usize::MAX), item)),
        }
    }
    named.sort_by_key(|(at, _)| *at);
    others.sort_by_key(|(at, _)| *at);
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, item) in named {
        let at = index_of(before, &item, merge_key);
        while others.peek().is_some_and(|(other, _)| at.is_some_and(|at| *other < at)) {
            out.extend(others.next().map(|(_, v)| v));
        }
        out.push(item);
    }
    out.extend(others.map(|(_, v)| v));
    out
}
