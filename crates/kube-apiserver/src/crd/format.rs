//! The string formats that custom schemas may name; any other name allows every string, as upstream has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine;
use regex::Regex;

/// Whether a text is of a format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(ip, bits)| is_cidr(ip, bits)),
        "date" => jiff::civil::Date::strptime("%Y-%m-%d", text).is_ok(),
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "uuid" => matches(&UUID, text),
        "uuid3" => matches(&UUID, text) && version(text) == Some('3'),
        "uuid4" => matches(&UUID, text) && version(text) == Some('4'),
        "uuid5" => matches(&UUID, text) && version(text) == Some('5'),
        "mac" => matches(&MAC, text),
        "email" => matches(&EMAIL, text),
        "hostname" => text.len() <= 255 && matches(&HOST, text),
        "uri" => text.parse::<http::Uri>().is_ok_and(|u| u.scheme().is_some() || u.path().starts_with('/')),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "hexcolor" => matches(&HEX_COLOR, text),
        "duration" => apimachinery_duration(text),
        _ => true,
    }
}

fn is_cidr(ip: &str, bits: &str) -> bool {
    let max = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|b| b <= max)
}

/// Go's form (`1h30m`), or a number and a unit in words.
fn apimachinery_duration(text: &str) -> bool {
    matches(&DURATION, text.trim())
}

fn version(text: &str) -> Option<char> {
    text.chars().filter(|c| *c != '-').nth(12)
}

type Pattern = LazyLock<Option<Regex>>;

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|p| p.is_match(text))
}

static UUID: Pattern = LazyLock::new(|| {
    Regex::new("^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok()
});
static MAC: Pattern = LazyLock::new(|| Regex::new("^(?i)([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$").ok());
static EMAIL: Pattern = LazyLock::new(|| Regex::new(r"^[^@\s<>]+@[^@\s<>]+$").ok());
static HOST: Pattern = LazyLock::new(|| {
    Regex::new(
        r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$",
    )
    .ok()
});
static HEX_COLOR: Pattern = LazyLock::new(|| Regex::new("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$").ok());
static DURATION: Pattern =
    LazyLock::new(|| Regex::new(r"^[+-]?([0-9]+(\.[0-9]*)?\s*(ns|us|µs|ms|s|m|h|d|w|[a-z]+)\s*)+$|^0$").ok());
