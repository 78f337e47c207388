//! The syntax of names and the messages that go with it. Clients show and match these messages, so they are in
//! upstream's exact words. Each check gives its messages; none means that the value is good.

use std::net::{IpAddr, Ipv4Addr};

use crate::field::{Error, ErrorList, Path};

pub const DNS1123_LABEL_MAX: usize = 63;
pub const DNS1123_SUBDOMAIN_MAX: usize = 253;
pub const LABEL_VALUE_MAX: usize = 63;

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FMT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const UNDERSCORE_FMT: &str = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const KEY_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// How lengths are named: code written by hand says characters, declarative rules say bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Characters,
    Bytes,
}

pub fn max_len(max: usize, unit: Unit) -> String {
    let unit = if unit == Unit::Bytes { "bytes" } else { "characters" };
    format!("must be no more than {max} {unit}")
}

/// A message with examples and the expression, as upstream joins them.
pub fn regex_error(text: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{text} (regex used for validation is '{regex}')");
    }
    let shown: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{text} (e.g. {}regex used for validation is '{regex}')", shown.join(" or "))
}

pub fn in_range(value: i64, min: i64, max: i64) -> Vec<String> {
    if (min..=max).contains(&value) { Vec::new() } else { vec![range_error(min, max)] }
}

pub fn range_error(min: i64, max: i64) -> String {
    format!("must be between {min} and {max}, inclusive")
}

/// Both ends of `set`, the middle of `set` and `more`.
fn framed(value: &str, set: fn(u8) -> bool, more: &[u8]) -> bool {
    let b = value.as_bytes();
    let ends = b.first().is_some_and(|c| set(*c)) && b.last().is_some_and(|c| set(*c));
    ends && b.iter().all(|c| set(*c) || more.contains(c))
}

fn lower(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn alnum(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

fn is_label(value: &str) -> bool {
    framed(value, lower, b"-")
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

/// DNS-1123 label.
pub fn dns1123_label(value: &str) -> Vec<String> {
    dns1123_label_in(value, Unit::Characters)
}

pub fn dns1123_label_in(value: &str, unit: Unit) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS1123_LABEL_MAX {
        out.push(max_len(DNS1123_LABEL_MAX, unit));
    }
    if !is_label(value) {
        out.push(if is_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            let text = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
            regex_error(text, LABEL_FMT, &["my-name", "123-abc"])
        });
    }
    out
}

/// DNS-1123 subdomain: most objects' names.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    dns1123_subdomain_in(value, Unit::Characters)
}

pub fn dns1123_subdomain_in(value: &str, unit: Unit) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(max_len(DNS1123_SUBDOMAIN_MAX, unit));
    }
    if !is_subdomain(value) {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        out.push(regex_error(text, SUBDOMAIN_FMT, &["example.com"]));
    }
    out
}

/// As a subdomain, upper case as well.
pub fn dns1123_subdomain_caseless(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(max_len(DNS1123_SUBDOMAIN_MAX, Unit::Bytes));
    }
    if !value.split('.').all(|label| framed(label, alnum, b"-")) {
        let text = "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        out.push(regex_error(text, SUBDOMAIN_FMT, &["Example.com"]));
    }
    out
}

pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(max_len(DNS1123_SUBDOMAIN_MAX, Unit::Characters));
    }
    let label = |l: &str| framed(l.strip_prefix('_').unwrap_or(l), lower, b"-_");
    if !value.split('.').all(label) {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
        out.push(regex_error(text, UNDERSCORE_FMT, &["example.com"]));
    }
    out
}

pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(max_len(DNS1123_SUBDOMAIN_MAX, Unit::Characters));
    }
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        let text = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        out.push(regex_error(text, &format!(r"\*\.{SUBDOMAIN_FMT}"), &["*.example.com"]));
    }
    out
}

/// DNS-1035 label: names of Services.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS1123_LABEL_MAX {
        out.push(max_len(DNS1123_LABEL_MAX, Unit::Characters));
    }
    if !(is_label(value) && value.as_bytes()[0].is_ascii_lowercase()) {
        let text = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        out.push(regex_error(text, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    out
}

/// Label and annotation keys, finalizers, resource names: `[prefix/]name`.
pub fn qualified_name(value: &str) -> Vec<String> {
    const TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    const EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
    let mut out = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(
                    dns1123_subdomain_in(prefix, Unit::Bytes).iter().map(|m| format!("prefix part {m}")),
                );
            }
            name
        }
        _ => {
            let expression = regex_error(TEXT, KEY_FMT, &EXAMPLES);
            return vec![format!(
                "a valid label key {expression} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_VALUE_MAX {
        out.push(format!("name part {}", max_len(LABEL_VALUE_MAX, Unit::Bytes)));
    }
    if !framed(name, alnum, b"-_.") {
        out.push(format!("name part {}", regex_error(TEXT, KEY_FMT, &EXAMPLES)));
    }
    out
}

/// A qualified name that must have a prefix.
pub fn prefixed_label_key(value: &str) -> Vec<String> {
    let out = qualified_name(value);
    if out.is_empty() && !value.contains('/') {
        return vec!["must include a prefix (e.g. 'example.com/key')".to_owned()];
    }
    out
}

pub fn label_value(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > LABEL_VALUE_MAX {
        out.push(max_len(LABEL_VALUE_MAX, Unit::Bytes));
    }
    if !value.is_empty() && !framed(value, alnum, b"-_.") {
        let text = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        out.push(regex_error(text, &format!("({KEY_FMT})?"), &["MyValue", "my_value", "12345"]));
    }
    out
}

pub fn c_identifier(value: &str) -> Vec<String> {
    let b = value.as_bytes();
    let first = b.first().is_some_and(|c| c.is_ascii_alphabetic() || *c == b'_');
    if first && b.iter().all(|c| alnum(*c) || *c == b'_') {
        return Vec::new();
    }
    let text = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    vec![regex_error(text, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])]
}

fn dots(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".into()),
        ".." => Some("must not be '..'".into()),
        _ if value.starts_with("..") => Some("must not start with '..'".into()),
        _ => None,
    }
}

pub fn env_var_name(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    let b = value.as_bytes();
    let good = |c: &u8| alnum(*c) || b"-._".contains(c);
    if b.is_empty() || b[0].is_ascii_digit() || !b.iter().all(good) {
        let text = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit";
        out.push(regex_error(
            text,
            "[-._a-zA-Z][-._a-zA-Z0-9]*",
            &["my.env-name", "MY_ENV.NAME", "MyEnvName1"],
        ));
    }
    out.extend(dots(value));
    out
}

/// What is allowed since RelaxedEnvironmentVariableValidation.
pub fn relaxed_env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned(),
    ]
}

/// Keys of ConfigMaps and Secrets.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(max_len(DNS1123_SUBDOMAIN_MAX, Unit::Characters));
    }
    if value.is_empty() || !value.bytes().all(|c| alnum(c) || b"-._".contains(&c)) {
        let text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        out.push(regex_error(text, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    out.extend(dots(value));
    out
}

pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65_535)
}

pub fn port_name(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > 15 {
        out.push(max_len(15, Unit::Characters));
    }
    if value.is_empty() || !value.bytes().all(|c| lower(c) || c == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|c| c.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return Vec::new();
    }
    let text = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex_error(text, "[0-9]+%", &["1%", "93%"])]
}

pub fn http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|c| alnum(c) || c == b'-') {
        return Vec::new();
    }
    let text = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(text, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// One segment of a path: RBAC names and whatever has no other rule.
pub fn path_segment_name(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    path_segment_prefix(value)
}

pub fn path_segment_prefix(value: &str) -> Vec<String> {
    ["/", "%"].iter().filter(|c| value.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// RFC 4122 text, lower case.
pub fn uuid(value: &str) -> Vec<String> {
    const TEXT: &str = "must be a lowercase UUID in 8-4-4-4-12 format";
    let good = value.len() == 36
        && value.bytes().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == b'-',
            _ => c.is_ascii_digit() || (b'a'..=b'f').contains(&c),
        });
    if good { Vec::new() } else { vec![TEXT.to_owned()] }
}

/// An address as old API versions read it: leading zeros allowed, IPv4 in IPv6 too.
pub fn parse_ip_sloppy(value: &str) -> Option<IpAddr> {
    if let Ok(ip) = value.parse::<IpAddr>() {
        return Some(ip);
    }
    let parts: Vec<&str> = value.split('.').collect();
    let octet =
        |p: &&str| (!p.is_empty() && p.bytes().all(|c| c.is_ascii_digit())).then(|| p.parse::<u8>().ok())?;
    let octets: Vec<u8> = parts.iter().filter_map(octet).collect();
    let octets: [u8; 4] = octets.try_into().ok()?;
    (parts.len() == 4).then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// Go's text of an address: IPv4 in IPv6 is shown as IPv4.
fn shown_ip(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

fn ip_errors(field: &Path, value: &str, strict: bool) -> (Option<IpAddr>, ErrorList) {
    let Some(ip) = parse_ip_sloppy(value) else {
        let text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        return (None, vec![Error::invalid(field, value, text)]);
    };
    let mut out = ErrorList::new();
    if strict {
        match value.parse::<IpAddr>() {
            Err(_) => out.push(Error::invalid(field, value, "must not have leading 0s")),
            Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
                out.push(Error::invalid(field, value, "must not be an IPv4-mapped IPv6 address"));
            }
            Ok(_) => {}
        }
    }
    (Some(ip), out)
}

/// An address in canonical form.
pub fn ip(field: &Path, value: &str) -> ErrorList {
    let (parsed, mut out) = ip_errors(field, value, true);
    let shown = parsed.map(shown_ip).unwrap_or_default();
    if out.is_empty() && shown != value {
        out.push(Error::invalid(field, value, format!("must be in canonical form ({shown:?})")));
    }
    out
}

/// An address in a field older than strict parsing; what the old object had is accepted.
pub fn ip_for_legacy_field(field: &Path, value: &str, strict: bool, old: &[&str]) -> ErrorList {
    if old.contains(&value) { ErrorList::new() } else { ip_errors(field, value, strict).1 }
}

/// Network and prefix length, as old API versions read it: the address as written, not masked.
pub fn parse_cidr_sloppy(value: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = value.split_once('/')?;
    let ip = parse_ip_sloppy(ip)?;
    let good = !bits.is_empty() && bits.len() < 10 && bits.bytes().all(|c| c.is_ascii_digit());
    let bits: u8 = if good { bits.parse().ok()? } else { return None };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((ip, bits))
}

/// The first address of the network.
pub fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

fn cidr_errors(field: &Path, value: &str, strict: bool) -> (Option<(IpAddr, u8)>, ErrorList) {
    let Some((ip, bits)) = parse_cidr_sloppy(value) else {
        let text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        return (None, vec![Error::invalid(field, value, text)]);
    };
    let mut out = ErrorList::new();
    let (address, length) = value.split_once('/').unwrap_or_default();
    if strict {
        let leading = length.len() > 1 && length.starts_with('0');
        match address.parse::<IpAddr>() {
            _ if leading => {
                out.push(Error::invalid(field, value, "must not have leading 0s in IP or prefix length"))
            }
            Err(_) => {
                out.push(Error::invalid(field, value, "must not have leading 0s in IP or prefix length"))
            }
            Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
                out.push(Error::invalid(field, value, "must not have an IPv4-mapped IPv6 address"));
            }
            Ok(ip) if masked(ip, bits) != ip => {
                out.push(Error::invalid(field, value, "must not have bits set beyond the prefix length"));
            }
            Ok(_) => {}
        }
    }
    (Some((ip, bits)), out)
}

/// A network in canonical form.
pub fn cidr(field: &Path, value: &str) -> ErrorList {
    let (parsed, mut out) = cidr_errors(field, value, true);
    let shown = parsed.map(|(ip, bits)| format!("{}/{bits}", shown_ip(masked(ip, bits)))).unwrap_or_default();
    if out.is_empty() && shown != value {
        out.push(Error::invalid(field, value, format!("must be in canonical form ({shown:?})")));
    }
    out
}

pub fn cidr_for_legacy_field(field: &Path, value: &str, strict: bool, old: &[&str]) -> ErrorList {
    if old.contains(&value) { ErrorList::new() } else { cidr_errors(field, value, strict).1 }
}

/// A domain name of at least three segments.
pub fn fully_qualified_name(field: &Path, value: &str) -> ErrorList {
    if value.is_empty() {
        return vec![Error::required(field, "")];
    }
    let text = dns1123_subdomain(value);
    if !text.is_empty() {
        return vec![Error::invalid(field, value, text.join(","))];
    }
    if value.split('.').count() < 3 {
        let text = "should be a domain with at least three segments separated by dots";
        return vec![Error::invalid(field, value, text)];
    }
    ErrorList::new()
}

/// `example.com/path`, as signers and conditions name themselves.
pub fn domain_prefixed_path(field: &Path, value: &str) -> ErrorList {
    if value.is_empty() {
        return vec![Error::required(field, "")];
    }
    let (host, path) = value.split_once('/').unwrap_or((value, ""));
    if host.is_empty() || path.is_empty() {
        return vec![Error::invalid(
            field,
            value,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        )];
    }
    let mut out: ErrorList =
        dns1123_subdomain(host).into_iter().map(|m| Error::invalid(field, host, m)).collect();
    if !path.bytes().all(|c| alnum(c) || b"/-._~%!$&'()*+,;=:".contains(&c)) {
        let text = regex_error("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]);
        out.push(Error::invalid(field, path, text));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_syntax_takes_the_good_and_refuses_the_bad() {
        type Check = fn(&str) -> Vec<String>;
        let long = "a".repeat(64);
        let table: [(Check, &[&str], &[&str]); 9] = [
            (dns1123_label, &["a", "0", "a--b", "1-a"], &["", "A", "-a", "a-", "a.b", "a_b", &long]),
            (dns1123_subdomain, &["a", "a.b", "0.1"], &["", ".", "a..b", "A.a", "a.", "a_b"]),
            (dns1035_label, &["a", "a1-b"], &["", "1a", "a-", "A"]),
            (
                qualified_name,
                &["a", "A_b.c", "example.com/A"],
                &["", "/a", "a/", "a/b/c", "EX.com/a", "-a", &long],
            ),
            (label_value, &["", "a", "A_b.c"], &["-", "a-", "a b", &long]),
            (c_identifier, &["_", "aB0"], &["", "0a", "a-b"]),
            (env_var_name, &["a.b-C", "_"], &["", "1a", "..", "..a", "a=b"]),
            (port_name, &["http", "a1-b"], &["", "1", "a--b", "-a", "A", "abcdefghijklmnop"]),
            (path_segment_name, &["a", "a:b"], &[".", "..", "a/b", "a%b"]),
        ];
        for (at, (check, good, bad)) in table.iter().enumerate() {
            good.iter().for_each(|v| assert!(check(v).is_empty(), "{at}: {v}: {:?}", check(v)));
            bad.iter().for_each(|v| assert!(!check(v).is_empty(), "{at}: {v}"));
        }
    }

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(
            dns1123_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    }

    #[test]
    fn addresses() {
        let f = Path::new("f");
        assert!(ip(&f, "10.0.0.1").is_empty() && ip(&f, "2001:db8::1").is_empty());
        for bad in ["", "10.0.0.256", "010.0.0.1", "::ffff:1.2.3.4", "2001:DB8::1", "1.2.3"] {
            assert_eq!(ip(&f, bad).len(), 1, "{bad}");
        }
        assert!(cidr(&f, "10.0.0.0/8").is_empty() && cidr(&f, "::/0").is_empty());
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0", "10.0.0.0/08"] {
            assert_eq!(cidr(&f, bad).len(), 1, "{bad}");
        }
    }
}
