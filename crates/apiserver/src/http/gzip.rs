//! Gzip in parts (RFC 1951, 1952): each part is compressed by itself, and parts put one after the other are one stream,
//! so that the items of a list are compressed once while the head that names its revision changes.
//!
//! Members of their own would be simpler, but not every client reads more than the first.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::body::Pieces;

/// Raw deflate blocks up to a byte's border, with the sum of what they hold.
#[derive(Clone)]
pub struct Part {
    deflated: Bytes,
    sum: Hasher,
    size: u64,
}

impl Part {
    /// Bytes after compression.
    pub fn len(&self) -> usize {
        self.deflated.len()
    }

    pub fn is_empty(&self) -> bool {
        self.deflated.is_empty()
    }

    /// Bytes before compression.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// A part that is compressed while it is written.
pub struct Writer {
    compress: Compress,
    out: Vec<u8>,
    sum: Hasher,
    size: u64,
}

impl Default for Writer {
    /// Compresses as upstream does: fast rather than small.
    fn default() -> Self {
        let compress = Compress::new(Compression::fast(), false);
        Self { compress, out: Vec::with_capacity(64 << 10), sum: Hasher::new(), size: 0 }
    }
}

impl Writer {
    pub fn write(&mut self, piece: &[u8]) {
        self.sum.update(piece);
        self.size += piece.len() as u64;
        run(&mut self.compress, piece, &mut self.out, FlushCompress::None);
    }

    /// `last`: the part ends the stream.
    pub fn finish(mut self, last: bool) -> Part {
        let flush = if last { FlushCompress::Finish } else { FlushCompress::Full };
        run(&mut self.compress, &[], &mut self.out, flush);
        self.out.shrink_to_fit();
        Part { deflated: self.out.into(), sum: self.sum, size: self.size }
    }
}

/// All pieces as one part.
pub fn part<'a>(pieces: impl Iterator<Item = &'a Bytes>, last: bool) -> Part {
    let mut writer = Writer::default();
    pieces.for_each(|piece| writer.write(piece));
    writer.finish(last)
}

/// A short part as it is: stored blocks.
pub fn stored(bytes: &[u8], last: bool) -> Part {
    const MOST: usize = 0xffff;
    let blocks = bytes.len().div_ceil(MOST).max(1);
    let mut out = Vec::with_capacity(bytes.len() + 5 * blocks);
    for at in 0..blocks {
        let block = &bytes[at * MOST..bytes.len().min((at + 1) * MOST)];
        let size = block.len() as u16;
        out.push(u8::from(last && at + 1 == blocks));
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(!size).to_le_bytes());
        out.extend_from_slice(block);
    }
    let mut sum = Hasher::new();
    sum.update(bytes);
    Part { deflated: out.into(), sum, size: bytes.len() as u64 }
}

fn run(compress: &mut Compress, input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) {
    let start = compress.total_in();
    loop {
        let used = (compress.total_in() - start) as usize;
        if out.capacity() - out.len() < 1024 {
            out.reserve(out.capacity().max(4096));
        }
        let room = out.capacity() - out.len();
        let before = out.len();
        // Compressing into memory fails for no input.
        let Ok(status) = compress.compress_vec(&input[used..], out, flush) else { return };
        let all_in = (compress.total_in() - start) as usize == input.len();
        if status == Status::StreamEnd || all_in && out.len() - before < room {
            return;
        }
    }
}

/// Parts as one stream; only the last may be a last one.
pub fn join(parts: &[Part]) -> Pieces {
    const HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
    let (mut sum, mut size) = (Hasher::new(), 0u64);
    let mut pieces = vec![Bytes::from_static(HEAD)];
    for part in parts {
        sum.combine(&part.sum);
        size += part.size;
        pieces.push(part.deflated.clone());
    }
    let tail = [sum.finalize().to_le_bytes(), (size as u32).to_le_bytes()].concat();
    pieces.push(tail.into());
    Pieces::new(pieces)
}

/// One stream of all pieces.
pub fn whole<'a>(pieces: impl Iterator<Item = &'a Bytes>) -> Bytes {
    join(&[part(pieces, true)]).concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn parts_are_one_member() {
        let big: Vec<u8> =
            (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let pieces = [Bytes::from_static(b"head"), big.into(), Bytes::from_static(b"tail")];
        let parts = [
            part([&pieces[0]].into_iter(), false),
            part([&pieces[1]].into_iter(), false),
            part([&pieces[2]].into_iter(), true),
        ];
        let mixed = [stored(&pieces[0], false), parts[1].clone(), stored(&pieces[2], true)];
        let stored = [stored(&pieces.concat(), true)];
        for stream in
            [join(&parts).concat(), whole(pieces.iter()), join(&mixed).concat(), join(&stored).concat()]
        {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(&stream[..]).read_to_end(&mut out).unwrap();
            assert!(out == pieces.concat());
        }
    }
}
