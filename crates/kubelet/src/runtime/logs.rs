//! Container logs as the CRI writes them: `TIME STREAM TAG TEXT` lines.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;

/// One line of a log. A long line of the container comes in several, of which only the last is not partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written, as in the file.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// Whether the container's line goes on in the next one.
    pub partial: bool,
    /// What was written, without the line end.
    pub text: &'a [u8],
}

impl Line<'_> {
    /// When it was written.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// Reads a line without its line end; `None` if it is none.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tags = parts.next()?;
    let text = parts.next().unwrap_or_default();
    if stream != "stdout" && stream != "stderr" {
        return None;
    }
    Some(Line { time, stream, partial: tags.split(|byte| *byte == b':').any(|tag| tag == b"P"), text })
}

/// Offset at which the last `lines` lines begin.
///
/// # Errors
/// If the file cannot be read.
pub fn tail_offset(file: &mut std::fs::File, lines: usize) -> std::io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let length = file.metadata()?.len();
    if lines == 0 {
        return Ok(length);
    }
    let (mut end, mut found) = (length, 0);
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let offset = start + index as u64;
            if offset + 1 == length {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(offset + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

/// The last lines of a log as text, at most `bytes` bytes of them; empty if it cannot be read.
#[must_use]
pub fn last_lines(path: &Path, lines: usize, bytes: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let offset = tail_offset(&mut file, lines)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    };
    let mut out = Vec::new();
    for line in read().unwrap_or_default().split(|byte| *byte == b'\n').filter_map(parse) {
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
    }
    let start = out.len().saturating_sub(bytes);
    String::from_utf8_lossy(&out[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines() {
        let line = parse(b"2026-01-02T03:04:05.000000006Z stderr P half a line").unwrap();
        assert_eq!((line.stream, line.partial, line.text), ("stderr", true, &b"half a line"[..]));
        assert_eq!(line.timestamp().unwrap().subsec_nanosecond(), 6);
        assert_eq!(parse(b"2026-01-02T03:04:05Z stdout F ").unwrap().text, b"");
        assert_eq!(parse(b"garbage"), None);
    }

    #[test]
    fn finds_the_tail() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let lines: String = (0..1000).map(|n| format!("2026-01-02T03:04:05Z stdout F line {n}\n")).collect();
        std::fs::write(&path, &lines).unwrap();
        assert_eq!(last_lines(&path, 2, 4096), "line 998\nline 999\n");
        assert_eq!(last_lines(&path, 2, 9), "line 999\n");
        let mut file = std::fs::File::open(&path).unwrap();
        assert_eq!(tail_offset(&mut file, 0).unwrap(), lines.len() as u64);
        assert_eq!(tail_offset(&mut file, 5000).unwrap(), 0);
    }
}
