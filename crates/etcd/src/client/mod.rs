//! The client of a real etcd 3.7: the store over gRPC, with failover between endpoints. It adds no
//! prefix to keys and caches nothing.

mod config;
mod convert;
mod failure;
mod quiet;
mod transport;
mod unary;
mod watch;

use async_trait::async_trait;
pub use config::ClientConfig;
use failure::About;
use tonic::transport::Channel;
use transport::{Repeat, Transport};

use crate::proto::etcdserverpb as pb;
use crate::{
    Error, Lease, LeaseStatus, RangeRequest, RangeResponse, Result, Status, Store, Txn, TxnResponse, Watch,
    WatchRequest,
};

/// The client of a real etcd.
pub struct Client {
    transport: std::sync::Arc<Transport>,
    watches: watch::Mux,
}

type Kv = pb::kv_client::KvClient<Channel>;
type Leases = pb::lease_client::LeaseClient<Channel>;

fn kv(channel: Channel) -> Kv {
    Kv::new(channel).max_decoding_message_size(usize::MAX)
}

fn leases(channel: Channel) -> Leases {
    Leases::new(channel).max_decoding_message_size(usize::MAX)
}

impl Client {
    /// A client; connections are made when they are first used (ask [`Store::status`] to know now).
    /// Needs a tokio runtime, for the task that holds the watch stream. [`Error::Config`].
    pub fn new(config: &ClientConfig) -> Result<Self> {
        let transport = std::sync::Arc::new(Transport::new(config)?);
        let watches = watch::Mux::start(transport.clone());
        Ok(Self { transport, watches })
    }
}

#[async_trait]
impl Store for Client {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        let request = convert::range(request);
        let answer = self.transport.unary(About::default(), Repeat::Safe, "/etcdserverpb.KV/Range", request);
        answer.await.map(convert::range_response)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let about = convert::about(&txn);
        let request = convert::txn(txn);
        let answer = self.transport.unary(about, Repeat::Unsafe, "/etcdserverpb.KV/Txn", request);
        convert::txn_response(answer.await?)
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        if request.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        self.watches.open(request).await
    }

    async fn lease_grant(&self, ttl: i64, id: i64) -> Result<Lease> {
        let request = pb::LeaseGrantRequest { ttl, id };
        let about = About { lease: id, ..About::default() };
        let call = |channel| async move { leases(channel).lease_grant(request).await };
        let answer = self.transport.call(about, Repeat::Unsafe, call).await?;
        if answer.error.is_empty() {
            Ok(Lease { id: answer.id, ttl: answer.ttl })
        } else {
            Err(Error::Refused { reason: answer.error })
        }
    }

    async fn lease_revoke(&self, id: i64) -> Result<()> {
        let about = About { lease: id, ..About::default() };
        let request = pb::LeaseRevokeRequest { id };
        let call = |channel| async move { leases(channel).lease_revoke(request).await };
        self.transport.call(about, Repeat::Unsafe, call).await.map(drop)
    }

    async fn lease_keep_alive(&self, id: i64) -> Result<i64> {
        let about = About { lease: id, ..About::default() };
        let call = |channel| keep_alive_once(channel, id);
        match self.transport.call(about, Repeat::Safe, call).await? {
            ttl if ttl > 0 => Ok(ttl),
            _ => Err(Error::LeaseNotFound { id }),
        }
    }

    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseStatus> {
        let about = About { lease: id, ..About::default() };
        let request = pb::LeaseTimeToLiveRequest { id, keys };
        let call = |channel| async move { leases(channel).lease_time_to_live(request).await };
        let answer = self.transport.call(about, Repeat::Safe, call).await?;
        if answer.ttl < 0 {
            return Err(Error::LeaseNotFound { id });
        }
        let mut keys = answer.keys;
        keys.sort();
        Ok(LeaseStatus { id, ttl: answer.ttl, granted_ttl: answer.granted_ttl, keys })
    }

    async fn compact(&self, revision: i64) -> Result<i64> {
        let request = pb::CompactionRequest { revision, physical: false };
        let call = |channel| async move { kv(channel).compact(request).await };
        let answer = self.transport.call(About::default(), Repeat::Unsafe, call).await?;
        Ok(convert::revision(answer.header.as_ref()))
    }

    async fn status(&self) -> Result<Status> {
        let call = |channel| async move {
            pb::maintenance_client::MaintenanceClient::new(channel).status(pb::StatusRequest {}).await
        };
        let answer = self.transport.call(About::default(), Repeat::Safe, call).await?;
        Ok(Status {
            version: answer.version,
            revision: answer.header.map_or(0, |header| header.revision),
            db_size: answer.db_size,
            db_size_in_use: answer.db_size_in_use,
            endpoint: self.transport.current().1.to_owned(),
        })
    }
}

async fn keep_alive_once(channel: Channel, id: i64) -> Result<tonic::Response<i64>, tonic::Status> {
    let once = futures::stream::iter([pb::LeaseKeepAliveRequest { id }]);
    let mut answers = leases(channel).lease_keep_alive(once).await?.into_inner();
    let answer = answers.message().await?;
    Ok(tonic::Response::new(answer.map_or(0, |answer| answer.ttl)))
}
