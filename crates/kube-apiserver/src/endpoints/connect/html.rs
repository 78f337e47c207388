//! Links in the HTML of what is proxied: absolute paths get the proxy's prefix, so that they lead through it again.
//! Only values of attributes that hold addresses change; everything else stays byte for byte.

/// The attributes of each element that hold an address (HTML's index of attributes).
const ATTRIBUTES: [(&str, &[&str]); 26] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text up to their end tag.
const TEXT_ONLY: [&str; 4] = ["script", "style", "textarea", "title"];

/// Where an address leads that stands in the answer of `host`: None where it stays as it is.
pub fn rewrite_address<'a>(address: &'a str, own: &str, prefix: &str) -> Option<std::borrow::Cow<'a, str>> {
    let path = match address.strip_prefix(own) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ if address.starts_with('/') && !address.starts_with("//") => address,
        _ => return None,
    };
    if path.starts_with(prefix) {
        return (path != address).then(|| path.into());
    }
    Some(format!("{prefix}{path}").into())
}

/// A document with its addresses rewritten. `own`: scheme and host of the server that it came from.
pub fn rewrite(html: &str, own: &str, prefix: &str) -> String {
    let mut out = String::with_capacity(html.len() + 256);
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            let end = comment.find("-->").map_or(rest.len(), |e| e + 7);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let Some(end) = tag_end(rest) else { break };
        let tag = &rest[..end];
        let name = name_of(tag);
        match ATTRIBUTES.iter().find(|(element, _)| *element == name) {
            Some((_, attributes)) => rewrite_tag(tag, attributes, own, prefix, &mut out),
            None => out.push_str(tag),
        }
        rest = &rest[end..];
        if TEXT_ONLY.contains(&name.as_str()) {
            let close = find_close(rest, &name);
            out.push_str(&rest[..close]);
            rest = &rest[close..];
        }
    }
    out.push_str(rest);
    out
}

/// Length of the tag at the start of `text`, `>` included; quotes may hold a `>`.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, b) in text.bytes().enumerate() {
        match (quote, b) {
            (Some(q), b) if b == q => quote = None,
            (None, b'"' | b'\'') => quote = Some(b),
            (None, b'>') => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// The element of a start tag, in lower case; "" for end tags and the like.
fn name_of(tag: &str) -> String {
    let name: String = tag[1..].chars().take_while(char::is_ascii_alphanumeric).collect();
    name.to_ascii_lowercase()
}

fn find_close(text: &str, name: &str) -> usize {
    let close = format!("</{name}");
    text.to_ascii_lowercase().find(&close).unwrap_or(text.len())
}

fn rewrite_tag(tag: &str, attributes: &[&str], own: &str, prefix: &str, out: &mut String) {
    let bytes = tag.as_bytes();
    let mut copied = 0;
    let mut at = 1;
    while let Some(equals) = tag[at..].find('=').map(|e| at + e) {
        let name_end = tag[..equals].trim_end().len();
        let name_start = tag[..name_end]
            .rfind(|c: char| c.is_ascii_whitespace() || "\"'/".contains(c))
            .map_or(1, |s| s + 1);
        let name = tag[name_start..name_end].to_ascii_lowercase();
        let spaces = tag[equals + 1..].len() - tag[equals + 1..].trim_start().len();
        let value_start = equals + 1 + spaces;
        let (start, end, next) = match bytes.get(value_start) {
            Some(q @ (b'"' | b'\'')) => {
                let start = value_start + 1;
                let end = tag[start..].find(char::from(*q)).map_or(tag.len(), |e| start + e);
                (start, end, (end + 1).min(tag.len()))
            }
            _ => {
                let length = tag[value_start..].find(|c: char| c.is_ascii_whitespace() || c == '>');
                let end = length.map_or(tag.len(), |l| value_start + l);
                (value_start, end, end)
            }
        };
        if attributes.contains(&name.as_str())
            && let Some(address) = rewrite_address(&tag[start..end], own, prefix)
        {
            out.push_str(&tag[copied..start]);
            out.push_str(&address);
            copied = end;
        }
        at = next;
    }
    out.push_str(&tag[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let rewritten = |html: &str| rewrite(html, "http://10.0.0.1:80", "/p/proxy");
        for (html, expected) in [
            (r#"<a href="/rewriteme">test</a>"#, r#"<a href="/p/proxy/rewriteme">test</a>"#),
            ("<A class=x HREF='/a/'>t</A>", "<A class=x HREF='/p/proxy/a/'>t</A>"),
            ("<img src=/i.png alt=\"a>b\">", "<img src=/p/proxy/i.png alt=\"a>b\">"),
            (r#"<a href="relative">"#, r#"<a href="relative">"#),
            (r#"<a href="http://10.0.0.1:80/x">"#, r#"<a href="/p/proxy/x">"#),
            (r#"<a href="https://example.com/x">"#, r#"<a href="https://example.com/x">"#),
            (r#"<a href="/p/proxy/x">"#, r#"<a href="/p/proxy/x">"#),
            (r#"<p title="/x">/y</p>"#, r#"<p title="/x">/y</p>"#),
            (
                r#"<script src="/s.js">if (a<b) x='<a href="/no">'</script><!-- <a href="/no"> -->"#,
                r#"<script src="/p/proxy/s.js">if (a<b) x='<a href="/no">'</script><!-- <a href="/no"> -->"#,
            ),
            ("a < b and <a href='/x'", "a < b and <a href='/x'"),
        ] {
            assert_eq!(rewritten(html), expected);
        }
    }
}
