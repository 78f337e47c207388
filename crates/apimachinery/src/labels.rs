//! Label selectors: the text form of queries, the structured form of objects, and matching.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field::{Error, ErrorList, Path};
use crate::names;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted.
    pub values: Vec<String>,
}

/// All requirements must hold; none selects everything. [`Selector::nothing`] selects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// In upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

fn bad(text: String) -> SelectorError {
    SelectorError(text)
}

/// `LabelSelector` of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<std::collections::BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_expressions: Option<Vec<Expression>>,
}

/// `LabelSelectorRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expression {
    pub key: String,
    pub operator: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

impl Requirement {
    /// Checked as upstream's `NewRequirement` does.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let mut errors = ErrorList::new();
        let root = Path::default();
        let text = names::qualified_name(key);
        if !text.is_empty() {
            errors.push(Error::invalid(&root.child("key"), key, text.join("; ")));
        }
        let at = root.child("values");
        let shown = ShownList(&values);
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                errors.push(Error::invalid(
                    &at,
                    &shown,
                    "for 'in', 'notin' operators, values set can't be empty",
                ));
            }
            Operator::Equals | Operator::NotEquals if values.len() != 1 => {
                errors.push(Error::invalid(
                    &at,
                    &shown,
                    "exact-match compatibility requires one single value",
                ));
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                errors.push(Error::invalid(
                    &at,
                    &shown,
                    "values set must be empty for exists and does not exist",
                ));
            }
            Operator::GreaterThan | Operator::LessThan => {
                errors.extend(check_number(&at, &values, &shown));
            }
            _ => {}
        }
        for (i, value) in values.iter().enumerate() {
            let text = names::label_value(value);
            if !text.is_empty() {
                errors.push(Error::invalid(&at.index(i).key(key), value, text.join("; ")));
            }
        }
        match errors.len() {
            0 => Ok(Self { key: key.to_owned(), operator, values }),
            1 => Err(bad(errors[0].to_string())),
            _ => {
                let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Err(bad(format!("[{}]", list.join(", "))))
            }
        }
    }

    /// `value` is that of the label `key`, if there is one.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let has = |v: &str| self.values.iter().any(|x| x == v);
        match self.operator {
            Operator::In | Operator::Equals => value.is_some_and(has),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(has),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let number = value.and_then(|v| v.parse::<i64>().ok());
                let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
                let greater = self.operator == Operator::GreaterThan;
                number.zip(bound).is_some_and(|(n, b)| if greater { n > b } else { n < b })
            }
        }
    }
}

struct ShownList<'a>(&'a [String]);

impl crate::field::Shown for ShownList<'_> {
    fn shown(&self) -> String {
        serde_json::to_string(self.0).unwrap_or_default()
    }
}

fn check_number(at: &Path, values: &[String], shown: &ShownList<'_>) -> ErrorList {
    if values.len() != 1 {
        return vec![Error::invalid(at, shown, "for 'Gt', 'Lt' operators, exactly one value is required")];
    }
    let text = "for 'Gt', 'Lt' operators, the value must be an integer";
    let wrong = values[0].parse::<i64>().is_err();
    wrong.then(|| Error::invalid(&at.index(0), &values[0], text)).into_iter().collect()
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={list}"),
            Operator::NotEquals => write!(f, "{key}!={list}"),
            Operator::In => write!(f, "{key} in ({list})"),
            Operator::NotIn => write!(f, "{key} notin ({list})"),
            Operator::GreaterThan => write!(f, "{key}>{list}"),
            Operator::LessThan => write!(f, "{key}<{list}"),
        }
    }
}

impl Selector {
    pub const fn everything() -> Self {
        Self { requirements: Vec::new(), nothing: false }
    }

    pub const fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    pub fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// All of these labels with these values, unchecked, as services and controllers of v1 select.
    pub fn of_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let one = |(k, v): (&str, &str)| Requirement {
            key: k.to_owned(),
            operator: Operator::Equals,
            values: vec![v.to_owned()],
        };
        Self::of(pairs.into_iter().map(one).collect())
    }

    /// The text form: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Parser { items: scan(text), at: 0 }.parse().map(Self::of)
    }

    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// `label` gives the value of a label, if there is one: matches whatever keeps its labels in any way.
    pub fn matches<'a>(&self, mut label: impl FnMut(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }

    /// The value that a label must have to match, where one alone can.
    pub fn exact(&self, key: &str) -> Option<&str> {
        let single = |r: &&Requirement| {
            r.key == key && matches!(r.operator, Operator::Equals | Operator::In) && r.values.len() == 1
        };
        self.requirements.iter().find(single).map(|r| r.values[0].as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.requirements.iter().map(ToString::to_string).collect();
        f.write_str(&list.join(","))
    }
}

impl LabelSelector {
    /// An empty selector selects everything (a missing one, nothing: that is the caller's).
    pub fn selector(&self) -> Result<Selector, SelectorError> {
        let mut out = Vec::new();
        for (key, value) in self.match_labels.iter().flatten() {
            out.push(
                Requirement::new(key, Operator::In, vec![value.clone()])
                    .map(|r| Requirement { operator: Operator::Equals, ..r })?,
            );
        }
        for e in self.match_expressions.iter().flatten() {
            let operator = match e.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(bad(format!("{other:?} is not a valid label selector operator"))),
            };
            let mut values = e.values.clone().unwrap_or_default();
            values.sort();
            out.push(Requirement::new(&e.key, operator, values)?);
        }
        Ok(Selector::of(out))
    }

    /// `allow_invalid_values`: an old object has them already.
    pub fn validate(&self, field: &Path, allow_invalid_values: bool) -> ErrorList {
        let mut out = ErrorList::new();
        let labels = field.child("matchLabels");
        for (key, value) in self.match_labels.iter().flatten() {
            out.extend(names::qualified_name(key).into_iter().map(|m| Error::invalid(&labels, key, m)));
            out.extend(names::label_value(value).into_iter().map(|m| Error::invalid(&labels, value, m)));
        }
        for (i, e) in self.match_expressions.iter().flatten().enumerate() {
            out.extend(e.validate(&field.child("matchExpressions").index(i), allow_invalid_values));
        }
        out
    }
}

impl Expression {
    fn validate(&self, field: &Path, allow_invalid_values: bool) -> ErrorList {
        let mut out = ErrorList::new();
        let values = self.values.as_deref().unwrap_or_default();
        match self.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                let text = "must be specified when `operator` is 'In' or 'NotIn'";
                out.push(Error::required(&field.child("values"), text));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                out.push(Error::forbidden(&field.child("values"), text));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                out.push(Error::invalid(&field.child("operator"), other, "not a valid selector operator"))
            }
        }
        let key = field.child("key");
        out.extend(names::qualified_name(&self.key).into_iter().map(|m| Error::invalid(&key, &self.key, m)));
        for (i, value) in values.iter().enumerate().filter(|_| !allow_invalid_values) {
            let at = field.child("values").index(i);
            out.extend(names::label_value(value).into_iter().map(|m| Error::invalid(&at, value, m)));
        }
        out
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
    End,
    Error,
}

const SYMBOLS: &[(&str, Token)] = &[
    (")", Token::Close),
    (",", Token::Comma),
    ("!", Token::Not),
    ("==", Token::DoubleEquals),
    ("=", Token::Equals),
    (">", Token::Greater),
    ("<", Token::Less),
    ("!=", Token::NotEquals),
    ("(", Token::Open),
];

fn is_symbol(c: u8) -> bool {
    b"=!(),><".contains(&c)
}

fn is_space(c: u8) -> bool {
    b" \t\r\n".contains(&c)
}

/// Tokens and their texts; ends with `End`.
fn scan(text: &str) -> Vec<(Token, String)> {
    let b = text.as_bytes();
    let (mut at, mut out) = (0, Vec::new());
    while at < b.len() {
        if is_space(b[at]) {
            at += 1;
        } else if is_symbol(b[at]) {
            let two = text.get(at..at + 2).and_then(|t| SYMBOLS.iter().find(|(s, _)| *s == t));
            let one = || text.get(at..at + 1).and_then(|t| SYMBOLS.iter().find(|(s, _)| *s == t));
            let (symbol, token) = two.or_else(one).copied().unwrap_or(("", Token::Error));
            out.push((token, symbol.to_owned()));
            at += symbol.len().max(1);
        } else {
            let end = b[at..].iter().position(|c| is_symbol(*c) || is_space(*c)).map_or(b.len(), |n| at + n);
            let word = &text[at..end];
            let token = match word {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            };
            out.push((token, word.to_owned()));
            at = end;
        }
    }
    out.push((Token::End, String::new()));
    out
}

struct Parser {
    items: Vec<(Token, String)>,
    at: usize,
}

impl Parser {
    /// The next token; where values may stand, keywords are values.
    fn peek(&self, values: bool) -> (Token, &str) {
        let (token, text) = self.items.get(self.at).map_or((Token::End, ""), |(t, s)| (*t, s.as_str()));
        if values && matches!(token, Token::In | Token::NotIn) {
            (Token::Identifier, text)
        } else {
            (token, text)
        }
    }

    fn next(&mut self, values: bool) -> (Token, String) {
        let (token, text) = self.peek(values);
        let out = (token, text.to_owned());
        self.at += 1;
        out
    }

    fn parse(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut out = Vec::new();
        loop {
            match self.peek(true) {
                (Token::Identifier | Token::Not, _) => {
                    let one = self.requirement();
                    out.push(one.map_err(|e| bad(format!("unable to parse requirement: {e}")))?);
                }
                (Token::End, _) => return Ok(out),
                (_, text) => {
                    return Err(bad(format!("found '{text}', expected: !, identifier, or 'end of string'")));
                }
            }
            match self.next(true) {
                (Token::End, _) => return Ok(out),
                (Token::Comma, _) => {
                    let (token, text) = self.peek(true);
                    if !matches!(token, Token::Identifier | Token::Not) {
                        return Err(bad(format!("found '{text}', expected: identifier after ','")));
                    }
                }
                (_, text) => return Err(bad(format!("found '{text}', expected: ',' or 'end of string'"))),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (mut token, mut key) = self.next(true);
        let absent = token == Token::Not;
        if absent {
            (token, key) = self.next(true);
        }
        if token != Token::Identifier {
            return Err(bad(format!("found '{key}', expected: identifier")));
        }
        let text = names::qualified_name(&key);
        if !text.is_empty() {
            let error = Error::invalid(&Path::default(), &key, text.join("; "));
            return Err(bad(error.to_string()));
        }
        if absent {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(true).0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact()?],
        };
        values.sort();
        values.dedup();
        Requirement::new(&key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let (token, text) = self.next(false);
        Ok(match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals | Token::DoubleEquals => Operator::Equals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return Err(bad(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt"))),
        })
    }

    fn exact(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek(true).0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next(true) {
            (Token::Identifier, text) => Ok(text),
            (_, text) => Err(bad(format!("found '{text}', expected: identifier"))),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        let (token, text) = self.next(true);
        if token != Token::Open {
            return Err(bad(format!("found '{text}' expected: '('")));
        }
        match self.peek(true) {
            (Token::Close, _) => {
                self.at += 1;
                Ok(vec![String::new()])
            }
            (Token::Identifier | Token::Comma, _) => self.list(),
            (_, text) => Err(bad(format!("found '{text}', expected: ',', ')' or identifier"))),
        }
    }

    /// Identifiers up to the closing parenthesis; empty places are empty values.
    fn list(&mut self) -> Result<Vec<String>, SelectorError> {
        let mut out = Vec::new();
        loop {
            match self.next(true) {
                (Token::Identifier, text) => {
                    out.push(text);
                    match self.peek(true) {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, text) => return Err(bad(format!("found '{text}', expected: ',' or ')'"))),
                    }
                }
                (Token::Comma, _) => {
                    if out.is_empty() {
                        out.push(String::new());
                    }
                    match self.peek(true).0 {
                        Token::Close => {
                            out.push(String::new());
                            break;
                        }
                        Token::Comma => out.push(String::new()),
                        _ => {}
                    }
                }
                (_, text) => return Err(bad(format!("found '{text}', expected: ',', or identifier"))),
            }
        }
        self.at += 1;
        Ok(out)
    }
}

/// Labels of an object that they come with: every key and value well-formed.
pub fn validate<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>, field: &Path) -> ErrorList {
    let mut out = ErrorList::new();
    for (key, value) in labels {
        out.extend(names::qualified_name(key).into_iter().map(|m| Error::invalid(field, key, m)));
        out.extend(names::label_value(value).into_iter().map(|m| Error::invalid(field, value, m)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let selector = Selector::parse(selector).unwrap();
        selector.matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
    }

    #[test]
    fn selectors_match() {
        let labels = [("a", "1"), ("e", "x"), ("in", "notin")];
        for good in [
            "",
            "a=1",
            "a==1",
            "a",
            "!b",
            "b!=1",
            "e in (x,y)",
            "e notin (z)",
            "a>0",
            "a<2,a",
            "in=notin",
            "b notin (q)",
            "in in (notin)",
            "b!=",
        ] {
            assert!(matches(good, &labels), "{good}");
        }
        for bad in ["a=2", "b", "!a", "a!=1", "e in (y)", "e notin (x)", "a>1", "b in (x)", "a=", "e in ()"] {
            assert!(!matches(bad, &labels), "{bad}");
        }
        assert!(!Selector::nothing().matches(|_| None));
    }

    #[test]
    fn texts_and_errors_are_upstreams() {
        let shown = |t: &str| Selector::parse(t).map_or_else(|e| format!("! {e}"), |s| s.to_string());
        assert_eq!(shown("b==c, a in (y , x),!d"), "a in (x,y),b=c,!d");
        assert_eq!(shown("a,"), "! found '', expected: identifier after ','");
        assert_eq!(shown("a in x"), "! unable to parse requirement: found 'x' expected: '('");
        assert_eq!(
            shown("a b"),
            "! unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
        );
        assert_eq!(shown("=a"), "! found '=', expected: !, identifier, or 'end of string'");
        assert!(shown("a*=b").starts_with(
            "! unable to parse requirement: <nil>: Invalid value: \"a*\": name part must consist of"
        ));
        assert!(shown("a=b*").contains("values[0][a]: Invalid value: \"b*\""));
    }

    #[test]
    fn structured_selectors() {
        let json = r#"{"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"NotIn","values":["y","x"]},{"key":"c","operator":"Exists"}]}"#;
        let s: LabelSelector = serde_json::from_str(json).unwrap();
        assert_eq!(s.selector().unwrap().to_string(), "a=1,b notin (x,y),c");
        assert!(s.validate(&Path::new("spec"), false).is_empty());
        let s: LabelSelector = serde_json::from_str(
            r#"{"matchExpressions":[{"key":"b","operator":"In"},{"key":"-","operator":"X"}]}"#,
        )
        .unwrap();
        let errors = s.validate(&Path::new("sel"), false);
        assert_eq!(
            errors[0].to_string(),
            "sel.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
        );
        assert_eq!(
            errors[1].to_string(),
            "sel.matchExpressions[1].operator: Invalid value: \"X\": not a valid selector operator"
        );
        assert_eq!(s.selector().unwrap_err().0.split(':').next(), Some("values"));
    }
}
