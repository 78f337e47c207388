//! What etcd's gRPC errors mean in the store's words.

use tonic::{Code, Status};

use crate::Error;

/// What the failed request was about, for errors that name it.
#[derive(Debug, Clone, Copy, Default)]
pub struct About {
    /// The lease that it named.
    pub lease: i64,
    /// Its operations.
    pub ops: usize,
    /// Its bytes.
    pub size: usize,
}

/// The error that a status stands for.
pub fn error(status: &Status, endpoint: &str, about: About) -> Error {
    let reason = reason(status);
    let endpoint = endpoint.to_owned();
    let has = |text: &str| status.message().contains(text);
    match status.code() {
        Code::Unavailable | Code::Cancelled => Error::Unavailable { endpoint, reason },
        Code::DeadlineExceeded => Error::Timeout { endpoint, reason },
        Code::DataLoss => Error::Corrupt { place: endpoint, what: reason },
        // etcd does not tell the compact revision here.
        Code::OutOfRange if has("compacted") => Error::Compacted { compact_revision: 0 },
        Code::OutOfRange if has("future revision") => Error::FutureRevision,
        Code::NotFound if has("lease not found") => Error::LeaseNotFound { id: about.lease },
        Code::FailedPrecondition if has("lease already exists") => Error::LeaseExists { id: about.lease },
        Code::InvalidArgument if has("key is not provided") => Error::EmptyKey,
        Code::InvalidArgument if has("key not found") => Error::KeyNotFound,
        Code::InvalidArgument if has("duplicate key") => Error::DuplicateKey,
        Code::InvalidArgument if has("too many operations") => {
            Error::TooManyOps { count: about.ops, limit: crate::embedded::MAX_TXN_OPS }
        }
        Code::InvalidArgument if has("request is too large") => too_large(about),
        Code::ResourceExhausted if has("space exceeded") => Error::NoSpace { reason },
        Code::ResourceExhausted if has("larger than max") => too_large(about),
        Code::ResourceExhausted => Error::Unavailable { endpoint, reason },
        Code::Unknown if status.message().contains("transport") => Error::Unavailable { endpoint, reason },
        _ => Error::Refused { reason },
    }
}

fn too_large(about: About) -> Error {
    Error::RequestTooLarge { size: about.size, limit: crate::embedded::MAX_REQUEST_BYTES }
}

/// The status with what lies behind it.
fn reason(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = cause.source();
    }
    reason
}

/// Whether the request surely never left: no connection was made for it.
pub fn never_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        if cause.is::<tonic::ConnectError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Whether another endpoint may do better.
pub fn is_endpoint_failure(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable)
        || (status.code() == Code::Unknown && status.message().contains("transport"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_words() {
        let about = About { lease: 7, ops: 200, size: 9 };
        for (code, message, wanted) in [
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", "Compacted"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", "FutureRevision"),
            (Code::NotFound, "etcdserver: requested lease not found", "LeaseNotFound { id: 7 }"),
            (Code::InvalidArgument, "etcdserver: request is too large", "RequestTooLarge { size: 9"),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", "DuplicateKey"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "NoSpace"),
            (Code::Unavailable, "etcdserver: no leader", "Unavailable { endpoint: \"e\""),
            (Code::PermissionDenied, "etcdserver: permission denied", "Refused"),
        ] {
            let error = error(&Status::new(code, message), "e", about);
            assert!(format!("{error:?}").starts_with(wanted), "{error:?}");
        }
    }
}
