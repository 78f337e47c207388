//! Command lines as upstream's components read them (pflag): `--flag=value`, `--flag value`, `--bool`,
//! `--bool=false`, `_` for `-` in names, the last of several wins, lists by commas. An unknown flag is an error.
//! A flag that upstream has and that is not built here is named in one table a component: it warns, or it is an
//! error where ignoring it would weaken security or lose data.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What happens when a flag is given that is not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbuilt {
    /// Started anyway, with a warning.
    Warn,
    /// Refused.
    Refuse,
}

/// A flag that upstream's component has and ours has not yet.
#[derive(Clone, Copy, Debug)]
pub struct UnbuiltFlag {
    /// Without dashes.
    pub name: &'static str,
    /// A boolean takes no value of its own unless written with `=`.
    pub boolean: bool,
    pub then: Unbuilt,
}

impl UnbuiltFlag {
    /// One with a value that is ignored with a warning.
    pub const fn warn(name: &'static str) -> Self {
        Self { name, boolean: false, then: Unbuilt::Warn }
    }

    /// A boolean that is ignored with a warning.
    pub const fn warn_bool(name: &'static str) -> Self {
        Self { name, boolean: true, then: Unbuilt::Warn }
    }

    /// One that must not be ignored.
    pub const fn refuse(name: &'static str) -> Self {
        Self { name, boolean: false, then: Unbuilt::Refuse }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// clap's own, with its exit code; `--help` and `--version` come this way too.
    #[error(transparent)]
    Parse(#[from] clap::Error),
    #[error("--{0} is a flag of this component upstream that is not built yet, and ignoring it is not safe")]
    NotBuilt(&'static str),
}

/// Options of a component.
#[derive(Debug)]
pub struct Parsed<O> {
    pub options: O,
    /// Flags that were given and have no effect; log them once logging is set up.
    pub ignored: Vec<&'static str>,
}

impl<O> Parsed<O> {
    /// Logs a warning for each flag that has no effect.
    pub fn warn_ignored(&self) {
        for name in &self.ignored {
            tracing::warn!("--{name} has no effect: it is not built yet");
        }
    }
}

/// Parses a component's command line. `args` begins with the program's name.
pub fn parse<O: clap::Parser>(
    args: impl IntoIterator<Item = OsString>,
    unbuilt: &'static [UnbuiltFlag],
) -> Result<Parsed<O>, FlagError> {
    let (args, ignored) = sift(args.into_iter(), unbuilt)?;
    let matches = O::command().args_override_self(true).try_get_matches_from(args)?;
    Ok(Parsed { options: O::from_arg_matches(&matches)?, ignored })
}

type Sifted = (Vec<OsString>, Vec<&'static str>);

/// Brings names into their form with dashes and takes out the flags that are not built.
fn sift(args: impl Iterator<Item = OsString>, unbuilt: &'static [UnbuiltFlag]) -> Result<Sifted, FlagError> {
    let (mut kept, mut ignored) = (Vec::new(), Vec::new());
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str().and_then(|a| a.strip_prefix("--")) else {
            kept.push(arg);
            continue;
        };
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let name = name.replace('_', "-");
        let Some(flag) = unbuilt.iter().find(|f| f.name == name) else {
            kept.push(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")).into());
            continue;
        };
        if flag.then == Unbuilt::Refuse && value != Some("") {
            return Err(FlagError::NotBuilt(flag.name));
        }
        ignored.push(flag.name);
        if value.is_none() && !flag.boolean {
            args.next();
        }
    }
    Ok((kept, ignored))
}

/// A span of time in Go's notation, such as `1h30m`, `10s`, `1.5ms`, `0`. Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("time: invalid duration {0:?}")]
pub struct DurationError(String);

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let wrong = || DurationError(text.to_owned());
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut nanos = 0.0_f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            nanos += number * unit_nanos(&rest[..unit]).ok_or_else(wrong)?;
            rest = &rest[unit..];
        }
        Ok(Self(Duration::from_nanos(nanos.round() as u64)))
    }
}

fn unit_nanos(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 6e10,
        "h" => 3.6e12,
        _ => return None,
    })
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000_000_000 {
            let (unit, name) = match nanos {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", fraction(nanos, unit));
        }
        let (minutes, seconds) = (nanos / 60_000_000_000, fraction(nanos % 60_000_000_000, 1_000_000_000));
        match (minutes / 60, minutes % 60) {
            (0, 0) => write!(f, "{seconds}s"),
            (0, minutes) => write!(f, "{minutes}m{seconds}s"),
            (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
        }
    }
}

/// `nanos / unit` with as many decimals as it takes.
fn fraction(nanos: u128, unit: u128) -> String {
    let (whole, part) = (nanos / unit, nanos % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{part:0width$}").trim_end_matches('0').to_owned()
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// `key=value` pairs by commas, such as of `--node-labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

impl FromStr for Pairs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').filter(|p| !p.is_empty());
        pairs
            .map(|p| {
                p.split_once('=')
                    .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
                    .ok_or_else(|| format!("{p} must be formatted as key=value"))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// The attributes of a boolean flag, which takes `--flag`, `--flag=true` and `--flag=false`; use as
/// `#[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1,
/// default_missing_value = "true", require_equals = true)]`. Upstream's flags for the client of a component.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClientOptions {
    /// File with the address of the API server and the credentials for it.
    #[arg(long, default_value = "")]
    pub kubeconfig: String,
    /// Address of the API server; overrides the kubeconfig's.
    #[arg(long, default_value = "")]
    pub master: String,
    /// Requests a second; accepted, the server's fairness does the limiting.
    #[arg(long, default_value_t = 50.0)]
    pub kube_api_qps: f32,
    /// Burst of requests; accepted as `--kube-api-qps` is.
    #[arg(long, default_value_t = 100)]
    pub kube_api_burst: i32,
    /// Media type of requests; accepted, JSON is spoken.
    #[arg(long, default_value = "")]
    pub kube_api_content_type: String,
}

/// Upstream's flags for logs.
#[derive(Clone, Debug, clap::Args)]
pub struct LoggingOptions {
    /// Verbosity: 0 to 10.
    #[arg(long = "v", short = 'v', default_value_t = 0)]
    pub v: u8,
    /// `text` or `json`.
    #[arg(long, default_value = "text")]
    pub logging_format: String,
    /// Accepted: one level holds for every module.
    #[arg(long, default_value = "")]
    pub vmodule: String,
    /// Accepted: logs are not buffered.
    #[arg(long, default_value = "5s")]
    pub log_flush_frequency: GoDuration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, shown) in [
            ("1h", "1h0m0s"),
            ("1h2m3.5s", "1h2m3.5s"),
            ("90s", "1m30s"),
            ("1500us", "1.5ms"),
            ("0", "0s"),
            ("2ns", "2ns"),
        ] {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), shown);
        }
        for text in ["", "5", "s", "1x", "-1s"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[derive(clap::Parser, Debug)]
    struct Test {
        #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        leader_elect: bool,
        #[arg(long, value_delimiter = ',')]
        controllers: Vec<String>,
        #[command(flatten)]
        logging: LoggingOptions,
    }

    fn parse_test(args: &[&str]) -> Result<Parsed<Test>, FlagError> {
        const UNBUILT: &[UnbuiltFlag] = &[
            UnbuiltFlag::warn("profiling-path"),
            UnbuiltFlag::warn_bool("profiling"),
            UnbuiltFlag::refuse("audit-policy-file"),
        ];
        parse(["test"].iter().chain(args).map(OsString::from), UNBUILT)
    }

    #[test]
    fn flags_as_pflag_reads_them() {
        let parsed = parse_test(&[
            "--leader_elect=false",
            "--v=1",
            "--v",
            "4",
            "--controllers=*,-a",
            "--profiling",
            "--profiling-path",
            "x",
        ])
        .unwrap();
        assert!(!parsed.options.leader_elect);
        assert_eq!(parsed.options.logging.v, 4);
        assert_eq!(parsed.options.controllers, ["*", "-a"]);
        assert_eq!(parsed.ignored, ["profiling", "profiling-path"]);
        assert!(parse_test(&["--leader-elect"]).unwrap().options.leader_elect);
        assert!(matches!(parse_test(&["--nonsense"]), Err(FlagError::Parse(_))));
        assert!(matches!(
            parse_test(&["--audit-policy-file=x"]),
            Err(FlagError::NotBuilt("audit-policy-file"))
        ));
    }
}
