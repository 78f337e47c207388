//! Go's regular expressions as this crate's `regex` reads them: ASCII classes, `\Q..\E`, braces and brackets that
//! are no operators, and what one refuses and the other does not.

use regex::{Regex, RegexBuilder};

/// Most repetitions that Go counts.
const MOST: u32 = 1000;

/// Compiles a pattern of Go's `regexp`. The error is in Go's words.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let out = String::with_capacity(pattern.len() + 8);
    let mut reader = Reader { pattern, rest: pattern, out, open: 0 };
    reader.whole().map_err(|why| format!("error parsing regexp: {why}"))?;
    // The bounds keep a pattern from growing without end.
    let built = RegexBuilder::new(&reader.out).size_limit(4 << 20).dfa_size_limit(2 << 20).build();
    built.map_err(|_| format!("error parsing regexp: invalid regexp: `{pattern}`"))
}

struct Reader<'p> {
    pattern: &'p str,
    rest: &'p str,
    out: String,
    open: usize,
}

type Read<T = ()> = Result<T, String>;

fn literal(c: char) -> String {
    regex::escape(c.encode_utf8(&mut [0; 4]))
}

/// A class of Go's by its letter, as what stands between brackets.
fn class(letter: char) -> Option<(&'static str, bool)> {
    Some(match letter {
        'd' | 'D' => ("0-9", letter == 'D'),
        'w' | 'W' => ("0-9A-Za-z_", letter == 'W'),
        's' | 'S' => ("\\t\\n\\f\\r\\x20", letter == 'S'),
        _ => return None,
    })
}

impl<'p> Reader<'p> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn whole(&mut self) -> Read {
        let mut repeatable = false;
        // Where the repetition began that has just been read.
        let mut repeated: Option<&'p str> = None;
        loop {
            let before = self.rest;
            let Some(c) = self.next() else { break };
            let repetition = match c {
                '*' | '+' | '?' => true,
                '{' => self.repetition(before)?,
                _ => false,
            };
            if repetition {
                self.repeat(before, repeatable, repeated)?;
                (repeatable, repeated) = (true, Some(before));
                continue;
            }
            repeated = None;
            repeatable = !matches!(c, '(' | '|');
            self.one(c, before)?;
        }
        if self.open > 0 { Err(format!("missing closing ): `{}`", self.pattern)) } else { Ok(()) }
    }

    fn one(&mut self, c: char, before: &'p str) -> Read {
        match c {
            '\\' => self.escape(before),
            '[' => self.class(before),
            '(' => self.group(before),
            ')' if self.open == 0 => Err(format!("unexpected ): `{}`", self.pattern)),
            ')' => {
                self.open -= 1;
                self.out.push(')');
                Ok(())
            }
            '|' | '.' | '^' | '$' => {
                self.out.push(c);
                Ok(())
            }
            c => {
                self.out.push_str(&literal(c));
                Ok(())
            }
        }
    }

    /// Writes a repetition operator with its `?`.
    fn repeat(&mut self, before: &'p str, repeatable: bool, repeated: Option<&'p str>) -> Read {
        let lazy = self.rest.starts_with('?');
        let operator = &before[..before.len() - self.rest.len()];
        if !repeatable {
            return Err(format!("missing argument to repetition operator: `{operator}`"));
        }
        if let Some(from) = repeated {
            let both = &from[..from.len() - self.rest.len()];
            return Err(format!("invalid nested repetition operator: `{both}`"));
        }
        self.out.push_str(operator);
        if lazy {
            self.next();
            self.out.push('?');
        }
        Ok(())
    }

    /// Whether a brace begins a count; then it is read up to its end.
    fn repetition(&mut self, before: &'p str) -> Read<bool> {
        let Some(end) = before.find('}') else { return Ok(false) };
        let inside = &before[1..end];
        let (low, high) = inside.split_once(',').map_or((inside, None), |(low, high)| (low, Some(high)));
        let digits =
            |text: &str| text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if low.is_empty() || !digits(low) || high.is_some_and(|high| !digits(high)) {
            return Ok(false);
        }
        let count = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= MOST);
        let bounds = (count(low), high.filter(|high| !high.is_empty()).map(count));
        match bounds {
            (Some(low), None) | (Some(low), Some(Some(_)))
                if bounds.1.flatten().is_none_or(|high| low <= high) =>
            {
                self.rest = &before[end + 1..];
                Ok(true)
            }
            _ => Err(format!("invalid repeat count: `{}`", &before[..=end])),
        }
    }

    /// A group, whose flags must be Go's.
    fn group(&mut self, before: &'p str) -> Read {
        self.open += 1;
        self.out.push('(');
        let Some(after) = self.rest.strip_prefix('?') else { return Ok(()) };
        if let Some(name) = after.strip_prefix("P<").or_else(|| after.strip_prefix('<')) {
            return self.named(name, before);
        }
        let Some(stop) = after.find([')', ':']) else {
            return Err(format!("invalid or unsupported Perl syntax: `{before}`"));
        };
        let flags = &after[..stop];
        if let Some(bad) = flags.find(|c| !"imsU-".contains(c)) {
            let shown: String = flags[bad..].chars().take(1).collect();
            return Err(format!("invalid or unsupported Perl syntax: `(?{}{shown}`", &flags[..bad]));
        }
        if after[stop..].starts_with(')') {
            self.open -= 1;
        }
        self.out.push('?');
        self.out.push_str(&after[..=stop]);
        self.rest = &after[stop + 1..];
        Ok(())
    }

    /// A named group: nobody asks for its name, which Go lets stand twice.
    fn named(&mut self, name: &'p str, before: &'p str) -> Read {
        let Some((name, after)) = name.split_once('>') else {
            return Err(format!("invalid named capture: `{before}`"));
        };
        let head = &before[..before.len() - after.len()];
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
            return Err(format!("invalid named capture: `{head}`"));
        }
        self.rest = after;
        Ok(())
    }

    fn escape(&mut self, before: &'p str) -> Read {
        if let Some(quoted) = self.rest.strip_prefix('Q') {
            let (inside, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            self.out.push_str(&regex::escape(inside));
            self.rest = after;
            return Ok(());
        }
        match self.rest.chars().next() {
            Some('b') => self.verbatim("(?-u:\\b)"),
            Some('B') => self.verbatim("(?-u:\\B)"),
            Some(c @ ('A' | 'z')) => self.verbatim(&format!("\\{c}")),
            Some(c) if class(c).is_some() => {
                let (inside, negated) = class(c).unwrap_or_default();
                self.verbatim(&format!("[{}{inside}]", if negated { "^" } else { "" }))
            }
            _ => self.character(before),
        }
    }

    /// Writes what stands for a one-letter escape.
    fn verbatim(&mut self, text: &str) -> Read {
        self.next();
        self.out.push_str(text);
        Ok(())
    }

    /// An escape that means one character, or a Unicode class; inside and outside of brackets.
    fn character(&mut self, before: &'p str) -> Read {
        let bad =
            |rest: &str| Err(format!("invalid escape sequence: `{}`", &before[..before.len() - rest.len()]));
        let Some(c) = self.next() else { return Err("trailing backslash at end of expression: ``".into()) };
        match c {
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.out.extend(['\\', c]),
            'p' | 'P' => return self.unicode(c),
            'x' => return self.hex(before),
            '0'..='7' => {
                let more = self.rest.bytes().take(2).take_while(|c| (b'0'..=b'7').contains(c)).count();
                if c != '0' && more == 0 {
                    return bad(self.rest);
                }
                let digits = format!("{c}{}", &self.rest[..more]);
                self.rest = &self.rest[more..];
                let value = u32::from_str_radix(&digits, 8).unwrap_or(0);
                self.out.push_str(&format!("\\x{{{value:x}}}"));
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => self.out.push_str(&literal(c)),
            _ => return bad(self.rest),
        }
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`.
    fn unicode(&mut self, mut letter: char) -> Read {
        let end = if self.rest.starts_with('{') { self.rest.find('}').map(|end| end + 1) } else { Some(1) };
        let Some(name) = end.and_then(|end| self.rest.get(..end)) else {
            return Err(format!("invalid character class range: `\\{letter}{}`", self.rest));
        };
        self.rest = &self.rest[name.len()..];
        let name = name.trim_matches(['{', '}']);
        let plain = name.trim_start_matches('^');
        if plain.len() < name.len() {
            letter = if letter == 'p' { 'P' } else { 'p' };
        }
        self.out.push_str(&format!("\\{letter}{{{plain}}}"));
        Ok(())
    }

    fn hex(&mut self, before: &'p str) -> Read {
        let braced = self.rest.strip_prefix('{').and_then(|rest| Some(rest.split_once('}')?.0));
        let (digits, used) = match braced {
            Some(digits) => (digits, digits.len() + 2),
            None => (self.rest.get(..2).unwrap_or_default(), 2),
        };
        let value = u32::from_str_radix(digits, 16).ok().filter(|v| char::from_u32(*v).is_some());
        let Some(value) = value else {
            return Err(format!("invalid escape sequence: `{}`", &before[..2]));
        };
        self.rest = &self.rest[used..];
        self.out.push_str(&format!("\\x{{{value:x}}}"));
        Ok(())
    }

    /// What stands between brackets.
    fn class(&mut self, before: &'p str) -> Read {
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let here = self.rest;
            let Some(c) = self.next() else { return Err(format!("missing closing ]: `{before}`")) };
            let posix = c == '[' && self.rest.starts_with(':') && here.contains(":]");
            let several = posix || c == '\\' && self.rest.chars().next().and_then(class).is_some();
            match c {
                ']' if !first => break,
                '[' if posix => self.posix(here)?,
                '\\' => self.class_escape(here)?,
                '-' => self.out.push_str("\\-"),
                c => self.out.push_str(&literal(c)),
            }
            if !several {
                self.range((c != '\\').then_some(c), here)?;
            }
            first = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// After the low end of a range: its dash, where a high end follows.
    fn range(&mut self, low: Option<char>, here: &'p str) -> Read {
        let Some(high) =
            self.rest.strip_prefix('-').filter(|rest| !rest.starts_with(']') && !rest.is_empty())
        else {
            return Ok(());
        };
        let letter = high.strip_prefix('\\').and_then(|rest| rest.chars().next());
        if letter.and_then(class).is_some() {
            return Err(format!("invalid escape sequence: `{}`", &high[..2]));
        }
        self.rest = high;
        self.out.push('-');
        let Some(end) = high.chars().next().filter(|_| letter.is_none()) else { return Ok(()) };
        if low.is_some_and(|low| low > end) {
            let shown = &here[..here.len() - high.len() + end.len_utf8()];
            return Err(format!("invalid character class range: `{shown}`"));
        }
        self.next();
        self.out.push_str(&if end == '-' { "\\-".to_owned() } else { literal(end) });
        Ok(())
    }

    /// `[:alpha:]`.
    fn posix(&mut self, here: &'p str) -> Read {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        let end = here.find(":]").unwrap_or(0) + 2;
        if !NAMES.contains(&here[2..end - 2].trim_start_matches('^')) {
            return Err(format!("invalid character class range: `{}`", &here[..end]));
        }
        self.out.push_str(&here[..end]);
        self.rest = &here[end..];
        Ok(())
    }

    fn class_escape(&mut self, before: &'p str) -> Read {
        match self.rest.chars().next().and_then(class) {
            Some((inside, false)) => self.verbatim(inside),
            Some((inside, true)) => self.verbatim(&format!("[^{inside}]")),
            None => self.character(before),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::compile;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "٣", false),
            (r"^\w$", "é", false),
            (r"^\W$", "é", true),
            (r"\s", "\u{a0}", false),
            (r"\bé", "é", false),
            (r"\Qa.b\E", "a.b", true),
            (r"\Qa.b\E", "axb", false),
            ("^{a}$", "{a}", true),
            ("a{2}", "aa", true),
            ("a{,2}", "a{,2}", true),
            ("^[[]$", "[", true),
            ("^[]a]+$", "]a", true),
            ("^[^]]$", "x", true),
            ("^[a&&b]+$", "&", true),
            ("^[+--]$", ",", true),
            (r"^[\d.-]+$", "1.2-3", true),
            (r"^[\D]$", "1", false),
            (r"^[[:alpha:]_]+$", "ab_", true),
            (r"^\<$", "<", true),
            (r"^\x41\x{42}\103$", "ABC", true),
            (r"^\pL\p{^Lu}$", "aa", true),
            ("(?i)^ABC$", "abc", true),
            ("^(?P<x>a)(?:b)$", "ab", true),
            ("^a.c$", "a\nc", false),
            ("a+?", "a", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (pattern, why) in [
            ("(", "missing closing ): `(`"),
            (")", "unexpected ): `)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            ("(?P<>a)", "invalid named capture: `(?P<>`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            (r"\u0041", r"invalid escape sequence: `\u`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"\", "trailing backslash at end of expression: ``"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ] {
            assert_eq!(compile(pattern).unwrap_err(), format!("error parsing regexp: {why}"), "{pattern}");
        }
        assert!(compile("(a{1000}){1000}").is_err());
    }
}
