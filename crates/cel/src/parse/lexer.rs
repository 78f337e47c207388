//! Text to tokens.

/// A piece of the source, by byte offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    /// In backticks.
    Escaped,
    Int,
    Uint,
    Float,
    String,
    Bytes,
    True,
    False,
    Null,
    In,
    /// An operator or a bracket; its text says which.
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%", "=", "|",
];

/// Pieces that are no tokens: (start, end).
pub(super) type Faults = Vec<(usize, usize)>;

/// All tokens, an `End` last, and what is no token.
pub(super) fn tokens(source: &str) -> (Vec<Token>, Faults) {
    let mut lexer = Lexer { source, bytes: source.as_bytes(), at: 0, out: Vec::new(), faults: Vec::new() };
    lexer.run();
    (lexer.out, lexer.faults)
}

struct Lexer<'s> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    out: Vec<Token>,
    faults: Faults,
}

impl Lexer<'_> {
    fn run(&mut self) {
        loop {
            self.skip_blank();
            let start = self.at;
            if start >= self.bytes.len() {
                self.out.push(Token { kind: Kind::End, start, end: start });
                return;
            }
            match self.next() {
                Some((kind, end)) => {
                    self.out.push(Token { kind, start, end });
                    self.at = end;
                }
                None => self.fault(start),
            }
        }
    }

    /// No token begins here: the fault goes up to the character that no token has there.
    fn fault(&mut self, start: usize) {
        let begun = match self.peek(0) {
            b'=' | b'|' | b'&' => start + 1,
            _ => self.text_end(start).unwrap_or_else(|stopped| stopped),
        };
        let bad = self.source.get(begun..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        self.at = (begun + bad).max(start + 1);
        self.faults.push((start, self.at));
    }

    fn peek(&self, offset: usize) -> u8 {
        self.bytes.get(self.at + offset).copied().unwrap_or(0)
    }

    fn skip_blank(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0c => self.at += 1,
                b'/' if self.peek(1) == b'/' => {
                    let rest = &self.source[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn next(&self) -> Option<(Kind, usize)> {
        let first = self.peek(0);
        if let Some(found) = self.text() {
            return Some(found);
        }
        if first.is_ascii_alphabetic() || first == b'_' {
            return Some(self.word());
        }
        if first.is_ascii_digit() || first == b'.' && self.peek(1).is_ascii_digit() {
            return Some(self.number());
        }
        if first == b'`' {
            let rest = &self.source[self.at + 1..];
            let end = rest.find('`').filter(|end| *end > 0)?;
            let good = |c: char| c.is_ascii_alphanumeric() || "_.-/ ".contains(c);
            return rest[..end].chars().all(good).then_some((Kind::Escaped, self.at + end + 2));
        }
        let rest = &self.source[self.at..];
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign))?;
        (!matches!(*sign, "=" | "|")).then_some((Kind::Sign(sign), self.at + sign.len()))
    }

    fn word(&self) -> (Kind, usize) {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
        let kind = match &self.source[self.at..self.at + len] {
            "true" => Kind::True,
            "false" => Kind::False,
            "null" => Kind::Null,
            "in" => Kind::In,
            _ => Kind::Ident,
        };
        (kind, self.at + len)
    }

    fn digits(&self, from: usize) -> usize {
        self.bytes[from.min(self.bytes.len())..].iter().take_while(|c| c.is_ascii_digit()).count()
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn number(&self) -> (Kind, usize) {
        if self.peek(0) == b'0' && self.peek(1) == b'x' && self.peek(2).is_ascii_hexdigit() {
            let rest = &self.bytes[self.at + 2..];
            let end = self.at + 2 + rest.iter().take_while(|c| c.is_ascii_hexdigit()).count();
            return self.maybe_unsigned(end);
        }
        let mut end = self.at + self.digits(self.at);
        let mut float = false;
        if self.byte(end) == b'.' && self.byte(end + 1).is_ascii_digit() {
            end += 1 + self.digits(end + 1);
            float = true;
        }
        if matches!(self.byte(end), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(end + 1), b'+' | b'-'));
            let exponent = self.digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
                float = true;
            }
        }
        if float { (Kind::Float, end) } else { self.maybe_unsigned(end) }
    }

    fn maybe_unsigned(&self, end: usize) -> (Kind, usize) {
        if matches!(self.byte(end), b'u' | b'U') { (Kind::Uint, end + 1) } else { (Kind::Int, end) }
    }

    /// A string or bytes with their prefixes and quotes; None where no such token begins or it does not end.
    fn text(&self) -> Option<(Kind, usize)> {
        let end = self.text_end(self.at).ok()?;
        let bytes = matches!(self.peek(0), b'b' | b'B');
        Some((if bytes { Kind::Bytes } else { Kind::String }, end))
    }

    /// Where a text ends; Err: where it turned out to be none.
    fn text_end(&self, start: usize) -> Result<usize, usize> {
        let mut at = start + usize::from(matches!(self.byte(start), b'b' | b'B'));
        let raw = matches!(self.byte(at), b'r' | b'R');
        at += usize::from(raw);
        let quote = self.byte(at);
        if quote != b'"' && quote != b'\'' {
            return Err(start);
        }
        let triple = self.byte(at + 1) == quote && self.byte(at + 2) == quote;
        at += if triple { 3 } else { 1 };
        while let Some(c) = self.bytes.get(at) {
            match *c {
                c if c == quote && !triple => return Ok(at + 1),
                c if c == quote && self.byte(at + 1) == quote && self.byte(at + 2) == quote => {
                    return Ok(at + 3);
                }
                b'\n' | b'\r' if !triple => return Err(at),
                b'\\' if !raw => at = self.escape_end(at)?,
                _ => at += 1,
            }
        }
        Err(at)
    }

    /// Where an escape ends; Err: at the character that makes it none.
    fn escape_end(&self, at: usize) -> Result<usize, usize> {
        let of = |digits: usize, good: fn(&u8) -> bool, from: usize| {
            let found =
                self.bytes[from.min(self.bytes.len())..].iter().take(digits).take_while(|c| good(c)).count();
            if found == digits { Ok(from + digits) } else { Err(from + found) }
        };
        match self.byte(at + 1) {
            b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Ok(at + 2),
            b'x' | b'X' => of(2, u8::is_ascii_hexdigit, at + 2),
            b'u' => of(4, u8::is_ascii_hexdigit, at + 2),
            b'U' => of(8, u8::is_ascii_hexdigit, at + 2),
            b'0'..=b'3' => of(2, |c| (b'0'..=b'7').contains(c), at + 2),
            _ => Err(at + 1),
        }
    }
}
