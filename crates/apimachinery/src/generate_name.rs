//! The suffix of `metadata.generateName`: five random characters that make no words.

use rand::RngExt;

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const LENGTH: usize = 5;
/// Longest name that is made, so that other names can be derived from it.
const MAX: usize = 63;

/// `base`, cut to leave room, and five random characters.
pub fn generate(base: &str) -> String {
    let end = base.floor_char_boundary(base.len().min(MAX - LENGTH));
    format!("{}{}", &base[..end], suffix(LENGTH))
}

/// `n` random characters of the alphabet that generated names use.
pub fn suffix(n: usize) -> String {
    let mut rng = rand::rng();
    (0..n).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// A number made safe for names, as pod-template hashes are: each digit and letter by one of the alphabet.
pub fn safe_encode(text: &str) -> String {
    text.bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_short_and_plain() {
        let name = generate("web-");
        assert!(name.starts_with("web-") && name.len() == 9);
        assert!(name[4..].bytes().all(|b| ALPHABET.contains(&b)));
        assert_eq!(generate(&"a".repeat(80)).len(), 63);
    }
}
