//! What a call can cost, by what is known of its arguments.

use super::estimate::Place;
use super::range::Range;
use super::{LIST, STRUCT};
use crate::types::{Opaque, Type};
use crate::value::Value;

/// An argument.
pub(super) struct Node<'e> {
    pub of: &'e Type,
    pub place: Option<Place<'e>>,
    /// What the expression itself tells of it.
    pub size: Option<Range>,
    pub literal: Option<&'e Value<'static>>,
}

impl Node<'_> {
    fn size(&self) -> Range {
        self.size.or_else(|| self.place.and_then(Place::size)).unwrap_or(Range::UNKNOWN)
    }

    fn int(&self, otherwise: u64) -> u64 {
        match self.literal {
            Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(0),
            _ => otherwise,
        }
    }
}

/// A call of one overload.
pub(super) struct Called<'c, 'e> {
    pub function: &'static str,
    pub overload: &'static str,
    pub target: Option<&'c Node<'e>>,
    pub args: &'c [Node<'e>],
}

/// The cost, and the size of the result where it is known.
type Judged = (Range, Option<Range>);

const fn alone(cost: Range) -> Judged {
    (cost, None)
}

impl Called<'_, '_> {
    pub fn cost(&self) -> Judged {
        self.of_extension().or_else(|| self.of_kubernetes()).unwrap_or_else(|| self.of_standard())
    }

    fn arg(&self, at: usize) -> Option<Range> {
        self.args.get(at).map(Node::size)
    }

    fn target(&self) -> Option<Range> {
        self.target.map(Node::size)
    }

    /// cel-go's lists and sets.
    fn of_extension(&self) -> Option<Judged> {
        let list = |factor: f64, size: Range| (size.scaled(factor).plus(Range::fixed(1 + LIST)), Some(size));
        let id = self.overload;
        Some(match id {
            "list_slice" => {
                let start = self.args.first()?.int(0);
                let end = self.args.get(1)?.int(self.target()?.max);
                list(1.0, Range::fixed(end.wrapping_sub(start)))
            }
            "lists_range" => list(1.0, Range::fixed(self.args.first()?.int(u64::MAX))),
            "list_reverse" => list(1.0, self.target()?),
            "list_flatten" => list(1.0, self.target()?),
            "list_flatten_int" => list(self.args.first()?.int(u64::MAX) as f64, self.target()?),
            "list_distinct" => list(2.0, self.target()?.times(self.target()?)),
            "list_sets_contains_list" | "list_sets_intersects_list" | "list_sets_equivalent_list" => {
                let factor = if id == "list_sets_equivalent_list" { 2.0 } else { 1.0 };
                alone(self.arg(0)?.times(self.arg(1)?).scaled(factor).plus(Range::ONE))
            }
            _ if id.ends_with("_sort") => self.sorted(self.target()?, "_sort"),
            _ if id.ends_with("_sortByAssociatedKeys") => self.sorted(self.arg(0)?, "_sortByAssociatedKeys"),
            _ => return None,
        })
    }

    fn sorted(&self, size: Range, suffix: &str) -> Judged {
        let of = self.overload.trim_start_matches("list_").trim_end_matches(suffix);
        let factor = if matches!(of, "string" | "bytes") { 2.1 } else { 2.0 };
        let pairs = size.times(size);
        (pairs.scaled(factor).plus(Range::fixed(1 + LIST)), Some(pairs))
    }

    /// Kubernetes' libraries, and the text functions that it reckons itself.
    fn of_kubernetes(&self) -> Option<Judged> {
        let scanned = |size: Range| (size.scanned(), Some(size));
        Some(match self.function {
            "check" => alone(Range::fixed(350_000)),
            "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name"
            | "allowed" | "reason" | "error" | "errored" => alone(Range::ONE),
            "fieldSelector" | "labelSelector" => alone(selector(self.arg(0)?)),
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
                alone(self.traverse()?)
            }
            "url" | "jsonpatch.escapeKey" => scanned(self.arg(0)?),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => scanned(self.target()?),
            "replace" => self.replace()?,
            "split" => {
                let size = self.target()?;
                let most = self.args.get(1).map_or(size.max, |limit| match limit.literal {
                    Some(Value::Int(n)) => n.cast_unsigned(),
                    _ => size.max,
                });
                (size.scaled(0.2), Some(Range::of(0, most)))
            }
            "join" => self.join()?,
            "find" | "findAll" => {
                let text = self.target()?;
                (pattern(text, self.arg(0)?), Some(Range::of(0, text.max)))
            }
            _ => return self.of_network(),
        })
    }

    fn of_network(&self) -> Option<Judged> {
        let address = Range::of(4, 16);
        let compared = address.plus(address).scanned();
        let parsed =
            |id: &str| if self.overload == id { self.arg(0).map(Range::scanned) } else { Some(Range::ZERO) };
        Some(alone(match self.function {
            "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                self.arg(0)?.scanned()
            }
            "ip" if self.overload == "cidr_ip" => Range::ONE,
            "ip" => self.arg(0)?.scanned(),
            "ip.isCanonical" => self.arg(0)?.scaled(0.2),
            "containsIP" => compared.plus(parsed("cidr_contains_ip_string")?),
            "containsCIDR" => {
                compared.plus(address.scanned()).plus(Range::ONE).plus(parsed("cidr_contains_cidr_string")?)
            }
            "validate" => self.arg(0)?.scanned().scaled(128.0 * 0.25),
            "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery" => Range::ONE,
            "_==_" => self.equal_specials()?,
            _ => return None,
        }))
    }

    /// One for every item of a list, and what going through its text costs.
    fn traverse(&self) -> Option<Range> {
        let target = self.target?;
        let of = match target.of {
            Type::List(of) => &**of,
            Type::Map(of) => &of.0,
            Type::Optional(of) => &**of,
            _ if self.function == "includes" => return Some(target.size()),
            _ => return Some(target.size().scanned()),
        };
        let mut each = Range::ONE;
        if matches!(of, Type::String | Type::Bytes) {
            let size = target.place.map(Place::element).and_then(Place::size).unwrap_or(Range::UNKNOWN);
            each = each.plus(size.scanned());
        }
        Some(target.size().times(each))
    }

    /// How often the longest replacement can take the place of the shortest text, and the other way round.
    fn replace(&self) -> Option<Judged> {
        let (size, old, new) = (self.target()?, self.arg(0)?, self.arg(1)?);
        let (mut count, mut kept) = (Range::ZERO, Range::ZERO);
        let times = |of: u64, by: u64| (of as f64 / by as f64).ceil() as u64;
        if old.min == 0 {
            (count.max, kept.max) = (size.max.saturating_add(1), size.max);
        } else if new.max <= old.min {
            kept.max = size.max;
        } else {
            count.max = times(size.max, old.min);
        }
        if old.max == 0 {
            (count.min, kept.min) = (size.min.saturating_add(1), size.min);
        } else if old.max <= new.min {
            kept.min = size.min;
        } else {
            count.min = times(size.min, old.max);
        }
        Some((size.scaled(0.2), Some(count.times(new).plus(kept))))
    }

    fn join(&self) -> Option<Judged> {
        let target = self.target?;
        let list = target.size();
        let item = target.place.map(Place::element).and_then(Place::size).unwrap_or(Range::UNKNOWN);
        let mut size = if matches!(target.of, Type::List(_)) { list.times(item) } else { Range::ZERO };
        if let Some(between) = self.arg(0) {
            let gaps = Range::of(list.min.saturating_sub(1), list.max.saturating_sub(1));
            size = size.plus(between.times(gaps));
        }
        Some((size.scanned(), Some(size)))
    }

    fn equal_specials(&self) -> Option<Range> {
        let [a, b] = self.args else { return None };
        let (Type::Opaque(of), Type::Opaque(other)) = (a.of, b.of) else { return None };
        if of != other {
            return None;
        }
        Some(match of {
            Opaque::Format => Range::of(1, 64).scanned(),
            Opaque::Url => Range::of(1, b.size.map_or(1, |size| size.max)).scanned(),
            _ => Range::ONE,
        })
    }

    fn of_standard(&self) -> Judged {
        let known = |size: Option<&Node<'_>>| size.and_then(|node| node.size).unwrap_or(Range::UNKNOWN);
        let (first, second) = (known(self.args.first()), known(self.args.get(1)));
        let target = known(self.target);
        match self.overload {
            "string_format" => alone(target.scanned()),
            "string_to_bytes" => (first.scanned(), Some(Range::of(first.min, first.max.wrapping_mul(4)))),
            "bytes_to_string" => (first.scanned(), Some(Range::of(first.min / 4, first.max))),
            "strings_quote" => {
                let size = Range::of(first.min.wrapping_add(2), first.max.wrapping_mul(2).wrapping_add(2));
                (first.scanned(), Some(size))
            }
            "starts_with_string" | "ends_with_string" => alone(first.scanned()),
            "in_list" => alone(second.scaled(1.0)),
            "matches_string" => alone(pattern(target, first)),
            "matches" => alone(pattern(first, second)),
            "contains_string" => alone(target.scanned().times(first.scanned())),
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals" => {
                let most = first.max.min(second.max);
                alone(Range::of(u64::from(most > 0), most).scanned())
            }
            _ => alone(Range::ONE),
        }
    }
}

fn pattern(text: Range, pattern: Range) -> Range {
    text.plus(Range::ONE).scanned().times(pattern.scaled(0.25))
}

fn selector(length: Range) -> Range {
    let requirements = length.scaled(0.5).scaled((LIST + STRUCT) as f64);
    Range::fixed(LIST).plus(length.scanned()).plus(requirements)
}
