//! What the rules of a definition may cost at most, in upstream's units and words.

use api::Value;
use apimachinery::field::{Error, ErrorList, Path};

use crate::crd::structural::{Additional, additional};

/// Of one expression, times as often as its place can occur.
pub const EXPRESSION: u64 = 10_000_000;
/// Of all expressions of a schema.
const DEFINITION: u64 = 100_000_000;
const MAX_REQUEST: u64 = 3 * 1024 * 1024;
/// The most expensive rules that an error names.
const NAMED: usize = 4;

/// How often a place can occur in one object; None: no limit in the schema says.
#[derive(Clone, Copy, Debug)]
pub struct Cardinality(Option<u64>);

impl Cardinality {
    pub const ROOT: Self = Self(Some(1));

    /// Of what is directly below a place with this schema.
    pub fn below(self, schema: &Value) -> Self {
        let limit = |key: &str| schema.int_at(&[key]).map(|n| u64::try_from(n).unwrap_or(0));
        let factor = match schema.str_at(&["type"]) {
            "object" if !matches!(additional(schema), Additional::None) => limit("maxProperties"),
            "array" => limit("maxItems"),
            _ => Some(1),
        };
        Self(self.0.zip(factor).map(|(here, factor)| here.saturating_mul(factor)))
    }

    /// The worst cost of an expression at a place whose values take `least` bytes.
    pub fn cost(self, of_one: u64, least: u64) -> u64 {
        let times = self.0.unwrap_or(MAX_REQUEST / (least + 1));
        of_one.saturating_mul(times)
    }
}

/// The costs of all expressions of one schema.
#[derive(Debug, Default)]
pub struct Total {
    sum: u64,
    expensive: Vec<(u64, Path)>,
}

impl Total {
    pub fn add(&mut self, path: Path, cost: u64) {
        self.sum = self.sum.saturating_add(cost);
        if cost < DEFINITION / 100 {
            return;
        }
        self.expensive.push((cost, path));
        self.expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.expensive.truncate(NAMED);
    }

    /// The refusal of a schema whose rules cost too much together.
    pub fn check(self, schema: &Path, errors: &mut ErrorList) {
        if self.sum <= DEFINITION {
            return;
        }
        for (_, path) in &self.expensive {
            let why =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.push(Error::forbidden(path, why));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(Error::forbidden(schema, exceeds(what, self.sum, DEFINITION)));
    }
}

/// The words of a refusal for cost.
pub fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_multiply() {
        let list = |max: Option<i64>| match max {
            Some(max) => api::value!({"type": "array", "maxItems": max}),
            None => api::value!({"type": "array"}),
        };
        let ten = Cardinality::ROOT.below(&list(Some(10)));
        assert_eq!(ten.cost(5, 100), 50);
        assert_eq!(ten.below(&list(Some(10))).cost(5, 100), 500);
        assert_eq!(ten.below(&list(None)).cost(1, 2), 1024 * 1024);
        assert_eq!(Cardinality::ROOT.below(&api::value!({"type": "object"})).cost(5, 1), 5);
    }

    #[test]
    fn factors() {
        let factor = |cost: u64| exceeds("x", cost, 100).split(' ').nth(6).unwrap_or_default().to_owned();
        assert_eq!(factor(120), "1.200000x");
        assert_eq!(factor(250), "2.5x");
        assert!(exceeds("x", 10_001, 100).contains("factor of more than 100x ("));
    }
}
