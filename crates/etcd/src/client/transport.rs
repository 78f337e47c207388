//! The connections to the members, and which one is in use. Health is known by use: a request that
//! finds its endpoint unavailable moves everyone to the next. Reads are then tried again; a write
//! only if it surely never left, since otherwise nobody knows whether it happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;

use super::ClientConfig;
use super::failure::{self, About};
use super::unary::Connection;
use crate::{Error, Result};

struct Member {
    url: String,
    channel: Channel,
    unary: Arc<Connection>,
}

/// See the module's words.
pub struct Transport {
    members: Vec<Member>,
    current: AtomicUsize,
    request_timeout: Duration,
}

/// Whether a request may be done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It reads, or doing it twice is as doing it once.
    Safe,
    /// It writes.
    Unsafe,
}

/// Rounds over all endpoints before a request fails.
const ROUNDS: usize = 2;
/// The pause between rounds.
const PAUSE: Duration = Duration::from_millis(100);

impl Transport {
    /// Connections are made when they are first used.
    pub fn new(config: &ClientConfig) -> Result<Self> {
        let member = |(url, endpoint): (String, tonic::transport::Endpoint)| {
            let unary = Arc::new(Connection::new(&url, config)?);
            Ok(Member { url, channel: endpoint.connect_lazy(), unary })
        };
        let members = config.build()?.into_iter().map(member).collect::<Result<_>>()?;
        Ok(Self { members, current: AtomicUsize::new(0), request_timeout: config.request_timeout })
    }

    /// How long a request may take.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    fn member(&self) -> (usize, &Member) {
        let at = self.current.load(Ordering::Relaxed) % self.members.len();
        (at, &self.members[at])
    }

    /// The endpoint in use: its number, for [`Self::move_on`], its URL and its connection.
    pub fn current(&self) -> (usize, &str, Channel) {
        let (at, member) = self.member();
        (at, &member.url, member.channel.clone())
    }

    /// Uses the endpoint after `failed`, unless another request has moved on already.
    pub fn move_on(&self, failed: usize) {
        let next = (failed + 1) % self.members.len();
        let moved = self.current.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() && next != failed {
            tracing::warn!(from = %self.members[failed].url, to = %self.members[next].url, "etcd endpoint is unavailable");
        }
    }

    /// Does a request at the endpoint in use, and at the others as the module's words say.
    pub async fn call<T, F>(&self, about: About, repeat: Repeat, request: impl Fn(Channel) -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let request = |member: &Member| {
            let answer = request(member.channel.clone());
            async move { Ok(answer.await?.into_inner()) }
        };
        self.within(self.attempts(about, repeat, request)).await
    }

    /// Calls a method that is one message both ways, as [`Self::call`] does.
    pub async fn unary<Q, A>(
        &self,
        about: About,
        repeat: Repeat,
        method: &'static str,
        request: Q,
    ) -> Result<A>
    where
        Q: prost::Message,
        A: prost::Message + Default,
    {
        let request = &request;
        let call = |member: &Member| {
            let unary = member.unary.clone();
            async move { unary.call(method, request).await }
        };
        self.within(self.attempts(about, repeat, call)).await
    }

    async fn within<T>(&self, attempts: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.request_timeout, attempts).await {
            Ok(answer) => answer,
            Err(_) => {
                let (at, url, _) = self.current();
                self.move_on(at);
                let reason = format!("no answer in {:?}", self.request_timeout);
                Err(Error::Timeout { endpoint: url.to_owned(), reason })
            }
        }
    }

    async fn attempts<T, F>(&self, about: About, repeat: Repeat, request: impl Fn(&Member) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut left = ROUNDS * self.members.len();
        loop {
            let (at, member) = self.member();
            let url = &member.url;
            let status = match request(member).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            left -= 1;
            let elsewhere = failure::is_endpoint_failure(&status);
            if elsewhere {
                self.move_on(at);
            }
            let again = repeat == Repeat::Safe || failure::never_sent(&status);
            if !elsewhere || !again || left == 0 {
                return Err(failure::error(&status, url, about));
            }
            if left.is_multiple_of(self.members.len()) {
                tokio::time::sleep(PAUSE).await; // nothing tells when a server comes back
            }
        }
    }
}
