//! `keelson kubelet`

use super::{Outcome, daemon};

pub fn run(arguments: Vec<String>) -> Outcome {
    let parsed = kubelet::Options::parse_flags(arguments.into_iter().map(Into::into))?;
    daemon::run(parsed.options.verbosity.unwrap_or(0), async |shutdown| {
        parsed.warn_ignored();
        Ok(kubelet::run(parsed.options.clone(), None, shutdown).await?)
    })
}
