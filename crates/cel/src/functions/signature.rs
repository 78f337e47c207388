//! Signatures as text: `(list(A), A) bool`, `string.(int) string`.

use super::Overload;
use crate::types::{Opaque, Type};

/// None for a text that is no signature; a test reads them all.
pub(super) fn parse(id: &'static str, text: &str) -> Option<Overload> {
    let open = find_open(text)?;
    let (receiver, rest) = text.split_at(open);
    let mut reader = Reader { rest };
    let mut params = Vec::new();
    let member = !receiver.is_empty();
    if member {
        params.push(Reader { rest: receiver.strip_suffix('.')? }.whole()?);
    }
    reader.sign("(")?;
    while reader.sign(")").is_none() {
        params.push(reader.one()?);
        let _ = reader.sign(",");
    }
    let result = reader.whole()?;
    let free = params.iter().chain([&result]).map(highest).max().unwrap_or(0);
    Some(Overload { id, member, params, result, free })
}

/// Where the parameters begin: at the start, or after the receiver's dot.
fn find_open(text: &str) -> Option<usize> {
    if text.starts_with('(') { Some(0) } else { text.find(".(").map(|at| at + 1) }
}

/// One more than the highest type parameter.
fn highest(of: &Type) -> u32 {
    match of {
        Type::Param(n) => n + 1,
        Type::List(of) | Type::Optional(of) | Type::Type(of) => highest(of),
        Type::Map(of) => highest(&of.0).max(highest(&of.1)),
        _ => 0,
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn sign(&mut self, sign: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(sign)?;
        Some(())
    }

    fn word(&mut self) -> &'t str {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        self.rest = &text[end..];
        &text[..end]
    }

    fn whole(&mut self) -> Option<Type> {
        let found = self.one()?;
        self.rest.trim().is_empty().then_some(found)
    }

    fn inner(&mut self) -> Option<Type> {
        self.sign("(")?;
        let of = self.one()?;
        self.sign(")")?;
        Some(of)
    }

    fn one(&mut self) -> Option<Type> {
        Some(match self.word() {
            "dyn" => Type::Dyn,
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "list" => Type::list(self.inner()?),
            "optional" => Type::optional(self.inner()?),
            "type" => Type::type_of(self.inner()?),
            "map" => {
                self.sign("(")?;
                let key = self.one()?;
                self.sign(",")?;
                let value = self.one()?;
                self.sign(")")?;
                Type::map(key, value)
            }
            "A" | "K" | "T" => Type::Param(0),
            "B" | "V" => Type::Param(1),
            word => Type::Opaque(opaque(word)?),
        })
    }
}

fn opaque(word: &str) -> Option<Opaque> {
    Some(match word {
        "Quantity" => Opaque::Quantity,
        "Url" => Opaque::Url,
        "Ip" => Opaque::Ip,
        "Cidr" => Opaque::Cidr,
        "Semver" => Opaque::Semver,
        "Format" => Opaque::Format,
        "Authorizer" => Opaque::Authorizer,
        "PathCheck" => Opaque::PathCheck,
        "GroupCheck" => Opaque::GroupCheck,
        "ResourceCheck" => Opaque::ResourceCheck,
        "Decision" => Opaque::Decision,
        _ => return None,
    })
}
