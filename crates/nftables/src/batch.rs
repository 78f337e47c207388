//! A transaction: changes in their order, encoded as they are added.

use std::collections::HashMap;

use crate::Family;
use crate::attr::Writer;
use crate::expr::Expr;
use crate::set::{Data, Element, Set, Value, kind_of, length_of};

/// nfnetlink's subsystem of nf_tables.
pub(crate) const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

pub(crate) const NLM_F_REQUEST: u16 = 1;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// Below the 65,535 bytes that a list of elements may have as an attribute.
const ELEMENTS_LIMIT: usize = 48 * 1024;

/// Where a base chain hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// What a base chain does with a packet that reaches its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Policy {
    Drop = 0,
    Accept = 1,
}

/// A base chain's type, hook and priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `filter`, `nat` or `route`.
    pub kind: &'static str,
    pub hook: Hook,
    pub priority: i32,
    pub policy: Policy,
}

/// A rule and the comment that `nft list` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub expressions: Vec<Expr>,
    pub comment: String,
}

impl Rule {
    pub fn new(expressions: impl Into<Vec<Expr>>) -> Self {
        Self { expressions: expressions.into(), comment: String::new() }
    }
}

/// What a sequence number stood for, to name it when the kernel refuses it.
pub(crate) struct Operation {
    pub(crate) what: &'static str,
    pub(crate) name: String,
}

/// Changes of one table.
pub struct Batch {
    family: Family,
    table: String,
    writer: Writer,
    pub(crate) operations: Vec<Operation>,
    /// Sets made in this batch, which rules and elements of it name by id.
    sets: HashMap<String, u32>,
}

impl Batch {
    pub fn new(family: Family, table: &str) -> Self {
        let mut writer = Writer::default();
        writer.message(BATCH_BEGIN, NLM_F_REQUEST, 0, 0, 10, |_| {});
        Self { family, table: table.into(), writer, operations: Vec::new(), sets: HashMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Bytes so far, for those who keep transactions bounded.
    pub fn len(&self) -> usize {
        self.writer.bytes.len()
    }

    /// With the end mark; sequence numbers count operations from 1.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<Operation>) {
        let sequence = self.operations.len() as u32 + 1;
        self.writer.message(BATCH_END, NLM_F_REQUEST, sequence, 0, 10, |_| {});
        (self.writer.bytes, self.operations)
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        (what, name): (&'static str, &str),
        fill: impl FnOnce(&mut Writer),
    ) {
        self.operations.push(Operation { what, name: name.into() });
        let sequence = self.operations.len() as u32;
        self.writer.message(SUBSYSTEM | kind, NLM_F_REQUEST | flags, sequence, self.family as u8, 0, fill);
    }

    /// Makes the table; one that is there stays as it is.
    pub fn add_table(&mut self) {
        let table = self.table.clone();
        self.message(0, NLM_F_CREATE, ("adding table", &table), |w| {
            w.text(1, &table);
            w.u32(2, 0);
        });
    }

    /// With all that is in it. The table must be there: add it first to be sure.
    pub fn delete_table(&mut self) {
        let table = self.table.clone();
        self.message(2, 0, ("deleting table", &table), |w| w.text(1, &table));
    }

    /// `base` None: a chain that only jumps reach.
    pub fn add_chain(&mut self, name: &str, base: Option<Chain>) {
        let table = self.table.clone();
        self.message(3, NLM_F_CREATE, ("adding chain", name), |w| {
            w.text(1, &table);
            w.text(3, name);
            if let Some(base) = base {
                w.nest(4, |w| {
                    w.u32(1, base.hook as u32);
                    w.u32(2, base.priority as u32);
                });
                w.u32(5, base.policy as u32);
                w.text(7, base.kind);
            }
        });
    }

    pub fn delete_chain(&mut self, name: &str) {
        let table = self.table.clone();
        self.message(5, 0, ("deleting chain", name), |w| {
            w.text(1, &table);
            w.text(3, name);
        });
    }

    /// Removes the chain's rules.
    pub fn flush_chain(&mut self, name: &str) {
        let table = self.table.clone();
        self.message(8, 0, ("emptying chain", name), |w| {
            w.text(1, &table);
            w.text(2, name);
        });
    }

    /// At the chain's end.
    pub fn add_rule(&mut self, chain: &str, rule: &Rule) {
        self.rule(NLM_F_CREATE | NLM_F_APPEND, chain, rule);
    }

    /// Before the chain's other rules.
    pub fn insert_rule(&mut self, chain: &str, rule: &Rule) {
        self.rule(NLM_F_CREATE, chain, rule);
    }

    /// `handle`: see [`crate::Connection::rules`].
    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        let table = self.table.clone();
        self.message(8, 0, ("deleting a rule of", chain), |w| {
            w.text(1, &table);
            w.text(2, chain);
            w.u64(3, handle);
        });
    }

    fn rule(&mut self, flags: u16, chain: &str, rule: &Rule) {
        let table = self.table.clone();
        let sets = std::mem::take(&mut self.sets);
        self.message(6, flags, ("adding a rule to", chain), |w| {
            w.text(1, &table);
            w.text(2, chain);
            w.nest(4, |w| {
                for expression in &rule.expressions {
                    expression.write(w, &|name| sets.get(name).copied());
                }
            });
            if !rule.comment.is_empty() {
                w.raw(7, &comment(&rule.comment));
            }
        });
        self.sets = sets;
    }

    pub fn add_set(&mut self, set: &Set<'_>) {
        let (table, id) = (self.table.clone(), self.sets.len() as u32 + 1);
        self.sets.insert(set.name.into(), id);
        self.message(9, NLM_F_CREATE, ("adding set", set.name), |w| {
            w.text(1, &table);
            w.text(2, set.name);
            w.u32(3, flags(set));
            w.u32(4, kind_of(set.key));
            w.u32(5, length_of(set.key));
            match set.data {
                Data::None => {}
                Data::Verdict => {
                    w.u32(6, 0xffff_ff00);
                    w.u32(7, 0);
                }
                Data::Parts(parts) => {
                    w.u32(6, kind_of(parts));
                    w.u32(7, length_of(parts));
                }
            }
            if set.key.len() > 1 || set.size.is_some() {
                w.nest(9, |w| describe(w, set));
            }
            w.u32(10, id);
            if let Some(timeout) = set.timeout {
                w.u64(11, timeout);
            }
            if !set.comment.is_empty() {
                w.raw(13, &set_comment(set.comment));
            }
        });
    }

    pub fn delete_set(&mut self, name: &str) {
        let table = self.table.clone();
        self.message(11, 0, ("deleting set", name), |w| {
            w.text(1, &table);
            w.text(2, name);
        });
    }

    /// Adds elements; one that is there with the same data stays.
    pub fn add_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(12, NLM_F_CREATE, ("adding elements to", set), elements);
    }

    /// As [`Batch::add_elements`], but an element that is there is an error.
    pub fn create_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(12, NLM_F_CREATE | NLM_F_EXCL, ("creating elements in", set), elements);
    }

    /// Removes elements by their keys; all must be there.
    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(14, 0, ("deleting elements of", set), elements);
    }

    /// Removes all elements.
    pub fn flush_set(&mut self, set: &str) {
        let table = self.table.clone();
        self.message(14, 0, ("emptying set", set), |w| {
            w.text(1, &table);
            w.text(2, set);
        });
    }

    fn elements(&mut self, kind: u16, flags: u16, operation: (&'static str, &str), elements: &[Element]) {
        let (table, id, mut rest) = (self.table.clone(), self.sets.get(operation.1).copied(), elements);
        while !rest.is_empty() {
            let mut taken = 0;
            self.message(kind, flags, operation, |w| {
                w.text(1, &table);
                w.text(2, operation.1);
                if let Some(id) = id {
                    w.u32(4, id);
                }
                w.nest(3, |w| {
                    let start = w.bytes.len();
                    while taken < rest.len() && w.bytes.len() - start < ELEMENTS_LIMIT {
                        element(w, &rest[taken]);
                        taken += 1;
                    }
                });
            });
            rest = &rest[taken..];
        }
    }
}

fn flags(set: &Set<'_>) -> u32 {
    let map = if set.data == Data::None { 0 } else { 8 };
    let interval = if set.interval { 4 } else { 0 };
    let timeout = if set.timeout.is_some() { 16 } else { 0 };
    let dynamic = if set.dynamic { 32 } else { 0 };
    let concat = if set.key.len() > 1 { 128 } else { 0 };
    map | interval | timeout | dynamic | concat
}

/// How many elements there may be, and the lengths of a concatenation's parts.
fn describe(w: &mut Writer, set: &Set<'_>) {
    if let Some(size) = set.size {
        w.u32(1, size);
    }
    if set.key.len() > 1 {
        w.nest(2, |w| {
            for part in set.key {
                w.nest(1, |w| w.u32(1, length_of(&[*part])));
            }
        });
    }
}

fn element(w: &mut Writer, element: &Element) {
    w.nest(1, |w| {
        w.nest(1, |w| w.raw(1, element.key.as_bytes()));
        match &element.value {
            Value::None => {}
            Value::Verdict(verdict) => w.nest(2, |w| verdict.write(w, 2)),
            Value::Data(data) => w.nest(2, |w| w.raw(1, data.as_bytes())),
        }
        if element.end {
            w.u32(3, 1);
        }
        if let Some(life) = element.life {
            if let Some(whole) = life.whole {
                w.raw(4, &whole.to_be_bytes());
            }
            w.raw(5, &life.left.to_be_bytes());
        }
        if let Some(last) = &element.last {
            w.nest(10, |w| w.raw(1, last.as_bytes()));
        }
    });
}

/// `nft`'s own way of keeping a comment: type, length, text and a zero. Longer ones are cut at what it can show.
fn user_data(kind: u8, text: &str) -> Vec<u8> {
    let mut end = text.len().min(120);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = vec![kind, end as u8 + 1];
    bytes.extend_from_slice(&text.as_bytes()[..end]);
    bytes.push(0);
    bytes
}

fn comment(text: &str) -> Vec<u8> {
    user_data(0, text)
}

/// NFTNL_UDATA_SET_COMMENT.
fn set_comment(text: &str) -> Vec<u8> {
    user_data(7, text)
}
