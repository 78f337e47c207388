//! One pass over the text, no tree between it and the object tree.

use std::borrow::Cow;

use super::is_omitted;
use crate::canonical::{Finding, Found};
use crate::schema::{Field, Node, Shape, Special, Type};
use crate::value::{Key, Map, Value};

/// Deeper nesting is refused, as Go does.
const MAX_DEPTH: usize = 10_000;
/// Recursion that the stack of a worker holds in any build.
const MAX_STACK: usize = 512;

/// In the words of Go's decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("unexpected end of JSON input")]
    End,
    #[error("invalid character {} {context}", quote_char(*.character))]
    Character { character: char, context: &'static str },
    #[error("exceeded max depth")]
    Depth,
}

fn quote_char(c: char) -> String {
    match c {
        '\'' => r"'\''".into(),
        '"' => "'\"'".into(),
        c => format!("'{}'", c.escape_debug()),
    }
}

/// A parsed text.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    pub value: Value,
    /// Fields that came twice (the last one counts), and those that a built-in type does not have (they are
    /// left out).
    pub found: Found,
}

/// `apiVersion` and `kind` of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeMeta {
    pub api_version: String,
    pub kind: String,
}

/// Parses without a type.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    run(bytes, Expect::Nothing).map(|p| p.value)
}

/// Parses without a type, and finds the fields that came twice.
pub fn parse_strict(bytes: &[u8]) -> Result<Parsed, JsonError> {
    run(bytes, Expect::Nothing)
}

/// Parses an object of a type: its raw fields stay raw.
pub fn parse_typed(bytes: &[u8], of: &Type) -> Result<Parsed, JsonError> {
    run(bytes, Expect::Fields(of))
}

/// Parses what this crate wrote of a canonical object of the type: the canonical tree again, without a second walk.
pub fn parse_canonical(bytes: &[u8], of: &Type) -> Result<Value, JsonError> {
    let text = utf8(bytes);
    let mut parser = Parser { canonical: true, ..Parser::new(&text) };
    parser.space();
    parser.value(Expect::Fields(of), 0)
}

/// Reads `apiVersion` and `kind` and skips the rest.
pub fn type_meta(bytes: &[u8]) -> Result<TypeMeta, JsonError> {
    let text = utf8(bytes);
    let mut parser = Parser::new(&text);
    let mut meta = TypeMeta::default();
    parser.space();
    if parser.peek() != Some(b'{') {
        parser.skip(0)?;
        return Ok(meta);
    }
    parser.at += 1;
    let mut first = true;
    while let Some(key) = parser.key(&mut first)? {
        let to = match &*key {
            "apiVersion" => &mut meta.api_version,
            "kind" => &mut meta.kind,
            _ => {
                parser.skip(1)?;
                continue;
            }
        };
        if parser.peek() == Some(b'"') {
            *to = parser.string()?.into_owned();
        } else {
            parser.skip(1)?;
        }
    }
    Ok(meta)
}

fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn run(bytes: &[u8], expect: Expect<'_>) -> Result<Parsed, JsonError> {
    let text = utf8(bytes);
    let mut parser = Parser::new(&text);
    parser.space();
    let value = parser.value(expect, 0)?;
    parser.space();
    if parser.at < parser.bytes.len() {
        return Err(parser.wrong("after top-level value"));
    }
    Ok(Parsed { value, found: parser.found })
}

/// What the type says of the value that comes next.
#[derive(Clone, Copy)]
enum Expect<'t> {
    Nothing,
    Fields(&'t Type),
    Node(&'t Node),
}

impl<'t> Expect<'t> {
    fn fields(self) -> Option<&'t Type> {
        match self {
            Self::Fields(of) => Some(of),
            Self::Node(Node { shape: Shape::Struct(of), .. }) => Some(of),
            Self::Node(Node {
                shape:
                    Shape::Special(
                        Special::SchemaOrBool(of) | Special::SchemaOrArray(of) | Special::SchemaOrStrings(of),
                    ),
                ..
            }) => Some(of),
            _ => None,
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Node(Node { shape: Shape::List(of) | Shape::Map(of), .. }) => Self::Node(of),
            Self::Node(Node { shape: Shape::Special(Special::SchemaOrArray(of)), .. }) => Self::Fields(of),
            _ => Self::Nothing,
        }
    }

    fn is_raw(self) -> bool {
        matches!(self, Self::Node(Node { shape: Shape::Special(Special::Raw(_)), .. }))
    }
}

enum Segment {
    Key(Key),
    Index(usize),
}

struct Parser<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    path: Vec<Segment>,
    found: Found,
    /// The text was written here: a null that Go leaves out is none.
    canonical: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let (path, found) = (Vec::new(), Found::default());
        Self { bytes: text.as_bytes(), text, at: 0, path, found, canonical: false }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong(&self, context: &'static str) -> JsonError {
        match self.text.get(self.at..).and_then(|t| t.chars().next()) {
            Some(character) => JsonError::Character { character, context },
            None => JsonError::End,
        }
    }

    fn value(&mut self, expect: Expect<'_>, depth: usize) -> Result<Value, JsonError> {
        if expect.is_raw() {
            return self.raw(depth);
        }
        match self.peek() {
            Some(b'{') => self.map(expect, depth + 1).map(Value::Map),
            Some(b'[') => self.list(expect, depth + 1).map(Value::List),
            Some(b'"') => Ok(Value::String(Key::from(self.string()?))),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.wrong("looking for beginning of value")),
        }
    }

    fn raw(&mut self, depth: usize) -> Result<Value, JsonError> {
        let start = self.at;
        self.skip(depth)?;
        let text = &self.text[start..self.at];
        Ok(if text == "null" { Value::Null } else { Value::Raw(text.into()) })
    }

    fn literal(&mut self, word: &'static str, value: Value) -> Result<Value, JsonError> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.wrong(match word {
                    "true" => "in literal true",
                    "false" => "in literal false",
                    _ => "in literal null",
                }));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn enter(depth: usize) -> Result<(), JsonError> {
        if depth > MAX_STACK.min(MAX_DEPTH) { Err(JsonError::Depth) } else { Ok(()) }
    }

    /// The next key with its colon eaten; None at the closing brace.
    fn key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, JsonError> {
        self.space();
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !*first => {
                self.at += 1;
                self.space();
            }
            _ if *first => {}
            _ => return Err(self.wrong("after object key:value pair")),
        }
        *first = false;
        if self.peek() != Some(b'"') {
            return Err(self.wrong("looking for beginning of object key string"));
        }
        let key = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("after object key"));
        }
        self.at += 1;
        self.space();
        Ok(Some(key))
    }

    fn map(&mut self, expect: Expect<'_>, depth: usize) -> Result<Map, JsonError> {
        Self::enter(depth)?;
        self.at += 1;
        let fields = expect.fields();
        let mut map = Map::with_capacity(8);
        let mut first = true;
        while let Some(key) = self.key(&mut first)? {
            let field = fields.and_then(|of| of.field(&key)).filter(|f| f.in_json);
            if field.is_none() && fields.is_some_and(|of| !of.custom) {
                let path = self.path_to(&key);
                self.found.add(Finding::Unknown(path));
                self.skip(depth)?;
                continue;
            }
            let inner = match field {
                Some(field) => Expect::Node(&field.node),
                None if fields.is_some() => Expect::Nothing,
                None => expect.element(),
            };
            let key = field.map_or_else(|| Key::from(key), |f| f.name.clone());
            self.path.push(Segment::Key(key));
            let value = self.value(inner, depth)?;
            let Some(Segment::Key(key)) = self.path.pop() else { return Err(JsonError::Depth) };
            if self.canonical {
                let left_out = |f: &Field| f.node.pointer && is_omitted(f, &value);
                if !(value.is_null() && field.is_some_and(left_out)) {
                    map.push(key, value);
                }
                continue;
            }
            match map.get_mut(&key) {
                Some(old) => {
                    *old = value;
                    let path = self.path_to(&key);
                    self.found.add(Finding::Duplicate(path));
                }
                None => map.push(key, value),
            }
        }
        Ok(map)
    }

    fn path_to(&self, key: &str) -> String {
        let mut path = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(k) if path.is_empty() => path.push_str(k),
                Segment::Key(k) => path.extend([".", k]),
                Segment::Index(i) => path.push_str(&format!("[{i}]")),
            }
        }
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    }

    fn list(&mut self, expect: Expect<'_>, depth: usize) -> Result<Vec<Value>, JsonError> {
        Self::enter(depth)?;
        self.at += 1;
        let inner = expect.element();
        let mut list = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(list);
        }
        loop {
            self.space();
            self.path.push(Segment::Index(list.len()));
            list.push(self.value(inner, depth)?);
            self.path.pop();
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(list);
                }
                _ => return Err(self.wrong("after array element")),
            }
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.wrong("in numeric literal")),
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.fraction("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.fraction("in exponent of numeric literal")?;
        }
        let text = &self.text[start..self.at];
        if let Some(n) = whole.then(|| text.parse::<i64>().ok()).flatten() {
            return Ok(Value::Int(n));
        }
        Ok(Value::Float(text.parse().unwrap_or(f64::MAX)))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn fraction(&mut self, context: &'static str) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.wrong(context));
        }
        self.digits();
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.escaped(start).map(Cow::Owned),
                Some(0..=0x1f) => return Err(self.wrong("in string literal")),
                Some(_) => self.at += 1,
                None => return Err(JsonError::End),
            }
        }
    }

    fn escaped(&mut self, start: usize) -> Result<String, JsonError> {
        let mut out = String::with_capacity(self.at - start + 32);
        out.push_str(&self.text[start..self.at]);
        loop {
            let from = self.at;
            while self.peek().is_some_and(|c| c != b'"' && c != b'\\' && c > 0x1f) {
                self.at += 1;
            }
            out.push_str(&self.text[from..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    out.push(c);
                }
                Some(_) => return Err(self.wrong("in string literal")),
                None => return Err(JsonError::End),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let c = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.wrong("in string escape code")),
        };
        self.at += 1;
        Ok(c)
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| char::from(c).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.wrong("in \\u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(code)
    }

    /// A lone surrogate becomes U+FFFD, as in Go.
    fn unicode(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let high = self.hex()?;
        if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Goes over one value and checks its syntax.
    fn skip(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => {
                Self::enter(depth + 1)?;
                self.at += 1;
                let mut first = true;
                while self.key(&mut first)?.is_some() {
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
            Some(b'[') => self.skip_list(depth + 1),
            Some(b'"') => self.string().map(drop),
            _ => self.value(Expect::Nothing, depth).map(drop),
        }
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), JsonError> {
        Self::enter(depth)?;
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.skip(depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("after array element")),
            }
        }
    }
}
