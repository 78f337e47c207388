//! SPDY/3.1 frames and their bytes. Of settings and windows only the frames are understood: neither side of
//! Kubernetes' SPDY controls flow.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio_util::codec::{Decoder, Encoder};

use crate::Error;

/// The dictionary of the SPDY/3 specification, section 2.6.10.1.
const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");
const VERSION: u16 = 3;
/// Decompressed header blocks above this are refused.
const MAX_HEADERS: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    SynStream {
        id: u32,
        priority: u8,
        fin: bool,
        headers: HeaderMap,
    },
    SynReply {
        id: u32,
        fin: bool,
        headers: HeaderMap,
    },
    Rst {
        id: u32,
        status: u32,
    },
    Ping(u32),
    GoAway {
        last: u32,
        status: u32,
    },
    Headers {
        id: u32,
        fin: bool,
        headers: HeaderMap,
    },
    Data {
        id: u32,
        fin: bool,
        data: Bytes,
    },
    /// SETTINGS, WINDOW_UPDATE and what else may come.
    Other(u16),
}

/// Status codes of RST_STREAM.
pub mod rst {
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const REFUSED_STREAM: u32 = 3;
    pub const CANCEL: u32 = 5;
}

const FIN: u8 = 1;

mod kind {
    pub const SYN_STREAM: u16 = 1;
    pub const SYN_REPLY: u16 = 2;
    pub const RST_STREAM: u16 = 3;
    pub const PING: u16 = 6;
    pub const GO_AWAY: u16 = 7;
    pub const HEADERS: u16 = 8;
}

/// Bytes to frames. One a connection: header blocks share a compression context.
pub struct FrameDecoder {
    inflate: Decompress,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self { inflate: Decompress::new(true) }
    }
}

fn protocol(text: impl Into<String>) -> Error {
    Error::Protocol(text.into())
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Error> {
        let Some(head) = buffer.get(..8) else { return Ok(None) };
        let (flags, length) = (head[4], u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize);
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if buffer.len() < 8 + length {
            buffer.reserve(8 + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(8);
        let body = buffer.split_to(length).freeze();
        if first & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data { id: first, fin: flags & FIN != 0, data: body }));
        }
        let version = (first >> 16) as u16 & 0x7fff;
        if version != VERSION {
            return Err(protocol(format!("unsupported SPDY version {version}")));
        }
        self.control(first as u16, flags & FIN != 0, body).map(Some)
    }
}

fn word(body: &mut Bytes) -> Result<u32, Error> {
    if body.len() < 4 { Err(protocol("a frame is too short")) } else { Ok(body.get_u32()) }
}

impl FrameDecoder {
    fn control(&mut self, kind: u16, fin: bool, mut body: Bytes) -> Result<Frame, Error> {
        Ok(match kind {
            kind::SYN_STREAM => {
                let id = word(&mut body)?;
                let _associated = word(&mut body)?;
                if body.len() < 2 {
                    return Err(protocol("a SYN_STREAM is too short"));
                }
                let priority = body.get_u8() >> 5;
                body.advance(1);
                Frame::SynStream { id, priority, fin, headers: self.headers(&body)? }
            }
            kind::SYN_REPLY => Frame::SynReply { id: word(&mut body)?, fin, headers: self.headers(&body)? },
            kind::HEADERS => Frame::Headers { id: word(&mut body)?, fin, headers: self.headers(&body)? },
            kind::RST_STREAM => Frame::Rst { id: word(&mut body)?, status: word(&mut body)? },
            kind::PING => Frame::Ping(word(&mut body)?),
            kind::GO_AWAY => Frame::GoAway { last: word(&mut body)?, status: word(&mut body)? },
            other => Frame::Other(other),
        })
    }

    fn headers(&mut self, compressed: &[u8]) -> Result<HeaderMap, Error> {
        let mut block: Bytes = self.inflate(compressed)?.into();
        let count = word(&mut block)?;
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            let name = text(&mut block)?;
            let values = text(&mut block)?;
            let name = HeaderName::from_bytes(&name).map_err(|_| protocol("a header's name is invalid"))?;
            for value in values.split(|b| *b == 0) {
                let value =
                    HeaderValue::from_bytes(value).map_err(|_| protocol("a header's value is invalid"))?;
                headers.append(name.clone(), value);
            }
        }
        Ok(headers)
    }

    fn inflate(&mut self, compressed: &[u8]) -> Result<Vec<u8>, Error> {
        let bad = |e: flate2::DecompressError| protocol(format!("a header block does not decompress: {e}"));
        let mut out = Vec::with_capacity(1024);
        let mut at = 0;
        loop {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let result = self.inflate.decompress_vec(&compressed[at..], &mut out, FlushDecompress::Sync);
            at += (self.inflate.total_in() - before.0) as usize;
            match result {
                Err(e) if e.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(DICTIONARY).map_err(bad)?;
                    continue;
                }
                other => other.map_err(bad)?,
            };
            if out.len() > MAX_HEADERS {
                return Err(protocol("a header block is too large"));
            }
            if out.len() == out.capacity() {
                out.reserve(out.len());
            } else if at == compressed.len() || self.inflate.total_out() == before.1 {
                return Ok(out);
            }
        }
    }
}

fn text(block: &mut Bytes) -> Result<Bytes, Error> {
    let length = word(block)? as usize;
    if block.len() < length {
        Err(protocol("a header block is cut short"))
    } else {
        Ok(block.split_to(length))
    }
}

/// Frames to bytes. One a connection, in the order in which frames are sent.
pub struct FrameEncoder {
    deflate: Compress,
    fresh: bool,
}

impl Default for FrameEncoder {
    fn default() -> Self {
        Self { deflate: Compress::new(Compression::default(), true), fresh: true }
    }
}

impl Encoder<Frame> for FrameEncoder {
    type Error = Error;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), Error> {
        match frame {
            Frame::Data { id, fin, data } => {
                out.put_u32(id & 0x7fff_ffff);
                out.put_u32((u32::from(fin) << 24) | length(data.len())?);
                out.put_slice(&data);
            }
            Frame::SynStream { id, priority, fin, headers } => {
                let block = self.headers(&headers)?;
                control(out, kind::SYN_STREAM, fin, 10 + block.len())?;
                out.put_u32(id);
                out.put_u32(0);
                out.put_u8(priority << 5);
                out.put_u8(0);
                out.put_slice(&block);
            }
            Frame::SynReply { id, fin, headers } => {
                self.with_headers(out, kind::SYN_REPLY, id, fin, &headers)?
            }
            Frame::Headers { id, fin, headers } => {
                self.with_headers(out, kind::HEADERS, id, fin, &headers)?
            }
            Frame::Rst { id, status } => two(out, kind::RST_STREAM, id, status)?,
            Frame::GoAway { last, status } => two(out, kind::GO_AWAY, last, status)?,
            Frame::Ping(id) => {
                control(out, kind::PING, false, 4)?;
                out.put_u32(id);
            }
            Frame::Other(kind) => return Err(protocol(format!("frames of type {kind} are not sent"))),
        }
        Ok(())
    }
}

fn length(n: usize) -> Result<u32, Error> {
    u32::try_from(n).ok().filter(|n| *n < 1 << 24).ok_or_else(|| protocol("a frame is too long"))
}

fn control(out: &mut BytesMut, kind: u16, fin: bool, n: usize) -> Result<(), Error> {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u32((u32::from(fin) << 24) | length(n)?);
    Ok(())
}

fn two(out: &mut BytesMut, kind: u16, first: u32, second: u32) -> Result<(), Error> {
    control(out, kind, false, 8)?;
    out.put_u32(first);
    out.put_u32(second);
    Ok(())
}

impl FrameEncoder {
    fn with_headers(
        &mut self,
        out: &mut BytesMut,
        kind: u16,
        id: u32,
        fin: bool,
        headers: &HeaderMap,
    ) -> Result<(), Error> {
        let block = self.headers(headers)?;
        control(out, kind, fin, 4 + block.len())?;
        out.put_u32(id);
        out.put_slice(&block);
        Ok(())
    }

    fn headers(&mut self, headers: &HeaderMap) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        plain.put_u32(headers.keys_len() as u32);
        for name in headers.keys() {
            let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            let value = values.join(&0);
            plain.put_u32(name.as_str().len() as u32);
            plain.put_slice(name.as_str().as_bytes());
            plain.put_u32(value.len() as u32);
            plain.put_slice(&value);
        }
        self.deflate(&plain)
    }

    fn deflate(&mut self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let bad = |e: flate2::CompressError| protocol(format!("a header block does not compress: {e}"));
        if std::mem::take(&mut self.fresh) {
            self.deflate.set_dictionary(DICTIONARY).map_err(bad)?;
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        let start = self.deflate.total_in();
        loop {
            let at = (self.deflate.total_in() - start) as usize;
            self.deflate.compress_vec(&plain[at..], &mut out, FlushCompress::Sync).map_err(bad)?;
            let done = (self.deflate.total_in() - start) as usize == plain.len();
            if done && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(out.capacity());
        }
    }
}
