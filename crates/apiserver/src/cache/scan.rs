//! Finds a part of canonical JSON by its braces, without decoding it.

/// Where `metadata` lies in an entry's body (`,{...}`).
pub fn metadata_of(body: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 2;
    loop {
        let (key, after) = string(body, at)?;
        let start = after + 1;
        let end = skip(body, start)?;
        if key == b"metadata" {
            return Some(start..end);
        }
        if body.get(end) != Some(&b',') {
            return None;
        }
        at = end + 1;
    }
}

/// The text of the string that starts at `at`, and where it ends.
fn string(json: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if json.get(at) != Some(&b'"') {
        return None;
    }
    let mut end = at + 1;
    loop {
        match json.get(end)? {
            b'"' => return Some((&json[at + 1..end], end + 1)),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

/// The end of the value that starts at `at`.
fn skip(json: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match json.get(at)? {
            b'"' => at = string(json, at)?.1,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' if depth == 0 => return Some(at),
            _ => at += 1,
        }
        if depth == 0 && matches!(json.get(at), Some(b',' | b'}' | b']')) {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_found_by_its_braces() {
        for (body, expected) in [
            (&b",{\"metadata\":{\"name\":\"x\"},\"spec\":{}}\n"[..], Some(&b"{\"name\":\"x\"}"[..])),
            (
                b",{\"apiVersion\":\"a/v1\",\"data\":[{\"metadata\":1}],\"metadata\":{\"a\":\"}\\\"\"}}\n",
                Some(b"{\"a\":\"}\\\"\"}"),
            ),
            (b",{\"a\":1}\n", None),
        ] {
            assert_eq!(metadata_of(body).map(|at| &body[at]), expected);
        }
    }
}
