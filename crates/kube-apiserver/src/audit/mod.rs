//! `--audit-policy-file` and `--audit-log-*`: the policy read, and a log file as the sink of its events.
//!
//! Every mode writes an event before the answer goes out, as upstream's `blocking` does; `batch` may lose what it had not
//! written, so it is never weaker. Left out: the webhook backend, the format `legacy`, truncation of large events.

mod log;

use std::sync::Arc;

use apiserver::audit::{Auditor, Policy};

use crate::options::Audit;
use crate::server::Error;
use log::{Limits, Log};

const MODES: [&str; 3] = ["batch", "blocking", "blocking-strict"];
const MEGABYTE: u64 = 1 << 20;

fn check(options: &Audit) -> Result<(), Error> {
    let invalid = |flag: &str, value: &str, known: &str| {
        Err(Error::Option(format!("invalid {flag} {value:?}, allowed are {known}")))
    };
    if !MODES.contains(&options.audit_log_mode.as_str()) {
        return invalid("--audit-log-mode", &options.audit_log_mode, "batch, blocking, blocking-strict");
    }
    if options.audit_log_version != "audit.k8s.io/v1" {
        return invalid("--audit-log-version", &options.audit_log_version, "audit.k8s.io/v1");
    }
    match options.audit_log_format.as_str() {
        "json" => Ok(()),
        "legacy" => Err(Error::Option("--audit-log-format=legacy is not built; json is".into())),
        other => invalid("--audit-log-format", other, "json"),
    }
}

/// None: nothing is to be written of requests.
pub fn auditor(options: &Audit) -> Result<Option<Auditor>, Error> {
    check(options)?;
    let path = &options.audit_log_path;
    match (options.audit_policy_file.as_str(), path.as_str()) {
        ("", "") => return Ok(None),
        ("", _) => {
            tracing::warn!("no audit policy file is given: nothing will be written to {path}");
            return Ok(None);
        }
        (_, "") => {
            tracing::warn!("an audit policy is given and no log: nothing will be written");
            return Ok(None);
        }
        _ => {}
    }
    let policy = options.audit_policy_file.as_str();
    let text = crate::server::files::read(policy)?;
    let policy = Policy::parse(&text).map_err(|e| Error::Option(format!("audit policy {policy}: {e}")))?;
    let limits = Limits {
        bytes: u64::from(options.audit_log_maxsize) * MEGABYTE,
        backups: options.audit_log_maxbackup as usize,
        days: options.audit_log_maxage,
        compress: options.audit_log_compress,
    };
    let log = Log::open(path, limits).map_err(|source| Error::File { path: path.clone(), source })?;
    Ok(Some(Auditor::new(policy, Arc::new(log))))
}
