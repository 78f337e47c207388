//! Numbers as Go writes and reads them.

/// `%g`: the shortest digits that read back, with an exponent below 10^-4 and from 10^6 on.
pub(crate) fn go_double(n: f64) -> String {
    if n.is_nan() {
        return "NaN".into();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let shortest = format!("{n:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if n != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{n}")
}

/// What Go's `ParseFloat` reads.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    let body = text.trim_start_matches(['+', '-']);
    let word = body.eq_ignore_ascii_case("inf")
        || body.eq_ignore_ascii_case("infinity")
        || body.eq_ignore_ascii_case("nan");
    if !word && !body.bytes().next().is_some_and(|c| c.is_ascii_digit() || c == b'.') {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    (word || value.is_finite()).then_some(value)
}
