//! `intstr.IntOrString`: a number, a name or a percentage.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    Int(i32),
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

/// In upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for IntOrString: invalid type: {0}")]
pub struct BadIntOrString(String);

impl IntOrString {
    /// A number, or a percentage of `total` (rounded up or down).
    pub fn scaled(&self, total: i64, round_up: bool) -> Result<i64, BadIntOrString> {
        match self {
            Self::Int(n) => Ok((*n).into()),
            Self::String(text) => {
                let number = text.strip_suffix('%').and_then(|n| n.parse::<i64>().ok());
                let Some(percent) = number else {
                    return Err(BadIntOrString("string is not a percentage".into()));
                };
                let hundredfold = i128::from(percent) * i128::from(total);
                let floor = hundredfold.div_euclid(100);
                let rest = hundredfold.rem_euclid(100) != 0;
                Ok((floor + i128::from(round_up && rest)) as i64)
            }
        }
    }

    /// The number, or the number that the text is; 0 otherwise.
    pub fn int_value(&self) -> i32 {
        match self {
            Self::Int(n) => *n,
            Self::String(text) => text.parse().unwrap_or(0),
        }
    }

    pub fn is_percent(&self) -> bool {
        matches!(self, Self::String(s) if s.ends_with('%'))
    }
}

impl From<&str> for IntOrString {
    /// As upstream's `Parse`: what is a 32-bit number becomes one.
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::String(text.into()), Self::Int)
    }
}

impl From<i32> for IntOrString {
    fn from(n: i32) -> Self {
        Self::Int(n)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => write!(f, "{n}"),
            Self::String(s) => f.write_str(s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_of_a_total() {
        assert_eq!(IntOrString::from("25%").scaled(10, true), Ok(3));
        assert_eq!(IntOrString::from("25%").scaled(10, false), Ok(2));
        assert_eq!(IntOrString::from(7).scaled(10, false), Ok(7));
        assert!(IntOrString::from("x").scaled(10, false).is_err());
    }
}
