//! Semantic versions (semver.org 2.0.0): `kubernetes.Semver`. What compares is declared with the quantities.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Special;
use crate::functions::{Code, Declared, Refused, Style, fail};
use crate::value::Value;

/// A version; build metadata counts for equality alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    core: [u64; 3],
    pre: Vec<Pre>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Number(u64),
    Text(String),
}

impl Version {
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.core.cmp(&other.core).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        })
    }
}

const fn function(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

pub(super) const DECLARED: &[Declared] = &[
    function(
        "semver",
        &[("string_to_semver", "(string) Semver"), ("string_bool_to_semver", "(string, bool) Semver")],
        |args| match read(args)? {
            Ok(version) => Ok(Value::Special(Arc::new(Special::Semver(version)))),
            Err(why) => fail(why),
        },
    ),
    function(
        "isSemver",
        &[("is_semver_string", "(string) bool"), ("is_semver_string_bool", "(string, bool) bool")],
        |args| Ok(Value::Bool(read(args)?.is_ok())),
    ),
    function("major", &[("semver_major", "Semver.() int")], |args| part(args, 0)),
    function("minor", &[("semver_minor", "Semver.() int")], |args| part(args, 1)),
    function("patch", &[("semver_patch", "Semver.() int")], |args| part(args, 2)),
];

fn part<'a>(args: &[Value<'a>], at: usize) -> crate::functions::Outcome<'a> {
    match &args[0] {
        Value::Special(special) => match &**special {
            Special::Semver(version) => Ok(Value::Int(version.core[at].cast_signed())),
            _ => Err(Refused::NoOverload),
        },
        _ => Err(Refused::NoOverload),
    }
}

fn read(args: &[Value<'_>]) -> Result<Result<Version, String>, Refused> {
    let text = args[0].as_str().ok_or(Refused::NoOverload)?;
    match args.get(1) {
        None | Some(Value::Bool(false)) => Ok(parse(text)),
        Some(Value::Bool(true)) => Ok(normalized(text).and_then(|text| parse(&text))),
        Some(_) => Err(Refused::NoOverload),
    }
}

/// Without a `v` and leading zeros, and filled up to three parts.
fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".into());
    }
    parts.resize(3, "0".into());
    Ok(parts.join("."))
}

fn without_zeros(part: &str) -> String {
    let short = part.trim_start_matches('0');
    if part.len() < 2 {
        part.to_owned()
    } else if short.starts_with(|c: char| c.is_ascii_digit()) {
        short.to_owned()
    } else {
        format!("0{short}")
    }
}

fn parse(text: &str) -> Result<Version, String> {
    if text.is_empty() {
        return Err("Version string empty".into());
    }
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("No Major.Minor.Patch elements found".into());
    };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
    let core = [number("Major", major)?, number("Minor", minor)?, number("Patch", patch)?];
    let pre = pre.map_or(Ok(Vec::new()), |pre| pre.split('.').map(pre_release).collect())?;
    for part in build.into_iter().flat_map(|b| b.split('.')) {
        check_text("Build meta data", part)?;
    }
    Ok(Version { core, pre })
}

fn number(what: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {} number {text:?}", what.to_lowercase()));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{what} number must not contain leading zeroes {text:?}"));
    }
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

fn check_text(what: &str, part: &str) -> Result<(), String> {
    if part.is_empty() {
        return Err(if what == "Prerelease" {
            "Prerelease is empty".into()
        } else {
            "Build meta data is empty".to_owned()
        });
    }
    let good = part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if good { Ok(()) } else { Err(format!("Invalid character(s) found in {} {part:?}", what.to_lowercase())) }
}

fn pre_release(part: &str) -> Result<Pre, String> {
    check_text("Prerelease", part)?;
    if !part.bytes().all(|c| c.is_ascii_digit()) {
        return Ok(Pre::Text(part.to_owned()));
    }
    if part.len() > 1 && part.starts_with('0') {
        return Err(format!("Numeric PreRelease version must not contain leading zeroes {part:?}"));
    }
    part.parse()
        .map(Pre::Number)
        .map_err(|_| format!("strconv.ParseUint: parsing {part:?}: value out of range"))
}
