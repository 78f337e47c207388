//! Label selectors of objects (`matchLabels`, `matchExpressions`, or the plain map of older kinds) on [`StringMap`]s.

use compact_str::CompactString;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::meta::StringMap;

/// `operator` of a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// One of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Requirement {
    pub key: CompactString,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<CompactString>,
}

impl Requirement {
    pub fn matches(&self, labels: &StringMap) -> bool {
        let value = labels.get(&self.key);
        let listed = || value.is_some_and(|v| self.values.iter().any(|known| known == v));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// A selector; the empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    #[serde(skip_serializing_if = "StringMap::is_empty")]
    pub match_labels: StringMap,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

impl LabelSelector {
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    pub fn matches(&self, labels: &StringMap) -> bool {
        self.match_labels.is_subset_of(labels) && self.match_expressions.iter().all(|r| r.matches(labels))
    }
}

impl From<StringMap> for LabelSelector {
    fn from(match_labels: StringMap) -> Self {
        Self { match_labels, match_expressions: Vec::new() }
    }
}

/// What stands under a key: the parts of a selector, or a label's value.
enum Part {
    Text(CompactString),
    Labels(StringMap),
    Expressions(Vec<Requirement>),
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Part;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a label's value, matchLabels or matchExpressions")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Part, E> {
                Ok(Part::Text(text.into()))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Part, E> {
                Ok(Part::Expressions(Vec::new()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
                StringMap::deserialize(de::value::MapAccessDeserializer::new(map)).map(Part::Labels)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Part, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Part::Expressions)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for LabelSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = LabelSelector;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a label selector")
            }
            fn visit_unit<E: de::Error>(self) -> Result<LabelSelector, E> {
                Ok(LabelSelector::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelSelector, A::Error> {
                let (mut selector, mut plain) = (LabelSelector::default(), Vec::new());
                while let Some((key, part)) = map.next_entry::<CompactString, Part>()? {
                    match part {
                        Part::Text(value) => plain.push((key, value)),
                        Part::Labels(labels) => selector.match_labels = labels,
                        Part::Expressions(list) => selector.match_expressions = list,
                    }
                }
                if !plain.is_empty() {
                    selector.match_labels = plain.into_iter().collect();
                }
                Ok(selector)
            }
        }
        deserializer.deserialize_any(Parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> StringMap {
        pairs.iter().copied().collect()
    }

    #[test]
    fn both_forms_are_read_and_match() {
        let full: LabelSelector = serde_json::from_str(
            r#"{"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"NotIn","values":["x"]},{"key":"c","operator":"Exists"}]}"#,
        )
        .unwrap();
        for (pairs, expected) in [
            (&[("a", "1"), ("c", "")][..], true),
            (&[("a", "1"), ("b", "x"), ("c", "")], false),
            (&[("a", "1")], false),
            (&[("a", "2"), ("c", "")], false),
        ] {
            assert_eq!(full.matches(&labels(pairs)), expected, "{pairs:?}");
        }
        let plain: LabelSelector = serde_json::from_str(r#"{"app":"x"}"#).unwrap();
        assert_eq!(plain, LabelSelector::from(labels(&[("app", "x")])));
    }
}
