//! PEM (RFC 7468) as Go reads it: text between blocks and headers within them are passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// The content of every block, whatever its label. A block that is cut off or is no base64 is left out.
pub fn blocks(text: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) {
            open = Some((label, String::new()));
        } else if let Some((label, body)) = &mut open {
            match line.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix(DASHES)) {
                Some(end) if end == *label => {
                    found.extend(STANDARD.decode(body.as_bytes()).ok());
                    open = None;
                }
                Some(_) => open = None,
                None if line.contains(':') => {}
                None => body.push_str(line),
            }
        }
    }
    found
}

/// Appends a block: lines of 64 characters, a newline at the end.
pub fn push(out: &mut String, label: &str, der: &[u8]) {
    out.push_str(&format!("{BEGIN}{label}{DASHES}\n"));
    let text = STANDARD.encode(der);
    for start in (0..text.len()).step_by(64) {
        out.push_str(&text[start..text.len().min(start + 64)]);
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}{DASHES}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_between() {
        let (one, two) = (vec![7; 50], vec![1; 48]);
        let mut text = "# a comment\n".to_owned();
        push(&mut text, "CERTIFICATE", &one);
        text.push_str("between: blocks\n-----BEGIN X-----\nProc-Type: 4\n\n");
        text.push_str(&format!("{}\n-----END X-----\n", STANDARD.encode(&two)));
        text.push_str("-----BEGIN CUT-----\nAAAA\n");
        assert_eq!(blocks(&text), [one, two]);
        assert!(text.lines().all(|line| line.len() <= 64));
    }
}
