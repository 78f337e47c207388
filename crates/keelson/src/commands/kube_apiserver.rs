//! `keelson kube-apiserver`

use kube_apiserver::options::Options;

use super::{Outcome, daemon};

pub fn run(arguments: Vec<String>) -> Outcome {
    let parsed = Options::parse_from_args(arguments.into_iter().map(Into::into))?;
    daemon::run(parsed.options.logging.v, async |shutdown| {
        parsed.warn_ignored();
        Ok(kube_apiserver::run(parsed.options.clone(), shutdown).await?)
    })
}
