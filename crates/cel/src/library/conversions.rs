//! Conversions between types: `int(x)`, `string(x)`, `type(x)`...

use std::sync::Arc;

use super::{Special, numbers, time};
use crate::functions::{Declared, Outcome, Refused, Style, fail};
use crate::types::Type;
use crate::value::{Timestamp, Value};

const fn conversion(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: crate::functions::Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

pub(super) const DECLARED: &[Declared] = &[
    conversion("type", &[("type", "(A) type(A)")], |args| Ok(Value::Type(args[0].type_of()))),
    conversion("dyn", &[("to_dyn", "(A) dyn")], |args| Ok(args[0].clone())),
    conversion("bool", &[("bool_to_bool", "(bool) bool"), ("string_to_bool", "(string) bool")], to_bool),
    conversion(
        "bytes",
        &[("bytes_to_bytes", "(bytes) bytes"), ("string_to_bytes", "(string) bytes")],
        to_bytes,
    ),
    conversion(
        "double",
        &[
            ("double_to_double", "(double) double"),
            ("int64_to_double", "(int) double"),
            ("string_to_double", "(string) double"),
            ("uint64_to_double", "(uint) double"),
        ],
        to_double,
    ),
    conversion(
        "duration",
        &[("duration_to_duration", "(duration) duration"), ("string_to_duration", "(string) duration")],
        to_duration,
    ),
    conversion(
        "int",
        &[
            ("int64_to_int64", "(int) int"),
            ("double_to_int64", "(double) int"),
            ("duration_to_int64", "(duration) int"),
            ("string_to_int64", "(string) int"),
            ("timestamp_to_int64", "(timestamp) int"),
            ("uint64_to_int64", "(uint) int"),
        ],
        to_int,
    ),
    conversion(
        "string",
        &[
            ("string_to_string", "(string) string"),
            ("bool_to_string", "(bool) string"),
            ("bytes_to_string", "(bytes) string"),
            ("double_to_string", "(double) string"),
            ("duration_to_string", "(duration) string"),
            ("int64_to_string", "(int) string"),
            ("timestamp_to_string", "(timestamp) string"),
            ("uint64_to_string", "(uint) string"),
            ("ip_to_string", "(Ip) string"),
            ("cidr_to_string", "(Cidr) string"),
        ],
        to_string,
    ),
    conversion(
        "timestamp",
        &[
            ("timestamp_to_timestamp", "(timestamp) timestamp"),
            ("int64_to_timestamp", "(int) timestamp"),
            ("string_to_timestamp", "(string) timestamp"),
        ],
        to_timestamp,
    ),
    conversion(
        "uint",
        &[
            ("uint64_to_uint64", "(uint) uint"),
            ("double_to_uint64", "(double) uint"),
            ("int64_to_uint64", "(int) uint"),
            ("string_to_uint64", "(string) uint"),
        ],
        to_uint,
    ),
];

fn unreadable<'a>(to: &Type) -> Outcome<'a> {
    fail(format!("type conversion error from 'string' to '{}'", to.name()))
}

fn to_bool<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Bool(b) => Ok(Value::Bool(*b)),
        Value::String(s) => match &**s {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => unreadable(&Type::Bool),
        },
        _ => Err(Refused::NoOverload),
    }
}

fn to_bytes<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Bytes(b) => Ok(Value::Bytes(b.clone())),
        Value::String(s) => Ok(Value::Bytes(Arc::from(s.as_bytes()))),
        _ => Err(Refused::NoOverload),
    }
}

fn to_double<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Double(n) => Ok(Value::Double(*n)),
        Value::Int(n) => Ok(Value::Double(*n as f64)),
        Value::Uint(n) => Ok(Value::Double(*n as f64)),
        Value::String(s) => {
            numbers::parse_double(s).map_or_else(|| unreadable(&Type::Double), |n| Ok(Value::Double(n)))
        }
        _ => Err(Refused::NoOverload),
    }
}

fn to_duration<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Duration(n) => Ok(Value::Duration(*n)),
        Value::String(s) => {
            time::parse_duration(s).map_or_else(|| unreadable(&Type::Duration), |n| Ok(Value::Duration(n)))
        }
        _ => Err(Refused::NoOverload),
    }
}

fn to_int<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let converted = match &args[0] {
        Value::Int(n) | Value::Duration(n) => Some(*n),
        // Beyond 2^63 - 1024 a double is no int64.
        Value::Double(n) if *n > -9_223_372_036_854_775_808.0 && *n < 9_223_372_036_854_775_808.0 => {
            Some(*n as i64)
        }
        Value::Double(_) => None,
        Value::Uint(n) => i64::try_from(*n).ok(),
        Value::Timestamp(t) => Some(t.seconds),
        Value::String(s) => return s.parse().map_or_else(|_| unreadable(&Type::Int), |n| Ok(Value::Int(n))),
        _ => return Err(Refused::NoOverload),
    };
    converted.map_or_else(|| fail("integer overflow"), |n| Ok(Value::Int(n)))
}

fn to_uint<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let converted = match &args[0] {
        Value::Uint(n) => Some(*n),
        Value::Int(n) => u64::try_from(*n).ok(),
        Value::Double(n) if *n >= 0.0 && *n < 18_446_744_073_709_551_616.0 => Some(*n as u64),
        Value::Double(_) => None,
        Value::String(s) if s.starts_with('+') => return unreadable(&Type::Uint),
        Value::String(s) => {
            return s.parse().map_or_else(|_| unreadable(&Type::Uint), |n| Ok(Value::Uint(n)));
        }
        _ => return Err(Refused::NoOverload),
    };
    converted.map_or_else(|| fail("unsigned integer overflow"), |n| Ok(Value::Uint(n)))
}

fn to_string<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::String(s) => Ok(Value::String(s.clone())),
        Value::Bytes(b) => match std::str::from_utf8(b) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Special(special) => match &**special {
            Special::Ip(ip) => Ok(Value::text(ip.to_string())),
            Special::Cidr(cidr) => Ok(Value::text(cidr.to_string())),
            _ => Err(Refused::NoOverload),
        },
        value @ (Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Duration(_)) => Ok(Value::text(value.to_string())),
        _ => Err(Refused::NoOverload),
    }
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Timestamp(t) => Ok(Value::Timestamp(*t)),
        Value::Int(n) => time::timestamp(Timestamp { seconds: *n, nanos: 0, offset: 0 }),
        Value::String(s) => time::read(s).map_or_else(|| unreadable(&Type::Timestamp), time::timestamp),
        _ => Err(Refused::NoOverload),
    }
}
