//! Named formats of texts: `kubernetes.format`.

use std::sync::Arc;

use apimachinery::{names, time};
use base64::Engine;

use super::{Special, url};
use crate::functions::{Code, Declared, Outcome, Refused, Style};
use crate::value::{List, Value};

/// One named format; its place in [`FORMATS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format(usize);

struct Known {
    name: &'static str,
    validate: fn(&str) -> Vec<String>,
    /// Length of the pattern that upstream reckons the cost by.
    pattern: u64,
}

const fn known(name: &'static str, pattern: u64, validate: fn(&str) -> Vec<String>) -> Known {
    Known { name, validate, pattern }
}

const FORMATS: [Known; 13] = [
    known("dns1123Label", 30, names::dns1123_label),
    known("dns1123Subdomain", 60, names::dns1123_subdomain),
    known("dns1035Label", 30, names::dns1035_label),
    known("qualifiedName", 60, names::qualified_name),
    known("dns1123LabelPrefix", 30, |text| names::dns1123_label(&as_name(text))),
    known("dns1123SubdomainPrefix", 60, |text| names::dns1123_subdomain(&as_name(text))),
    known("dns1035LabelPrefix", 30, |text| names::dns1035_label(&as_name(text))),
    known("labelValue", 40, names::label_value),
    known("uri", 1104, |text| url::parse(text).err().into_iter().collect()),
    known("uuid", 72, |text| refused(is_uuid(text), "does not match the UUID format")),
    known("byte", 84, |text| refused(is_base64(text), "invalid base64")),
    known("date", 72, |text| refused(is_date(text), "invalid date")),
    known("datetime", 72, |text| refused(time::parse_rfc3339(text).is_some(), "invalid datetime")),
];

impl Format {
    pub(crate) fn pattern(self) -> u64 {
        FORMATS[self.0].pattern
    }
}

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

macro_rules! constant {
    ($name:literal, $at:literal) => {
        function($name, &[($name, "() Format")], |_| Ok(made($at)))
    };
}

pub(super) const DECLARED: &[Declared] = &[
    constant!("format.dns1123Label", 0),
    constant!("format.dns1123Subdomain", 1),
    constant!("format.dns1035Label", 2),
    constant!("format.qualifiedName", 3),
    constant!("format.dns1123LabelPrefix", 4),
    constant!("format.dns1123SubdomainPrefix", 5),
    constant!("format.dns1035LabelPrefix", 6),
    constant!("format.labelValue", 7),
    constant!("format.uri", 8),
    constant!("format.uuid", 9),
    constant!("format.byte", 10),
    constant!("format.date", 11),
    constant!("format.datetime", 12),
    function("format.named", &[("format-named", "(string) optional(Format)")], |args| {
        let name = args[0].as_str().ok_or(Refused::NoOverload)?;
        Ok(Value::optional(FORMATS.iter().position(|f| f.name == name).map(made)))
    }),
    function("validate", &[("format-validate", "Format.(string) optional(list(string))")], validate),
];

fn made<'a>(at: usize) -> Value<'a> {
    Value::Special(Arc::new(Special::Format(Format(at))))
}

fn validate<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Special(special), Value::String(text)] = args else { return Err(Refused::NoOverload) };
    let Special::Format(format) = &**special else { return Err(Refused::NoOverload) };
    let faults: Vec<Value<'_>> = (FORMATS[format.0].validate)(text).into_iter().map(Value::text).collect();
    let found = (!faults.is_empty()).then(|| Value::List(List::from(faults)));
    Ok(Value::optional(found))
}

fn refused(good: bool, message: &str) -> Vec<String> {
    if good { Vec::new() } else { vec![message.to_owned()] }
}

/// A prefix of names may end in a dash, as something follows it.
fn as_name(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => prefix.to_owned(),
    }
}

fn is_uuid(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let dashed = text.len() == 36
        && text.bytes().enumerate().all(|(at, c)| (c == b'-') == matches!(at, 8 | 13 | 18 | 23));
    (dashed || text.len() == 32) && digits.len() == 32 && digits.bytes().all(|c| c.is_ascii_hexdigit())
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && time::parse_rfc3339(&format!("{text}T00:00:00Z")).is_some()
}
