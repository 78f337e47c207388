//! Which rule a call's cost follows.

/// How the cost of a call grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    One,
    /// An authorizer's decision.
    Check,
    /// Parsing of a field or label selector, the second argument.
    Selector,
    /// Going through the first argument with all that is in it.
    Traverse,
    /// Going through a text once: the argument's number.
    Scan(usize),
    /// Going through the first argument twice.
    ScanTwice,
    /// Twice the result.
    Join,
    /// A pattern over a text.
    Pattern,
    /// A text in a text.
    Contains,
    /// As many as the second argument has elements.
    InList,
    /// The shorter of two.
    Compare,
    /// Both together.
    Concat,
    ContainsIp {
        parse: bool,
    },
    ContainsCidr {
        parse: bool,
    },
    /// A named format over the second argument.
    Validate,
    Equal,
    /// m times n, so many times.
    Sets(u64),
    /// The size of the result, and a list.
    ListResult,
    Flatten,
    /// Every item of this argument against every other, and a list.
    SelfCompare(usize),
}

impl Rule {
    /// By the function, and by its overload where only one can apply.
    pub fn of(function: &str, overload: Option<&str>) -> Self {
        Self::of_overload(overload.unwrap_or_default())
            .or_else(|| Self::of_function(function, overload.unwrap_or_default()))
            .unwrap_or(Self::One)
    }

    /// Rules of cel-go's extensions, which come first.
    fn of_overload(overload: &str) -> Option<Self> {
        Some(match overload {
            "list_slice" | "lists_range" | "list_reverse" => Self::ListResult,
            "list_flatten" | "list_flatten_int" => Self::Flatten,
            "list_distinct" => Self::SelfCompare(0),
            "list_sets_contains_list" | "list_sets_intersects_list" => Self::Sets(1),
            "list_sets_equivalent_list" => Self::Sets(2),
            _ if overload.ends_with("_sort") => Self::SelfCompare(0),
            _ if overload.ends_with("_sortByAssociatedKeys") => Self::SelfCompare(1),
            _ => return None,
        })
    }

    fn of_function(function: &str, overload: &str) -> Option<Self> {
        Some(match function {
            "check" => Self::Check,
            "fieldSelector" | "labelSelector" => Self::Selector,
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => Self::Traverse,
            "url"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "jsonpatch.escapeKey"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver" => Self::Scan(0),
            "ip" if overload != "cidr_ip" => Self::Scan(0),
            "replace" | "split" | "ip.isCanonical" => Self::ScanTwice,
            "join" => Self::Join,
            "find" | "findAll" => Self::Pattern,
            "containsIP" => Self::ContainsIp { parse: overload == "cidr_contains_ip_string" },
            "containsCIDR" => Self::ContainsCidr { parse: overload == "cidr_contains_cidr_string" },
            "validate" => Self::Validate,
            "_==_" => Self::Equal,
            "_!=_" => Self::Compare,
            _ => return Self::of_standard(overload),
        })
    }

    fn of_standard(overload: &str) -> Option<Self> {
        Some(match overload {
            "starts_with_string" | "ends_with_string" => Self::Scan(1),
            "string_to_bytes" | "bytes_to_string" | "strings_quote" | "string_format" => Self::Scan(0),
            "in_list" => Self::InList,
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes" => Self::Compare,
            "add_string" | "add_bytes" => Self::Concat,
            "matches" | "matches_string" => Self::Pattern,
            "contains_string" => Self::Contains,
            _ => return None,
        })
    }
}
