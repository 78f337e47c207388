//! Field selectors: `spec.nodeName=a,status.phase!=Running`, with `\`, `,` and `=` escaped by `\`.

use std::fmt;

/// One term.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    pub field: String,
    pub value: String,
    /// `!=`.
    pub negated: bool,
}

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector(Vec<Term>);

/// In upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    #[error("invalid selector: '{selector}'; can't understand '{part}'")]
    Term { selector: String, part: String },
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    #[error("invalid field selector: unescaped character in value: {}", u32::from(*.0))]
    Unescaped(char),
}

fn terms(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn unescape(value: &str) -> Result<String, FieldSelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(e @ ('\\' | ',' | '=')) => out.push(e),
                other => {
                    return Err(FieldSelectorError::Escape(format!(
                        "\\{}",
                        other.map_or(String::new(), String::from)
                    )));
                }
            },
            ',' | '=' => return Err(FieldSelectorError::Unescaped(c)),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

impl Selector {
    pub const fn everything() -> Self {
        Self(Vec::new())
    }

    pub fn of(terms: Vec<Term>) -> Self {
        Self(terms)
    }

    pub fn equal(field: &str, value: &str) -> Self {
        Self(vec![Term { field: field.into(), value: value.into(), negated: false }])
    }

    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        let mut parts = terms(text);
        parts.sort_unstable();
        let mut out = Vec::new();
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let unknown = || FieldSelectorError::Term { selector: text.into(), part: part.into() };
            let at = part.char_indices().find(|(at, c)| *c == '=' || part[*at..].starts_with("!="));
            let (at, first) = at.ok_or_else(unknown)?;
            let operator = if first == '!' || part[at..].starts_with("==") { 2 } else { 1 };
            let value = unescape(&part[at + operator..])?;
            out.push(Term { field: part[..at].to_owned(), value, negated: first == '!' });
        }
        Ok(Self(out))
    }

    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that the field must have, where the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|t| !t.negated && t.field == field).map(|t| t.value.as_str())
    }

    /// `field` gives the value of a field as text.
    pub fn matches<S: AsRef<str>>(&self, mut field: impl FnMut(&str) -> S) -> bool {
        self.0.iter().all(|t| (field(&t.field).as_ref() == t.value) != t.negated)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, t) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let operator = if t.negated { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}{}", t.field, escape(&t.value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_parse_and_match() {
        let s = Selector::parse(r"b!=2,a==1\,x,,c=").unwrap();
        assert_eq!(s.to_string(), r"a=1\,x,b!=2,c=");
        assert_eq!(s.exact("a"), Some("1,x"));
        assert!(s.matches(|f| if f == "a" { "1,x" } else { "" }));
        assert!(!s.matches(|f| if f == "b" { "2" } else { "" }));
        assert!(Selector::parse("").unwrap().is_everything());
    }

    #[test]
    fn errors_are_upstreams() {
        let error = |t: &str| Selector::parse(t).unwrap_err().to_string();
        assert_eq!(error("abc"), "invalid selector: 'abc'; can't understand 'abc'");
        assert_eq!(error(r"a=\x"), r"invalid field selector: invalid escape sequence: \x");
        assert_eq!(error("a=b=c"), "invalid field selector: unescaped character in value: 61");
    }
}
