//! What parses, what is refused, and that nothing worse happens to hostile texts.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn faults(source: &str) -> Vec<String> {
    parse(source).err().unwrap_or_default().into_iter().map(|f| f.message).collect()
}

#[test]
fn what_parses() {
    for source in [
        "a.b[1].c(2, x) + -3 * 4u % 5 - -a",
        "a ? b : c ? d : e",
        "{'a': 1, ?b: c,}",
        "[1, ?2,]",
        "A.b.C{x: 1, ?y: 2}",
        ".a.b",
        "r'a\\b' + b'\\xff' + \"\"\"x\ny\"\"\"",
        "1.5e3 + .5 + 0x1F // comment",
        "a.?b[?c].exists(x, x == 1)",
        "!!a && !b || c in [1]",
    ] {
        assert_eq!(faults(source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn hostile_nesting_is_refused() {
    let limit = "expression recursion limit exceeded: 250";
    for source in [
        "(".repeat(10_000),
        "[".repeat(10_000),
        "!".to_owned() + &"a(".repeat(10_000),
        "a".to_owned() + &"+a".repeat(10_000),
        "a".to_owned() + &".a".repeat(10_000),
    ] {
        assert!(faults(&source).iter().any(|f| f == limit), "{}", &source[..20]);
    }
    assert!(faults(&("a".to_owned() + &"&&a".repeat(10_000))).is_empty());
}

/// A generator that is the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn broken_texts_are_refused_and_nothing_worse() {
    let pieces = [
        "a", "é", "'", "\"", "\\", "x", "(", ")", "[", "]", "{", "}", "?", ":", ".", ",", "1", "1.5", "0x",
        "u", "b'", "r\"", "'''", "\n", " ", "in", "true", "&&", "|", "=", "==", "!", "-", "`", "//", "has(",
        ".map(", "😀", "\\u12",
    ];
    let mut dice = Dice(7);
    for _ in 0..20_000 {
        let source: String = (0..dice.roll(12)).map(|_| pieces[dice.roll(pieces.len())]).collect();
        if let Err(found) = parse(&source) {
            assert!(!found.is_empty(), "{source}");
            assert!(found.iter().all(|f| f.at.is_none_or(|at| source.is_char_boundary(at))), "{source}");
        }
    }
}
