//! Files of environment variables (`fileKeyRef`, KEP-3721): `NAME='value'` lines, a small and strict part of the
//! shell's syntax. A value is whatever stands between single quotes, over several lines too.

/// Why a file is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid environment variable format at line {line}: {what}")]
pub struct Malformed {
    /// Counted from one.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// The value of a variable; `None` if the file does not set it, or to nothing. What follows it is not read.
///
/// # Errors
/// [`Malformed`], for the first line that is wrong.
pub fn value(text: &str, name: &str) -> Result<Option<String>, Malformed> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((line, text)) = lines.next() {
        let wrong = |what| Malformed { line, what };
        let text = text.trim_start_matches(BLANKS);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, rest) = text.split_once('=').ok_or_else(|| wrong("missing '='"))?;
        if key.trim_end_matches(BLANKS).is_empty() {
            return Err(wrong("empty variable name"));
        }
        if key.ends_with(BLANKS) {
            return Err(wrong("whitespace before '=' is not allowed"));
        }
        // as in a shell, `NAME= 'value'` sets nothing
        let value = if rest.starts_with(BLANKS) { String::new() } else { quoted(rest, line, &mut lines)? };
        if key == name {
            return Ok(Some(value).filter(|value| !value.is_empty()));
        }
    }
    Ok(None)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// What stands in the quotes that begin here; reads further lines up to the closing one.
fn quoted<'a>(
    text: &'a str,
    line: usize,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<String, Malformed> {
    let mut rest =
        text.strip_prefix('\'').ok_or(Malformed { line, what: "value must be enclosed in single quotes" })?;
    let (mut out, mut at) = (String::new(), line);
    loop {
        if let Some((value, after)) = rest.split_once('\'') {
            out.push_str(value);
            let after = after.trim_start_matches(BLANKS);
            if after.is_empty() || after.starts_with('#') {
                return Ok(out);
            }
            return Err(Malformed { line: at, what: "unexpected content after closing quote" });
        }
        out.push_str(rest);
        out.push('\n');
        (at, rest) = lines.next().ok_or(Malformed { line, what: "unclosed single quote" })?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_lines() {
        let text = "# remark\n\n  A='1' # one\nB='x\n# y'\nC= 'c'\nD=''\nE='$HOME \\n'\n";
        let found = |name| value(text, name).unwrap();
        assert_eq!(found("A").as_deref(), Some("1"));
        assert_eq!(found("B").as_deref(), Some("x\n# y"));
        assert_eq!(found("E").as_deref(), Some("$HOME \\n"));
        assert_eq!([found("C"), found("D"), found("Z")], [None, None, None]);
    }

    #[test]
    fn what_is_wrong_and_where() {
        for (text, line, what) in [
            ("A='1'\nnothing", 2, "missing '='"),
            ("='1'", 1, "empty variable name"),
            ("A ='1'", 1, "whitespace before '=' is not allowed"),
            ("A=1", 1, "value must be enclosed in single quotes"),
            ("A='1'b", 1, "unexpected content after closing quote"),
            ("\nA='1\n2", 2, "unclosed single quote"),
        ] {
            assert_eq!(value(text, "Z"), Err(Malformed { line, what }), "{text}");
        }
        assert_eq!(value("A='1'\nnothing", "A").unwrap().as_deref(), Some("1"), "not read so far");
    }
}
