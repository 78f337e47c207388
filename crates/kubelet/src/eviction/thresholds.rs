//! What the configuration says about eviction: signals and the amounts below which pods are evicted.

use std::time::Duration;

use crate::config::KubeletConfiguration;
use crate::quantity;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Bytes of memory.
    Memory,
    /// Bytes of the file system of the kubelet's folder.
    NodeDisk,
    /// Inodes of it.
    NodeInodes,
    /// Bytes of the file system of images.
    ImageDisk,
    /// Inodes of it.
    ImageInodes,
    /// Process ids.
    Processes,
}

/// A condition of the node that signals lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// `DiskPressure`
    Disk,
    /// `MemoryPressure`
    Memory,
    /// `PIDPressure`
    Processes,
}

impl Condition {
    /// The condition's type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "DiskPressure",
            Self::Memory => "MemoryPressure",
            Self::Processes => "PIDPressure",
        }
    }
}

impl Signal {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "memory.available" => Self::Memory,
            "nodefs.available" => Self::NodeDisk,
            "nodefs.inodesFree" => Self::NodeInodes,
            "imagefs.available" => Self::ImageDisk,
            "imagefs.inodesFree" => Self::ImageInodes,
            "pid.available" => Self::Processes,
            _ => return None,
        })
    }

    /// The condition that it leads to.
    #[must_use]
    pub const fn condition(self) -> Condition {
        match self {
            Self::Memory => Condition::Memory,
            Self::Processes => Condition::Processes,
            _ => Condition::Disk,
        }
    }

    /// The resource that is short, in upstream's words.
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::NodeDisk | Self::ImageDisk => "ephemeral-storage",
            Self::NodeInodes | Self::ImageInodes => "inodes",
        }
    }

    /// An amount as messages show it.
    #[must_use]
    pub fn show(self, amount: i64) -> String {
        match self {
            Self::Memory | Self::NodeDisk | Self::ImageDisk => quantity::from_bytes(amount).0,
            _ => quantity::from_value(amount).0,
        }
    }
}

/// An amount, absolute or of the capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// In units of the signal.
    Absolute(i64),
    /// A part of the capacity, 0 to 1.
    Part(f64),
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Part(percent / 100.0))
            }
            None => quantity::value(text).filter(|value| *value >= 0).map(Self::Absolute),
        }
    }

    /// In units of the signal.
    #[must_use]
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Absolute(value) => value,
            Self::Part(part) => (capacity as f64 * part) as i64,
        }
    }
}

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub signal: Signal,
    /// Pods are evicted below it.
    pub amount: Amount,
    /// How long it must be met; zero for a hard one.
    pub grace: Duration,
    /// Whether pods get no time of their own.
    pub hard: bool,
    /// How much more is to be reclaimed once it was met.
    pub reclaim: Amount,
}

/// The thresholds of a configuration, hard ones first. One of 0% or 100% is switched off, as upstream's.
///
/// # Errors
/// What is wrong, for the user.
pub fn parse(config: &KubeletConfiguration) -> Result<Vec<Threshold>, String> {
    let reclaim = |name: &str| match config.eviction_minimum_reclaim.get(name) {
        None => Ok(Amount::Absolute(0)),
        Some(text) => {
            Amount::parse(text).ok_or_else(|| format!("invalid eviction minimum reclaim {name}={text}"))
        }
    };
    let read = |name: &str, text: &str| {
        // named by upstream, and the same as the disk of images or of the node here
        if name.starts_with("containerfs.") || name == "allocatableMemory.available" {
            return Err(format!("eviction signal {name} is not built"));
        }
        let signal = Signal::parse(name).ok_or_else(|| format!("unsupported eviction signal {name}"))?;
        let amount =
            Amount::parse(text).ok_or_else(|| format!("invalid eviction threshold {name}<{text}"))?;
        let off = matches!(amount, Amount::Part(part) if part <= 0.0 || part >= 1.0);
        Ok((signal, amount, off, reclaim(name)?))
    };
    let mut all = Vec::new();
    for (name, text) in config.eviction_hard.iter().flatten() {
        let (signal, amount, off, reclaim) = read(name, text)?;
        if !off {
            all.push(Threshold { signal, amount, grace: Duration::ZERO, hard: true, reclaim });
        }
    }
    for (name, text) in &config.eviction_soft {
        let (signal, amount, off, reclaim) = read(name, text)?;
        let grace = config.eviction_soft_grace_period.get(name);
        let grace = grace.ok_or_else(|| {
            format!("grace period must be specified for the soft eviction threshold {name}")
        })?;
        if !off {
            all.push(Threshold { signal, amount, grace: grace.0, hard: false, reclaim });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> KubeletConfiguration {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn reads_hard_and_soft() {
        let list = parse(&config(
            "{evictionHard: {memory.available: 100Mi, nodefs.available: 10%, imagefs.available: 0%}, evictionSoft: {pid.available: '50'},\
             evictionSoftGracePeriod: {pid.available: 1m}, evictionMinimumReclaim: {memory.available: 1Mi}}",
        ))
        .unwrap();
        assert_eq!(list.len(), 3, "0% is off");
        assert_eq!((list[0].signal, list[0].amount.of(0)), (Signal::Memory, 100 << 20));
        assert_eq!(list[0].reclaim.of(0), 1 << 20);
        assert_eq!(list[1].amount.of(50), 5);
        assert_eq!((list[2].hard, list[2].grace), (false, Duration::from_secs(60)));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for text in [
            "{evictionHard: {disk.available: 1}}",
            "{evictionHard: {memory.available: x}}",
            "{evictionSoft: {memory.available: 1Mi}}",
            "{evictionHard: {memory.available: 101%}}",
        ] {
            assert!(parse(&config(text)).is_err(), "{text}");
        }
    }
}
