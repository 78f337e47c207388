//! The little of DER (X.690) that keys and certificate requests are written in.

/// Tag of a SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// Tag of an OCTET STRING.
pub const OCTETS: u8 = 0x04;
/// Tag of an OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;

/// One value: tag, length, content.
#[must_use]
pub fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    let bytes = length.to_be_bytes();
    let short = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    match length {
        0..128 => out.push(bytes[bytes.len() - 1]),
        _ => {
            // a length has at most eight bytes
            out.push(0x80 | u8::try_from(short.len()).unwrap_or_default());
            out.extend(short);
        }
    }
    parts.iter().for_each(|part| out.extend(*part));
    out
}

/// A SEQUENCE of values.
#[must_use]
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, parts)
}

/// A number that is not negative, from its big-endian bytes.
#[must_use]
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let short = &bytes[zeros.min(bytes.len().saturating_sub(1))..];
    let sign: &[u8] = if short.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    value(0x02, &[sign, short])
}

/// A BIT STRING of whole bytes.
#[must_use]
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    value(0x03, &[&[0], bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers() {
        assert_eq!(value(OCTETS, &[&[1], &[2]]), [4, 2, 1, 2]);
        assert_eq!(value(OCTETS, &[&[0; 200]])[..3], [4, 0x81, 200]);
        assert_eq!(value(OCTETS, &[&[0; 300]])[..4], [4, 0x82, 1, 44]);
        assert_eq!(unsigned(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0]), [2, 1, 0]);
        assert_eq!(bits(&[9]), [3, 2, 0, 9]);
    }
}
