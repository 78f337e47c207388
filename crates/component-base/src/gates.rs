//! Feature gates: `--feature-gates=A=true,B=false` and the `featureGates` of configuration files.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::gates_table::GATES;

/// How finished a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Alpha,
    Beta,
    Ga,
    Deprecated,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    pub name: &'static str,
    pub stage: Stage,
    pub default: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    #[error("unrecognized feature gate: {0}")]
    Unknown(String),
    #[error("missing bool value for {0}")]
    NoValue(String),
    #[error("invalid value of {0}={1}: it is neither true nor false")]
    NotBool(String, String),
}

/// Which gates were set; the others are at their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    set: BTreeMap<String, bool>,
}

/// The row of a gate.
pub fn gate(name: &str) -> Option<&'static Gate> {
    GATES.binary_search_by(|g| g.name.cmp(name)).ok().map(|at| &GATES[at])
}

impl FeatureGates {
    /// From the map of a configuration file.
    pub fn from_map<'a>(map: impl IntoIterator<Item = (&'a str, bool)>) -> Result<Self, GateError> {
        let mut gates = Self::default();
        for (name, on) in map {
            gates.set(name, on)?;
        }
        Ok(gates)
    }

    pub fn set(&mut self, name: &str, on: bool) -> Result<(), GateError> {
        gate(name).ok_or_else(|| GateError::Unknown(name.into()))?;
        self.set.insert(name.into(), on);
        Ok(())
    }

    /// Takes over what `other` sets.
    pub fn merge(&mut self, other: &Self) {
        self.set.extend(other.set.iter().map(|(name, on)| (name.clone(), *on)));
    }

    /// Whether a feature is on. AllAlpha and AllBeta count for gates of their stage that are not set themselves.
    pub fn enabled(&self, name: &str) -> bool {
        if let Some(on) = self.set.get(name) {
            return *on;
        }
        let Some(gate) = gate(name) else { return false };
        let all = match gate.stage {
            Stage::Alpha => self.set.get("AllAlpha"),
            Stage::Beta => self.set.get("AllBeta"),
            Stage::Ga | Stage::Deprecated => None,
        };
        all.copied().unwrap_or(gate.default)
    }

    /// The gates that were set explicitly.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.set.iter().map(|(name, on)| (name.as_str(), *on))
    }
}

impl FromStr for FeatureGates {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let mut gates = Self::default();
        for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| GateError::NoValue(pair.into()))?;
            // A component may be named in front: `kubelet:Gate=true`.
            let name = name.trim().rsplit(':').next().unwrap_or_default();
            let on = match value.trim() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
                "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
                other => return Err(GateError::NotBool(name.into(), other.into())),
            };
            gates.set(name, on)?;
        }
        Ok(gates)
    }
}

impl fmt::Display for FeatureGates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<_> = self.iter().map(|(name, on)| format!("{name}={on}")).collect();
        f.write_str(&pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_checked() {
        let gates: FeatureGates = "AllAlpha=true, CBORServingAndStorage=false".parse().unwrap();
        assert!(!gates.enabled("CBORServingAndStorage"));
        assert!(gates.enabled("APIServingWithRoutine"));
        assert!(gates.enabled("APIResponseCompression"));
        assert_eq!("Foo=true".parse::<FeatureGates>(), Err(GateError::Unknown("Foo".into())));
        assert_eq!("AllAlpha".parse::<FeatureGates>(), Err(GateError::NoValue("AllAlpha".into())));
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(GATES.is_sorted_by(|a, b| a.name < b.name));
    }
}
