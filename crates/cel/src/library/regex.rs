//! Patterns: `matches` of the standard, `find` and `findAll` of `kubernetes.regex`.

use regex::Regex;

use super::pattern::compile;
use crate::functions::{Declared, Outcome, Refused, Style, fail};
use crate::value::{List, Value};

pub(super) const DECLARED: &[Declared] = &[
    Declared {
        name: "matches",
        overloads: &[("matches", "(string, string) bool"), ("matches_string", "string.(string) bool")],
        code: |args| with_pattern(args, matches),
        style: Style::Plain,
    },
    Declared {
        name: "find",
        overloads: &[("string_find_string", "string.(string) string")],
        code: |args| with_pattern(args, find),
        style: Style::Plain,
    },
    Declared {
        name: "findAll",
        overloads: &[
            ("string_find_all_string", "string.(string) list(string)"),
            ("string_find_all_string_int", "string.(string, int) list(string)"),
        ],
        code: |args| with_pattern(args, find_all),
        style: Style::Plain,
    },
];

/// The code of a function with its pattern compiled ahead.
pub(crate) type WithPattern = for<'a> fn(&Regex, &[Value<'a>]) -> Outcome<'a>;

/// The code of a function for a constant pattern.
pub(crate) fn precompiled(function: &str) -> Option<WithPattern> {
    Some(match function {
        "matches" => matches,
        "find" => find,
        "findAll" => find_all,
        _ => return None,
    })
}

fn with_pattern<'a>(args: &[Value<'a>], code: WithPattern) -> Outcome<'a> {
    let (Some(Value::String(_)), Some(Value::String(pattern))) = (args.first(), args.get(1)) else {
        return Err(Refused::NoOverload);
    };
    match compile(pattern) {
        Ok(regex) => code(&regex, args),
        Err(why) => fail(why),
    }
}

fn matches<'a>(regex: &Regex, args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::String(text) => Ok(Value::Bool(regex.is_match(text))),
        _ => Err(Refused::NoOverload),
    }
}

fn find<'a>(regex: &Regex, args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::String(text) => Ok(Value::text(regex.find(text).map_or("", |found| found.as_str()))),
        _ => Err(Refused::NoOverload),
    }
}

fn find_all<'a>(regex: &Regex, args: &[Value<'a>]) -> Outcome<'a> {
    let limit = match args.get(2) {
        None => usize::MAX,
        Some(Value::Int(n)) => usize::try_from(*n).unwrap_or(usize::MAX),
        Some(_) => return Err(Refused::NoOverload),
    };
    match &args[0] {
        Value::String(text) => {
            let found = regex.find_iter(text).take(limit).map(|m| Value::text(m.as_str()));
            Ok(Value::List(List::from(found.collect::<Vec<_>>())))
        }
        _ => Err(Refused::NoOverload),
    }
}
