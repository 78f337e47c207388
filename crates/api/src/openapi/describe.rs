//! The descriptions that the build took from the k8s-openapi crate, unpacked for as long as documents are made.

use std::collections::HashMap;
use std::io::Read;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.z"));

/// Descriptions of types and fields.
pub(super) struct Descriptions {
    texts: HashMap<String, String>,
}

impl Descriptions {
    pub fn load() -> Self {
        let mut plain = String::new();
        // An unreadable blob is an empty one: documents are right without prose.
        let _ = flate2::read::ZlibDecoder::new(PACKED).read_to_string(&mut plain);
        let entry = |line: &str| {
            let (of, text) = line.rsplit_once('\t')?;
            Some((of.to_owned(), unescaped(text)))
        };
        Self { texts: plain.lines().filter_map(entry).collect() }
    }

    pub fn of_type(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    pub fn of_field(&self, name: &str, field: &str) -> Option<&str> {
        self.texts.get(&format!("{name}\t{field}")).map(String::as_str)
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, _) => out.push(c),
        }
    }
    out
}
