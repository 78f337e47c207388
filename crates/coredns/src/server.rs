//! Sockets: UDP in batches (one system call for up to 32 questions and one for their answers), TCP a connection a
//! task. A question of the zone is answered on the spot, others by a task that asks a forwarder.

mod batch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record as WireRecord;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::cache::{Answer, Cache};
use crate::forward::Forwarder;
use crate::views::Stores;
use crate::wire::{self, Question};
use crate::zone::{Data, Kind, Meaning, Record, Zone};

/// Questions at other servers at one time; more are refused until some are answered.
const FORWARDED: usize = 512;
/// An idle TCP connection is closed.
const IDLE: Duration = Duration::from_secs(10);

/// Answers questions, whatever socket they came by.
pub struct Resolver {
    /// None: every name is somebody else's.
    own: Option<(Zone, Stores)>,
    forwarder: Forwarder,
    cache: Arc<Cache>,
    open: AtomicBool,
    forwarding: Arc<Semaphore>,
}

/// What is done with a question.
pub enum Outcome {
    /// With the id of whoever asked first; see [`with_id`].
    Answer(Answer),
    /// Somebody else must be asked; see [`Resolver::forward`].
    Elsewhere(Box<Question>, Meaning),
    Nothing,
}

impl Resolver {
    pub fn new(own: Option<(Zone, Stores)>, forwarder: Forwarder, cache: Arc<Cache>) -> Self {
        let forwarding = Arc::new(Semaphore::new(FORWARDED));
        Self { own, forwarder, cache, open: AtomicBool::new(false), forwarding }
    }

    /// The records are there. Before that questions get SERVFAIL, at which clients ask again: a wrong NXDOMAIN they
    /// would keep.
    pub fn open(&self) {
        self.cache.clear();
        self.open.store(true, Ordering::Release);
    }

    /// From the cache, or made now and kept. `whole` for TCP, where nothing is cut.
    pub fn resolve(&self, query: &[u8], whole: bool) -> Outcome {
        let Some(key) = query.get(2..) else { return Outcome::Nothing };
        if !whole && let Some(answer) = self.cache.get(key) {
            return Outcome::Answer(answer);
        }
        let generation = self.cache.generation();
        let question = match wire::read(query) {
            Ok(question) => question,
            Err(Some(answer)) => return Outcome::Answer(answer.into()),
            Err(None) => return Outcome::Nothing,
        };
        if !self.open.load(Ordering::Acquire) {
            return failure(&question, ResponseCode::ServFail);
        }
        let meaning = self.meaning(&question.name, question.kind);
        let (meaning, more) = match meaning {
            Meaning::Elsewhere => return Outcome::Elsewhere(Box::new(question), Meaning::Elsewhere),
            Meaning::External(record) => match self.inside(&record, question.kind) {
                Some(more) => (Meaning::External(record), more),
                None => return Outcome::Elsewhere(Box::new(question), Meaning::External(record)),
            },
            other => (other, Vec::new()),
        };
        let answer = wire::answer(&question, self.domain(), &meaning, more);
        let bytes =
            if whole { wire::encode(&answer) } else { wire::encode_datagram(&question.message, &answer) };
        let Some(bytes) = bytes else { return failure(&question, ResponseCode::ServFail) };
        let bytes: Answer = bytes.into();
        if !whole {
            self.cache.put(generation, key, bytes.clone());
        }
        Outcome::Answer(bytes)
    }

    fn meaning(&self, name: &str, kind: Kind) -> Meaning {
        self.own.as_ref().map_or(Meaning::Elsewhere, |(zone, stores)| zone.resolve(stores, name, kind))
    }

    /// Of our own names.
    fn domain(&self) -> &str {
        self.own.as_ref().map_or("", |(zone, _)| zone.domain())
    }

    /// The addresses of an external name that is in our own zone after all.
    fn inside(&self, cname: &Record, kind: Kind) -> Option<Vec<WireRecord>> {
        let Data::Cname(target) = &cname.data else { return None };
        match self.meaning(target, kind) {
            Meaning::Records(records, _) => Some(records.iter().filter_map(wire::address_record).collect()),
            Meaning::NoSuchName => Some(Vec::new()),
            Meaning::Elsewhere | Meaning::External(_) => None,
        }
    }

    /// Asks the forwarder; the answer's bytes.
    pub async fn forward(
        &self,
        query: &[u8],
        question: &Question,
        meaning: &Meaning,
        whole: bool,
    ) -> Option<Vec<u8>> {
        let refused = || wire::encode(&wire::reply(&question.message, ResponseCode::Refused));
        let Ok(_permit) = self.forwarding.try_acquire() else { return refused() };
        if let Meaning::External(record) = meaning {
            let more = self.external(record, question).await;
            return wire::encode(&wire::answer(question, self.domain(), meaning, more));
        }
        if self.forwarder.is_empty() {
            return refused();
        }
        match self.forwarder.ask(query, whole).await {
            Some(answer) => Some(answer),
            None => wire::encode(&wire::reply(&question.message, ResponseCode::ServFail)),
        }
    }

    /// What the world says of an external name's target.
    async fn external(&self, cname: &Record, question: &Question) -> Vec<WireRecord> {
        let Data::Cname(target) = &cname.data else { return Vec::new() };
        let Some(name) = wire::name(target) else { return Vec::new() };
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, question.query.query_type()));
        let Some(query) = wire::encode(&message) else { return Vec::new() };
        let answer = self.forwarder.ask(&query, false).await;
        answer.and_then(|a| Message::from_vec(&a).ok()).map(|m| m.answers).unwrap_or_default()
    }
}

fn failure(question: &Question, code: ResponseCode) -> Outcome {
    wire::encode(&wire::reply(&question.message, code))
        .map_or(Outcome::Nothing, |bytes| Outcome::Answer(bytes.into()))
}

/// The answer for this query: the kept bytes under its id.
pub fn with_id(query: &[u8], answer: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(answer);
    if let (Some(to), Some(from)) = (out.get_mut(..2), query.get(..2)) {
        to.copy_from_slice(from);
    }
}

/// Both sockets of an address.
pub fn bind(address: SocketAddr) -> Result<(UdpSocket, TcpListener), Error> {
    let open = || -> std::io::Result<(UdpSocket, TcpListener)> {
        let domain = Domain::for_address(address);
        let udp = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        udp.set_recv_buffer_size(1 << 20)?;
        udp.bind(&address.into())?;
        let tcp = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        tcp.set_reuse_address(true)?;
        tcp.bind(&address.into())?;
        tcp.listen(128)?;
        Ok((UdpSocket::from_std(udp.into())?, TcpListener::from_std(tcp.into())?))
    };
    open().map_err(|source| Error::Listen { address, source })
}

pub async fn serve_udp(
    socket: UdpSocket,
    resolver: Arc<Resolver>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let socket = Arc::new(socket);
    let mut batch = batch::Batch::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            received = batch.receive(&socket) => received.map_err(|source| Error::Io { what: "receiving questions", source })?,
        }
        batch.answer(|query, out| match resolver.resolve(query, false) {
            Outcome::Answer(answer) => {
                with_id(query, &answer, out);
                batch::Reply::Now
            }
            Outcome::Elsewhere(question, meaning) => batch::Reply::Later(question, meaning),
            Outcome::Nothing => batch::Reply::Never,
        });
        for (query, from, question, meaning) in batch.later() {
            let (socket, resolver) = (socket.clone(), resolver.clone());
            tokio::spawn(async move {
                if let Some(answer) = resolver.forward(&query, &question, &meaning, false).await {
                    // Whoever asked may be gone.
                    let _ = socket.send_to(&answer, from).await;
                }
            });
        }
        batch.send(&socket).await.map_err(|source| Error::Io { what: "sending answers", source })?;
    }
}

pub async fn serve_tcp(
    listener: TcpListener,
    resolver: Arc<Resolver>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let resolver = resolver.clone();
                tokio::spawn(async move { connection(stream, &resolver).await });
            }
            // Out of descriptors: others close theirs in time.
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Questions of one connection, in order (RFC 7766), until it is closed or idle.
async fn connection(mut stream: TcpStream, resolver: &Resolver) -> Option<()> {
    loop {
        let length = tokio::time::timeout(IDLE, stream.read_u16()).await.ok()?.ok()?;
        let mut query = vec![0u8; usize::from(length)];
        tokio::time::timeout(IDLE, stream.read_exact(&mut query)).await.ok()?.ok()?;
        let mut out = Vec::new();
        match resolver.resolve(&query, true) {
            Outcome::Answer(answer) => with_id(&query, &answer, &mut out),
            Outcome::Elsewhere(question, meaning) => {
                out = resolver.forward(&query, &question, &meaning, true).await?
            }
            Outcome::Nothing => return None,
        }
        let mut framed = u16::try_from(out.len()).ok()?.to_be_bytes().to_vec();
        framed.extend_from_slice(&out);
        stream.write_all(&framed).await.ok()?;
    }
}
