//! The one error of a CRI call: which call, and what the runtime said.

use tonic::Code;

/// A failed call to the container runtime.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The endpoint is not a unix socket, or is not an absolute path.
    #[error("container runtime endpoint {0:?} is not a unix socket address")]
    Endpoint(String),
    /// The connection could not be set up.
    #[error("connect to container runtime at {path}: {message}")]
    Connect {
        /// Path of the socket.
        path: String,
        /// What the transport said.
        message: String,
    },
    /// The runtime answered with a gRPC error. The text is what upstream shows to users.
    #[error("rpc error: code = {} desc = {message}", code_name(*code))]
    Status {
        /// Name of the call.
        call: &'static str,
        /// gRPC status code.
        code: Code,
        /// The runtime's message.
        message: String,
    },
}

impl Error {
    pub(crate) fn status(call: &'static str, status: &tonic::Status) -> Self {
        Self::Status { call, code: status.code(), message: status.message().to_owned() }
    }

    /// The gRPC code, `Unavailable` where no answer came at all.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Status { code, .. } => *code,
            _ => Code::Unavailable,
        }
    }

    /// True if the runtime does not know the container, sandbox or image.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Code::NotFound
    }

    /// True if the runtime does not have this call (containerd 1.6 lacks events, for one).
    #[must_use]
    pub fn is_unimplemented(&self) -> bool {
        self.code() == Code::Unimplemented
    }

    /// The runtime's message without the gRPC wrapping.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Status { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

/// Names of gRPC codes as Go prints them.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_as_go_prints_it() {
        let error = Error::status("PullImage", &tonic::Status::not_found("no such image"));
        assert_eq!(error.to_string(), "rpc error: code = NotFound desc = no such image");
        assert!(error.is_not_found());
    }
}
