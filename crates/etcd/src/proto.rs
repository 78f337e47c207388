//! The etcd v3 API as generated from `proto/`: messages, clients, and the traits of its servers.
//! Nothing outside `client` knows these types yet.
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]

/// Keys and events.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Requests, answers, services.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
