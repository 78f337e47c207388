//! PEM blocks and the few bits of DER that keys and certificates need. No general ASN.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One PEM block: its label (`CERTIFICATE`, `RSA PRIVATE KEY`) and its DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub label: String,
    pub der: Vec<u8>,
    /// It has lines such as `Proc-Type: 4`, which are skipped.
    pub headers: bool,
}

/// All well-formed blocks of a PEM text; text around them is skipped, as Go's `pem.Decode` does.
pub fn blocks(pem: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut rest = pem;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = &rest[at + 11..];
        let Some((label, after)) = rest.split_once("-----") else { break };
        let end = format!("-----END {label}-----");
        let Some(stop) = after.find(&end) else { continue };
        let headers = after[..stop].contains(':');
        let body: String = after[..stop]
            .lines()
            .filter(|line| !line.contains(':'))
            .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
            .collect();
        if let Ok(der) = STANDARD.decode(body) {
            found.push(Block { label: label.to_owned(), der, headers });
        }
        rest = &after[stop + end.len()..];
    }
    found
}

/// The DER of all certificates in a PEM text.
pub fn certificates(pem: &str) -> Vec<Vec<u8>> {
    blocks(pem).into_iter().filter(|b| b.label == "CERTIFICATE").map(|b| b.der).collect()
}

/// `SEQUENCE`, `INTEGER` and so on: tag, length, content.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=0x7f => out.push(n as u8),
        n @ 0x80..=0xff => out.extend([0x81, n as u8]),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// The first element of `der`: its tag, its content, and what follows it.
pub fn read(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let bytes = rest.get(..count)?;
            (bytes.iter().fold(0, |n, b| (n << 8) | usize::from(*b)), &rest[count..])
        }
        _ => return None,
    };
    Some((tag, rest.get(..length)?, &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_blocks_with_text_between() {
        let pem = "junk\n-----BEGIN A-----\nAQID\n-----END A-----\nmore\n-----BEGIN B B-----\nk: v\n\nBA==\n-----END B B-----\n";
        let found = blocks(pem);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Block { label: "A".into(), der: vec![1, 2, 3], headers: false });
        assert_eq!(found[1], Block { label: "B B".into(), der: vec![4], headers: true });
    }

    #[test]
    fn der_round_trip() {
        for n in [0usize, 5, 0x7f, 0x80, 0xff, 0x100, 3000] {
            let content = vec![7u8; n];
            let der = tlv(0x30, &content);
            assert_eq!(read(&der), Some((0x30, content.as_slice(), [].as_slice())));
        }
        assert_eq!(read(&[0x30, 5, 1]), None);
    }
}
