//! What the kernel has: names of base chains, and rules by handle and comment, as far as who must add to a table of
//! somebody else needs it; and elements that rules made. Expressions are not read back.

use crate::attr::Writer;
use crate::batch::{NLM_F_REQUEST, SUBSYSTEM};
use crate::set::Life;
use crate::{Family, Hook, Key};

const NLM_F_DUMP: u16 = 0x300;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_ELEMENTS: u16 = 13;

/// A chain of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundChain {
    pub table: String,
    pub name: String,
    /// None: only jumps reach it.
    pub base: Option<FoundBase>,
}

/// Where a base chain hangs and what becomes of a packet that reaches its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBase {
    /// A number of [`Hook`]; netdev tables have others.
    pub hook: u32,
    pub kind: String,
    pub drops: bool,
}

impl FoundBase {
    /// Whether packets end here that pass `hook` and that no rule accepts.
    pub fn drops_at(&self, hook: Hook) -> bool {
        self.kind == "filter" && self.hook == hook as u32 && self.drops
    }
}

/// A rule of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRule {
    pub handle: u64,
    pub comment: String,
}

/// An element of a set or map of concatenations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundElement {
    pub key: Key,
    /// Empty for a set, and for a map of verdicts.
    pub data: Vec<u8>,
    /// None: it stays until it is deleted.
    pub life: Option<Life>,
}

pub(crate) fn ask_elements(family: Family, table: &str, set: &str) -> Vec<u8> {
    ask(GET_ELEMENTS, family, |w| {
        w.text(1, table);
        w.text(2, set);
    })
}

pub(crate) fn ask_chains(family: Family) -> Vec<u8> {
    ask(GET_CHAIN, family, |_| {})
}

pub(crate) fn ask_rules(family: Family, table: &str, chain: &str) -> Vec<u8> {
    ask(GET_RULE, family, |w| {
        w.text(1, table);
        w.text(2, chain);
    })
}

fn ask(kind: u16, family: Family, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(SUBSYSTEM | kind, NLM_F_REQUEST | NLM_F_DUMP, 0, family as u8, 0, fill);
    writer.bytes
}

/// `body` is what follows a message's header.
pub(crate) fn chain(body: &[u8]) -> Option<FoundChain> {
    let all = Attributes::of(body.get(4..)?);
    let base = all.get(4).map(|hook| FoundBase {
        hook: Attributes::of(hook).u32(1).unwrap_or(u32::MAX),
        kind: all.text(7).unwrap_or_default(),
        drops: all.u32(5) == Some(0),
    });
    Some(FoundChain { table: all.text(1)?, name: all.text(3)?, base })
}

pub(crate) fn rule(body: &[u8]) -> Option<FoundRule> {
    let all = Attributes::of(body.get(4..)?);
    let handle = u64::from_be_bytes(*all.get(3)?.first_chunk()?);
    Some(FoundRule { handle, comment: all.get(7).and_then(comment).unwrap_or_default() })
}

pub(crate) fn elements(body: &[u8]) -> Vec<FoundElement> {
    let all = Attributes::of(body.get(4..).unwrap_or_default());
    let list = Attributes::of(all.get(3).unwrap_or_default());
    list.0.iter().filter_map(|(_, element)| self::element(element)).collect()
}

fn element(bytes: &[u8]) -> Option<FoundElement> {
    let all = Attributes::of(bytes);
    let value = |kind| Attributes::of(all.get(kind)?).get(1);
    let left = all.u64(5).map(|left| Life { whole: all.u64(4).filter(|whole| *whole > 0), left });
    Some(FoundElement {
        key: Key::of_bytes(value(1)?),
        data: value(2).unwrap_or_default().to_vec(),
        life: left,
    })
}

/// `nft`'s way of keeping a comment: type 0, length, text and a zero.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return text(value);
        }
        data = &rest[value.len()..];
    }
    None
}

fn text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.strip_suffix(&[0]).unwrap_or(value).to_vec()).ok()
}

/// Type (without its flags) and value of each attribute.
struct Attributes<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attributes<'a> {
    fn of(mut bytes: &'a [u8]) -> Self {
        let mut found = Vec::new();
        while let Some(header) = bytes.first_chunk::<4>() {
            let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
            let Some(value) = bytes.get(4..length) else { break };
            found.push((u16::from_ne_bytes([header[2], header[3]]) & 0x3fff, value));
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Self(found)
    }

    fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }

    fn u32(&self, kind: u16) -> Option<u32> {
        self.get(kind)?.first_chunk().map(|b| u32::from_be_bytes(*b))
    }

    fn u64(&self, kind: u16) -> Option<u64> {
        self.get(kind)?.first_chunk().map(|b| u64::from_be_bytes(*b))
    }

    fn text(&self, kind: u16) -> Option<String> {
        self.get(kind).and_then(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_chains_say_where_they_hang_and_what_they_do() {
        let mut w = Writer::default();
        w.text(1, "filter");
        w.text(3, "FORWARD");
        w.nest(4, |w| {
            w.u32(1, 2);
            w.u32(2, 0);
        });
        w.u32(5, 0);
        w.text(7, "filter");
        let found = chain(&[&[2, 0, 0, 0][..], &w.bytes].concat()).unwrap();
        assert_eq!((found.table.as_str(), found.name.as_str()), ("filter", "FORWARD"));
        assert!(found.base.unwrap().drops_at(Hook::Forward));
    }

    #[test]
    fn rules_are_known_by_their_comments() {
        let mut w = Writer::default();
        w.raw(3, &7u64.to_be_bytes());
        w.raw(7, &[2, 1, 9, 0, 3, b'a', b'b', 0]);
        let found = rule(&[&[2, 0, 0, 0][..], &w.bytes].concat()).unwrap();
        assert_eq!(found, FoundRule { handle: 7, comment: "ab".into() });
    }
}
