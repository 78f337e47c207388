//! Addresses and networks: `kubernetes.net.ip` and `kubernetes.net.cidr`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use apimachinery::names::masked;

use super::Special;
use crate::functions::{Code, Declared, Refused, Style, fail};
use crate::value::Value;

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub(super) ip: IpAddr,
    pub(super) bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

impl Cidr {
    fn contains(self, ip: IpAddr) -> bool {
        self.ip.is_ipv4() == ip.is_ipv4() && masked(self.ip, self.bits) == masked(ip, self.bits)
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
    function("ip", &[("string_to_ip", "(string) Ip"), ("cidr_ip", "Cidr.() Ip")], |args| match &args[0] {
        Value::String(text) => Ok(special(Special::Ip(parse_ip(text)?))),
        other => Ok(special(Special::Ip(cidr(other)?.ip))),
    }),
    function("ip.isCanonical", &[("ip_is_canonical", "(string) bool")], |args| {
        let text = text(&args[0])?;
        Ok(Value::Bool(parse_ip(text)?.to_string() == text))
    }),
    function("isIP", &[("is_ip", "(string) bool")], |args| {
        Ok(Value::Bool(parse_ip(text(&args[0])?).is_ok()))
    }),
    function("family", &[("ip_family", "Ip.() int")], |args| {
        Ok(Value::Int(if ip(&args[0])?.is_ipv4() { 4 } else { 6 }))
    }),
    function("isUnspecified", &[("ip_is_unspecified", "Ip.() bool")], |args| {
        Ok(Value::Bool(ip(&args[0])?.is_unspecified()))
    }),
    function("isLoopback", &[("ip_is_loopback", "Ip.() bool")], |args| {
        Ok(Value::Bool(ip(&args[0])?.is_loopback()))
    }),
    function("isLinkLocalMulticast", &[("ip_is_link_local_multicast", "Ip.() bool")], |args| {
        Ok(Value::Bool(is_link_local_multicast(ip(&args[0])?)))
    }),
    function("isLinkLocalUnicast", &[("ip_is_link_local_unicast", "Ip.() bool")], |args| {
        Ok(Value::Bool(is_link_local_unicast(ip(&args[0])?)))
    }),
    function("isGlobalUnicast", &[("ip_is_global_unicast", "Ip.() bool")], |args| {
        Ok(Value::Bool(is_global_unicast(ip(&args[0])?)))
    }),
    function("cidr", &[("string_to_cidr", "(string) Cidr")], |args| {
        Ok(special(Special::Cidr(parse_cidr(text(&args[0])?)?)))
    }),
    function("isCIDR", &[("is_cidr", "(string) bool")], |args| {
        Ok(Value::Bool(parse_cidr(text(&args[0])?).is_ok()))
    }),
    function(
        "containsIP",
        &[("cidr_contains_ip_string", "Cidr.(string) bool"), ("cidr_contains_ip_ip", "Cidr.(Ip) bool")],
        |args| {
            let other = match &args[1] {
                Value::String(text) => parse_ip(text).or_else(|_| fail("no such overload"))?,
                other => ip(other)?,
            };
            Ok(Value::Bool(cidr(&args[0])?.contains(other)))
        },
    ),
    function(
        "containsCIDR",
        &[("cidr_contains_cidr_string", "Cidr.(string) bool"), ("cidr_contains_cidr", "Cidr.(Cidr) bool")],
        |args| {
            let other = match &args[1] {
                Value::String(text) => parse_cidr(text)?,
                other => cidr(other)?,
            };
            let of = cidr(&args[0])?;
            Ok(Value::Bool(of.bits <= other.bits && of.contains(other.ip)))
        },
    ),
    function("prefixLength", &[("cidr_prefix_length", "Cidr.() int")], |args| {
        Ok(Value::Int(cidr(&args[0])?.bits.into()))
    }),
    function("masked", &[("cidr_masked", "Cidr.() Cidr")], |args| {
        let Cidr { ip, bits } = cidr(&args[0])?;
        Ok(special(Special::Cidr(Cidr { ip: masked(ip, bits), bits })))
    }),
];

fn special<'a>(of: Special) -> Value<'a> {
    Value::Special(Arc::new(of))
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Refused> {
    value.as_str().ok_or(Refused::NoOverload)
}

fn ip(value: &Value<'_>) -> Result<IpAddr, Refused> {
    match value {
        Value::Special(of) => match &**of {
            Special::Ip(ip) => Ok(*ip),
            _ => Err(Refused::NoOverload),
        },
        _ => Err(Refused::NoOverload),
    }
}

fn cidr(value: &Value<'_>) -> Result<Cidr, Refused> {
    match value {
        Value::Special(of) => match &**of {
            Special::Cidr(cidr) => Ok(*cidr),
            _ => Err(Refused::NoOverload),
        },
        _ => Err(Refused::NoOverload),
    }
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn parse_ip(text: &str) -> Result<IpAddr, Refused> {
    if let Some((address, zone)) = text.split_once('%')
        && !zone.is_empty()
        && address.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return fail(format!("IP address {text:?} with zone value is not allowed"));
    }
    match text.parse::<IpAddr>() {
        Ok(ip) if is_mapped(ip) => fail(format!("IPv4-mapped IPv6 address {text:?} is not allowed")),
        Ok(ip) => Ok(ip),
        Err(_) => fail(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): {}",
            why_no_ip(text)
        )),
    }
}

/// In the words of Go's `netip`.
fn why_no_ip(text: &str) -> &'static str {
    let octets = text.split('.');
    match text.find(['.', ':', '%']).map(|at| text.as_bytes()[at]) {
        Some(b'.') if octets.clone().any(str::is_empty) => "IPv4 field must have at least one digit",
        Some(b'.') if text.bytes().any(|c| !c.is_ascii_digit() && c != b'.') => "unexpected character",
        Some(b'.') if octets.clone().any(|o| o.len() > 1 && o.starts_with('0')) => {
            "IPv4 field has octet with leading zero"
        }
        Some(b'.') if octets.clone().any(|o| o.parse::<u8>().is_err()) => "IPv4 field has value >255",
        Some(b'.') if octets.count() < 4 => "IPv4 address too short",
        Some(b'.') => "IPv4 address too long",
        Some(b'%') => "missing IPv6 address",
        Some(_) => "invalid IPv6 address",
        None => "unable to parse IP",
    }
}

fn parse_cidr(text: &str) -> Result<Cidr, Refused> {
    let what = "network address parse error during conversion from string";
    let refuse = |why: &str| fail(format!("{what}: {what}: netip.ParsePrefix({text:?}): {why}"));
    let Some((address, bits)) = text.rsplit_once('/') else { return refuse("no '/'") };
    let Ok(ip) = address.parse::<IpAddr>() else {
        return refuse(&format!("ParseAddr({address:?}): {}", why_no_ip(address)));
    };
    if is_mapped(ip) {
        return fail(format!("{what}: IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    let plain = !bits.is_empty()
        && bits.bytes().all(|c| c.is_ascii_digit())
        && (bits == "0" || !bits.starts_with('0'));
    let most = if ip.is_ipv4() { 32 } else { 128 };
    match bits.parse::<u16>() {
        Ok(bits) if plain && bits <= most => Ok(Cidr { ip, bits: bits as u8 }),
        Ok(_) if plain => refuse("prefix length out of range"),
        _ => refuse(&format!("bad bits after slash: {bits:?}")),
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local_unicast(ip))
}
