//! Single rules on single values.

use apimachinery::field::{Error, Path};
use apimachinery::names::{self, Unit};

use super::{Place, Seen, Walk, get, is_unset, same, union};
use crate::schema::{Format, Level, Node, Rule, Shape, UpdateRule};
use crate::value::Value;

/// The keys by which items of a list are the same item; None for a list whose items have no identity.
enum Identity<'r> {
    Keys(Vec<&'r str>),
    Whole,
}

fn identity<'r>(node: &'r Node, rules: &[(&'r Rule, Level)]) -> Option<Identity<'r>> {
    let keys: Vec<&str> =
        rules.iter().filter_map(|(r, _)| if let Rule::ListMapKey(k) = r { Some(*k) } else { None }).collect();
    if !keys.is_empty() {
        return Some(Identity::Keys(keys));
    }
    if rules.iter().any(|(r, _)| matches!(r, Rule::ListSet | Rule::UniqueSet)) {
        return Some(Identity::Whole);
    }
    let declared = node.list_map_keys();
    (!declared.is_empty()).then(|| Identity::Keys(declared.iter().map(|k| &**k).collect()))
}

fn is_same_item(a: &Value, b: &Value, identity: &Identity<'_>) -> bool {
    match identity {
        Identity::Whole => same(a, b),
        Identity::Keys(keys) => keys.iter().all(|k| same(get(a.as_map(), k), get(b.as_map(), k))),
    }
}

/// The old item that an item replaces.
pub(super) fn counterpart<'v>(
    item: &Value,
    old: Option<&'v Value>,
    node: &Node,
    rules: &[(&Rule, Level)],
) -> Option<&'v Value> {
    let identity = identity(node, rules)?;
    old?.as_list()?.iter().find(|o| is_same_item(item, o, &identity))
}

/// One rule of a place; `rules` are all that are in force there.
pub(super) fn rule(walk: &mut Walk<'_>, place: &Place<'_>, rule: &Rule, rules: &[(&Rule, Level)]) {
    match rule {
        Rule::ListSet | Rule::ListMap | Rule::UniqueSet | Rule::UniqueMap => unique(walk, place, rule, rules),
        Rule::EachVal(inner) => each_value(walk, place, inner, rules),
        Rule::EachKey(inner) => each_key(walk, place, inner),
        Rule::Subfield(name, inner) => subfield(walk, place, name, inner),
        Rule::Item(_, inner) if **inner == Rule::ZeroOrOneOfMember => {
            let first = rules.iter().find(|(r, _)| matches!(r, Rule::Item(..)));
            if first.is_some_and(|(r, _)| std::ptr::eq(*r, rule)) {
                let all = rules.iter().filter_map(|(r, _)| match r {
                    Rule::Item(wanted, inner) if **inner == Rule::ZeroOrOneOfMember => {
                        Some(wanted.as_slice())
                    }
                    _ => None,
                });
                union::items(walk, place, &all.collect::<Vec<_>>());
            }
        }
        Rule::Monotonic => {
            let old = place.old.and_then(Value::as_int);
            if let Some((old, new)) = old.zip(place.value.as_int()).filter(|(o, n)| walk.update && n < o) {
                walk.errors.push(Error::invalid(
                    place.path,
                    &new,
                    format!("may not be decreased from {old}"),
                ));
            }
        }
        _ => scalar(walk, place.path, place.value, rule),
    }
}

/// Rules on a value alone. Nothing behind a pointer breaks none.
fn scalar(walk: &mut Walk<'_>, path: &Path, value: &Value, rule: &Rule) {
    if value.is_null() {
        return;
    }
    let text = value.as_str().unwrap_or_default();
    match rule {
        Rule::Minimum(min) if value.as_int().unwrap_or(0) < *min => {
            let detail = format!("must be greater than or equal to {min}");
            walk.errors.push(Error::invalid(path, &value.as_int().unwrap_or(0), detail));
        }
        Rule::Maximum(max) if value.as_int().unwrap_or(0) > *max => {
            let detail = format!("must be less than or equal to {max}");
            walk.errors.push(Error::invalid(path, &value.as_int().unwrap_or(0), detail));
        }
        Rule::MaxLength(max) if text.chars().count() > *max => {
            walk.errors.push(Error::too_long_characters(path, *max));
        }
        Rule::MaxBytes(max) if text.len() > *max => walk.errors.push(Error::too_long(path, *max)),
        Rule::Enum(values) if !values.is_empty() && !values.contains(&text) => {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            walk.errors.push(Error::not_supported(path, text, &sorted));
        }
        Rule::Format(kind) => format(walk, path, text, *kind),
        _ => {}
    }
}

fn unique(walk: &mut Walk<'_>, place: &Place<'_>, rule: &Rule, rules: &[(&Rule, Level)]) {
    let custom = rules.iter().any(|(r, _)| matches!(r, Rule::CustomUnique));
    let atomic = rules.iter().any(|(r, _)| matches!(r, Rule::UniqueMap | Rule::UniqueSet));
    let listed = matches!(rule, Rule::ListSet | Rule::ListMap);
    if custom || listed && atomic {
        return;
    }
    let Some(identity) = identity(place.node, rules) else { return };
    let list = place.value.as_list().unwrap_or_default();
    let item = place.node.element();
    for (at, one) in list.iter().enumerate() {
        if list[..at].iter().any(|before| is_same_item(before, one, &identity)) {
            walk.errors.push(Error::duplicate(&place.path.index(at), &Seen(one, item)));
        }
    }
}

fn each_value(walk: &mut Walk<'_>, place: &Place<'_>, inner: &Rule, rules: &[(&Rule, Level)]) {
    match (&place.node.shape, place.value) {
        (Shape::List(_), Value::List(list)) => {
            for (at, item) in list.iter().enumerate() {
                let old = counterpart(item, place.old, place.node, rules);
                if !(walk.update && old.is_some_and(|o| same(o, item))) {
                    scalar(walk, &place.path.index(at), item, inner);
                }
            }
        }
        (Shape::Map(_), Value::Map(map)) => {
            for (key, item) in map {
                let old = place.old.and_then(|o| o.get(key));
                if !(walk.update && old.is_some_and(|o| same(o, item))) {
                    scalar(walk, &place.path.key(key), item, inner);
                }
            }
        }
        _ => {}
    }
}

fn each_key(walk: &mut Walk<'_>, place: &Place<'_>, inner: &Rule) {
    for (key, _) in place.value.as_map().into_iter().flatten() {
        if !(walk.update && place.old.is_some_and(|o| o.get(key).is_some())) {
            scalar(walk, place.path, &Value::String(key.clone()), inner);
        }
    }
}

fn subfield(walk: &mut Walk<'_>, place: &Place<'_>, name: &str, inner: &Rule) {
    let Some(field) = place.node.as_struct().and_then(|of| of.field(name)) else { return };
    let value = get(place.value.as_map(), name);
    let old = place.old.map(|o| get(o.as_map(), name));
    if walk.update && old.is_some_and(|o| same(o, value)) || is_unset(&field.node, value) {
        return;
    }
    scalar(walk, &place.path.child(name), value, inner);
}

/// What may not change in an update.
pub(super) fn update(walk: &mut Walk<'_>, place: &Place<'_>, rule: UpdateRule, rules: &[(&Rule, Level)]) {
    if !walk.update {
        return;
    }
    let now = !is_unset(place.node, place.value);
    let before = place.old.is_some_and(|o| !is_unset(place.node, o));
    if place.old.is_none() && !place.node.pointer && place.node.element().is_none() {
        return;
    }
    let null = Value::Null;
    let text = match rule {
        UpdateRule::NoSet if !before && now => "field cannot be set once created",
        UpdateRule::NoUnset if before && !now => "field cannot be cleared once set",
        UpdateRule::NoModify if before && now => "field cannot be modified once set",
        UpdateRule::NoAddItem | UpdateRule::NoRemoveItem => return members(walk, place, rule, rules),
        _ => return,
    };
    walk.errors.push(Error::invalid(place.path, &null, text));
}

fn members(walk: &mut Walk<'_>, place: &Place<'_>, rule: UpdateRule, rules: &[(&Rule, Level)]) {
    let Some(identity) = identity(place.node, rules) else { return };
    let list = |v: Option<&Value>| v.and_then(Value::as_list).map(<[Value]>::to_vec).unwrap_or_default();
    let (new, old) = (list(Some(place.value)), list(place.old));
    let has = |in_list: &[Value], item: &Value| in_list.iter().any(|o| is_same_item(o, item, &identity));
    if rule == UpdateRule::NoAddItem {
        for (at, _) in new.iter().enumerate().filter(|(_, item)| !has(&old, item)) {
            walk.errors.push(Error::forbidden(&place.path.index(at), "item may not be added"));
        }
        return;
    }
    for _ in old.iter().filter(|item| !has(&new, item)) {
        walk.errors.push(Error::forbidden(place.path, "item may not be removed"));
    }
}

fn format(walk: &mut Walk<'_>, path: &Path, text: &str, kind: Format) {
    let messages = match kind {
        Format::ShortName => names::dns1123_label_in(text, Unit::Bytes),
        Format::LongName => names::dns1123_subdomain_in(text, Unit::Bytes),
        Format::LongNameCaseless => names::dns1123_subdomain_caseless(text),
        Format::LabelKey => names::qualified_name(text),
        Format::PrefixedLabelKey => names::prefixed_label_key(text),
        Format::PathSegmentName => names::path_segment_name(text),
        Format::Uuid => names::uuid(text),
        Format::ExtendedResourceName => extended_resource_name(text),
        Format::ResourcePoolName => return pool_name(walk, path, text),
        Format::ResourceFullyQualifiedName => return qualified(walk, path, text),
    };
    walk.errors.extend(messages.into_iter().map(|m| Error::invalid(path, text, m)));
}

fn extended_resource_name(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if !text.contains('/') {
        out.push("a name must be a domain-prefixed path, such as 'example.com/my-prop'".to_owned());
    } else if text.contains("kubernetes.io/") {
        out.push("must not have \"kubernetes.io/\" domain".to_owned());
    }
    if text.starts_with("requests.") {
        out.push("must not have \"requests.\" prefix".to_owned());
    }
    out.extend(names::qualified_name(&format!("requests.{text}")));
    out
}

fn pool_name(walk: &mut Walk<'_>, path: &Path, text: &str) {
    if text.len() > 253 {
        walk.errors.push(Error::too_long(path, 253));
    }
    for (at, part) in text.split('/').enumerate() {
        if part.is_empty() {
            walk.errors.push(Error::invalid(path, text, format!("segment {at}: must not be empty")));
            continue;
        }
        let messages = names::dns1123_subdomain_in(part, Unit::Bytes);
        walk.errors
            .extend(messages.into_iter().map(|m| Error::invalid(path, part, format!("segment {at}: {m}"))));
    }
}

fn identifier(walk: &mut Walk<'_>, path: &Path, text: &str) {
    if text.len() > 32 {
        walk.errors.push(Error::too_long(path, 32));
    }
    walk.errors.extend(names::c_identifier(text).into_iter().map(|m| Error::invalid(path, text, m)));
}

fn qualified(walk: &mut Walk<'_>, path: &Path, text: &str) {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [name] => identifier(walk, path, name),
        [domain, name] => {
            if domain.is_empty() {
                walk.errors.push(Error::invalid(path, "", "prefix must not be empty"));
            } else {
                if domain.len() > 63 {
                    walk.errors.push(Error::too_long(path, 63));
                }
                let messages = names::dns1123_subdomain_in(domain, Unit::Bytes);
                walk.errors.extend(
                    messages.into_iter().map(|m| Error::invalid(path, domain, format!("prefix: {m}"))),
                );
            }
            if name.is_empty() {
                walk.errors.push(Error::invalid(path, "", "name must not be empty"));
            } else {
                identifier(walk, path, name);
            }
        }
        _ => {}
    }
    if !text.contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        walk.errors.push(Error::invalid(path, text, detail));
    }
}
