//! `format`: `'%s is %d'.format([name, n])`, as cel-go's version 2 writes it for `en_US`.

use super::numbers::parse_double;
use super::strings::quote;
use super::time;
use crate::functions::{Declared, Outcome, Refused, Style, fail};
use crate::types::Type;
use crate::value::{List, Map, Value};

pub(super) const DECLARED: &[Declared] = &[Declared {
    name: "format",
    overloads: &[("string_format", "string.(list(dyn)) string")],
    code: format,
    style: Style::Guarded,
}];

const DIGITS: usize = 6;
/// More digits than any number has.
const MOST_DIGITS: usize = 1100;

fn format<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(pattern), Value::List(list)] = args else { return Err(Refused::NoOverload) };
    let mut out = String::new();
    let mut rest = &**pattern;
    let mut at = 0;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        if rest.is_empty() {
            return fail("unexpected end of string");
        }
        let Some(arg) = list.get(at) else { return fail(format!("index {at} out of range")) };
        rest = clause(rest, &arg?, &mut out)?;
        at += 1;
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

/// Writes one argument; what follows its clause.
fn clause<'t>(text: &'t str, arg: &Value<'_>, out: &mut String) -> Result<&'t str, Refused> {
    let (explicit, text) = precision(text)?;
    let precision = explicit.unwrap_or(DIGITS);
    let Some(verb) = text.chars().next() else { return fail(format!("{PARSING}: {NO_END}")) };
    let written = match verb {
        's' => string(arg)?,
        'd' => decimal(arg)?,
        'f' => grouped(&fixed(number(arg, "fixed-point")?, precision)),
        'e' => scientific(number(arg, "scientific")?, explicit),
        'b' => binary(arg)?,
        'x' => hex(arg)?,
        'X' => hex(arg)?.to_uppercase(),
        'o' => octal(arg)?,
        _ => return fail(unrecognized(verb)),
    };
    out.push_str(&written);
    Ok(&text[verb.len_utf8()..])
}

const PARSING: &str = "could not parse formatting clause";
const NO_END: &str = "error while parsing precision: could not find end of precision specifier";

fn unrecognized(verb: char) -> String {
    format!("{PARSING}: unrecognized formatting clause \"{verb}\"")
}

/// The precision where one is written, and what follows it.
fn precision(text: &str) -> Result<(Option<usize>, &str), Refused> {
    let Some(rest) = text.strip_prefix('.') else { return Ok((None, text)) };
    let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) else {
        return fail(format!("{PARSING}: {NO_END}"));
    };
    match rest[..end].parse::<usize>() {
        Ok(n) => Ok((Some(n.min(MOST_DIGITS)), &rest[end..])),
        Err(_) => {
            let what = "error while parsing precision: error while converting precision to integer";
            fail(format!("{PARSING}: {what}: strconv.Atoi: parsing {:?}: invalid syntax", &rest[..end]))
        }
    }
}

/// What the types of the arguments tell of a format ahead: the fault, and of which argument.
pub(crate) fn check(pattern: &str, args: &[&Type]) -> Result<(), (Option<usize>, String)> {
    let whole = |message: String| (None, message);
    let text = |refused: Refused| match refused {
        Refused::Error(error) => error.to_string(),
        Refused::NoOverload => String::new(),
    };
    let mut rest = pattern;
    let mut at = 0;
    while let Some(percent) = rest.find('%') {
        rest = &rest[percent + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            rest = tail;
            continue;
        }
        if rest.is_empty() {
            return Err(whole("unexpected end of string".into()));
        }
        let Some(of) = args.get(at) else { return Err(whole(format!("index {at} out of range"))) };
        let (_, tail) = precision(rest).map_err(|refused| whole(text(refused)))?;
        let verb = tail.chars().next().unwrap_or('%');
        let clause =
            CLAUSES.iter().find(|(known, ..)| *known == verb).ok_or_else(|| whole(unrecognized(verb)))?;
        if !(clause.2)(of) {
            let message = format!("error during formatting: {}, was given {}", clause.1, of.name());
            return Err((Some(at), message));
        }
        rest = &tail[verb.len_utf8()..];
        at += 1;
    }
    if args.len() > at {
        let n = args.len();
        return Err(whole(format!("too many arguments supplied to string.format (expected {at}, got {n})")));
    }
    Ok(())
}

/// A clause, what it says of wrong arguments, and which types may be right.
type Clause = (char, &'static str, fn(&Type) -> bool);

const STRINGS: &str = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
const HEX: &str = "only integers, byte buffers, and strings can be formatted as hex";

const CLAUSES: [Clause; 8] = [
    ('s', STRINGS, |of| !matches!(of, Type::Optional(_) | Type::Object(_) | Type::Opaque(_))),
    ('d', "decimal clause can only be used on integers", |of| {
        matches!(of, Type::Dyn | Type::Int | Type::Uint)
    }),
    ('f', "fixed-point clause can only be used on doubles", is_double),
    ('e', "scientific clause can only be used on doubles", is_double),
    ('b', "only integers and bools can be formatted as binary", |of| {
        matches!(of, Type::Dyn | Type::Int | Type::Uint | Type::Bool)
    }),
    ('x', HEX, is_hexable),
    ('X', HEX, is_hexable),
    ('o', "octal clause can only be used on integers", |of| matches!(of, Type::Dyn | Type::Int | Type::Uint)),
];

/// Some texts are numbers.
fn is_double(of: &Type) -> bool {
    matches!(of, Type::Dyn | Type::Double | Type::String)
}

fn is_hexable(of: &Type) -> bool {
    matches!(of, Type::Dyn | Type::Int | Type::Uint | Type::String | Type::Bytes)
}

fn only<T>(what: &str, arg: &Value<'_>) -> Result<T, Refused> {
    fail(format!("error during formatting: {what}, was given {}", arg.type_of().name()))
}

fn string(arg: &Value<'_>) -> Result<String, Refused> {
    match arg {
        Value::List(list) => list_text(list),
        Value::Map(map) => map_text(map),
        Value::Special(_) | Value::Object(_) | Value::Optional(_) | Value::Preserved(_) => only(STRINGS, arg),
        other => Ok(other.to_string()),
    }
}

/// A value inside of a list or map: as a literal of the language.
fn literal(value: &Value<'_>) -> Result<String, Refused> {
    Ok(match value {
        Value::String(s) => quote(s),
        Value::Bytes(b) => format!("b{}", quote(&String::from_utf8_lossy(b))),
        Value::Timestamp(t) => format!("timestamp({:?})", time::format(*t)),
        Value::Duration(n) => format!("duration({:?})", time::format_duration(*n)),
        Value::Double(n) if n.is_nan() => "\"NaN\"".into(),
        Value::Double(n) if n.is_infinite() => if *n > 0.0 { "\"+Inf\"" } else { "\"-Inf\"" }.into(),
        Value::Double(n) => format!("{n:.DIGITS$}"),
        Value::List(list) => list_text(list)?,
        Value::Map(map) => map_text(map)?,
        Value::Special(_) | Value::Object(_) | Value::Optional(_) | Value::Preserved(_) => {
            return fail(format!(
                "error during formatting: no formatting function for {}",
                value.type_of().name()
            ));
        }
        other => other.to_string(),
    })
}

fn list_text(list: &List<'_>) -> Result<String, Refused> {
    let mut parts = Vec::with_capacity(list.len());
    for item in list.iter() {
        parts.push(literal(&item?)?);
    }
    Ok(format!("[{}]", parts.join(", ")))
}

fn map_text(map: &Map<'_>) -> Result<String, Refused> {
    let mut parts = Vec::with_capacity(map.len());
    for at in 0..map.len() {
        let (Some(key), Some(value)) = (map.key_at(at), map.value_at(at)) else { continue };
        parts.push((literal(&key)?, literal(&value?)?));
    }
    parts.sort();
    let parts: Vec<String> = parts.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    Ok(format!("{{{}}}", parts.join(", ")))
}

fn decimal(arg: &Value<'_>) -> Result<String, Refused> {
    match arg {
        Value::Int(_) | Value::Uint(_) => Ok(arg.to_string()),
        _ => only("decimal clause can only be used on integers", arg),
    }
}

fn number(arg: &Value<'_>, clause: &str) -> Result<f64, Refused> {
    match arg {
        Value::Double(n) => Ok(*n),
        Value::String(s) if matches!(&**s, "NaN" | "Infinity" | "-Infinity") => {
            Ok(parse_double(s).unwrap_or(f64::NAN))
        }
        _ => only(&format!("{clause} clause can only be used on doubles"), arg),
    }
}

fn special(n: f64) -> Option<&'static str> {
    if n.is_nan() {
        return Some("NaN");
    }
    n.is_infinite().then_some(if n > 0.0 { "∞" } else { "-∞" })
}

fn fixed(n: f64, precision: usize) -> String {
    special(n).map_or_else(|| format!("{n:.precision$}"), str::to_owned)
}

/// With commas between thousands.
fn grouped(number: &str) -> String {
    let whole_end = number.find('.').unwrap_or(number.len());
    let (whole, fraction) = number.split_at(whole_end);
    let digits = whole.trim_start_matches('-');
    if !digits.bytes().all(|c| c.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut out = whole[..whole.len() - digits.len()].to_owned();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out + fraction
}

/// `1.500000×10⁰³`. Upstream takes the precision for the least width.
fn scientific(n: f64, width: Option<usize>) -> String {
    let width = width.unwrap_or(0);
    if let Some(text) = special(n) {
        return format!("{text:>width$}");
    }
    let text = format!("{n:.DIGITS$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("", exponent), |digits| ("⁻", digits));
    let raised: String = format!("{digits:0>2}").chars().map(superscript).collect();
    format!("{:>width$}", format!("{mantissa}×10{sign}{raised}"))
}

fn superscript(digit: char) -> char {
    match digit {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        other => char::from_u32('⁰' as u32 + other.to_digit(10).unwrap_or(0)).unwrap_or(other),
    }
}

fn binary(arg: &Value<'_>) -> Result<String, Refused> {
    match arg {
        Value::Int(n) => Ok(signed(*n, |n| format!("{n:b}"))),
        Value::Uint(n) => Ok(format!("{n:b}")),
        Value::Bool(b) => Ok(u8::from(*b).to_string()),
        _ => only("only integers and bools can be formatted as binary", arg),
    }
}

fn signed(n: i64, write: fn(u64) -> String) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, write(n.unsigned_abs()))
}

fn hex(arg: &Value<'_>) -> Result<String, Refused> {
    let bytes = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
    match arg {
        Value::Int(n) => Ok(signed(*n, |n| format!("{n:x}"))),
        Value::Uint(n) => Ok(format!("{n:x}")),
        Value::String(s) => Ok(bytes(s.as_bytes())),
        Value::Bytes(b) => Ok(bytes(b)),
        _ => only(HEX, arg),
    }
}

fn octal(arg: &Value<'_>) -> Result<String, Refused> {
    match arg {
        Value::Int(n) => Ok(signed(*n, |n| format!("{n:o}"))),
        Value::Uint(n) => Ok(format!("{n:o}")),
        _ => only("octal clause can only be used on integers", arg),
    }
}
