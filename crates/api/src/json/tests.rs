//! Texts as Go reads and writes them.

use super::*;

#[test]
fn texts_go_round_as_go_writes_them() {
    for (from, to) in [
        (r#" { "b" : [ 1 , -2.50e0 , true, null ] , "a" : "x" } "#, r#"{"b":[1,-2.5,true,null],"a":"x"}"#),
        (
            r#""<&> \u2028 \u00e9 \ud83d\ude00 \ud800 \/""#,
            "\"\\u003c\\u0026\\u003e \\u2028 é 😀 \u{fffd} /\"",
        ),
        (r#""\b\f\n\r\t\u0001\"\\""#, r#""\b\f\n\r\t\u0001\"\\""#),
        (
            "[1e21,1e-7,1e20,0.000003,123456.789,12345678901234567890,0.0]",
            "[1e+21,1e-7,100000000000000000000,0.000003,123456.789,12345678901234567000,0]",
        ),
        ("9223372036854775807", "9223372036854775807"),
        ("[]", "[]"),
    ] {
        assert_eq!(to_string(&parse(from.as_bytes()).unwrap()), to);
    }
}

#[test]
fn bad_texts_are_refused_in_gos_words() {
    for (text, error) in [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ("{]", "invalid character ']' looking for beginning of object key string"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("nul", "unexpected end of JSON input"),
        ("01", "invalid character '1' after top-level value"),
        ("\"\n\"", "invalid character '\\n' in string literal"),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), error, "{text}");
    }
    assert_eq!(parse("[".repeat(100_000).as_bytes()), Err(JsonError::Depth));
}

#[test]
fn type_meta_is_found_wherever_it_stands() {
    let meta = type_meta(br#"{"spec":{"kind":"no"},"kind":"Pod","x":[{}],"apiVersion":"v1"}"#).unwrap();
    assert_eq!(meta, TypeMeta { api_version: "v1".into(), kind: "Pod".into() });
    assert_eq!(type_meta(b"[]").unwrap(), TypeMeta::default());
}

#[test]
fn raw_text_loses_its_white_space_only() {
    assert_eq!(compact_raw(r#"{ "a <" : [ 1.50, "x \" y" ] }"#), r#"{"a \u003c":[1.50,"x \" y"]}"#);
}
