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

/// Compresses as upstream does: fast rather than small. `last`: the part ends the stream.
pub fn part<'a>(pieces: impl Iterator<Item = &'a Bytes>, last: bool) -> Part {
    let mut compress = Compress::new(Compression::fast(), false);
    let (mut out, mut sum, mut size) = (Vec::with_capacity(64 << 10), Hasher::new(), 0);
    for piece in pieces {
        sum.update(piece);
        size += piece.len() as u64;
        run(&mut compress, piece, &mut out, FlushCompress::None);
    }
    run(&mut compress, &[], &mut out, if last { FlushCompress::Finish } else { FlushCompress::Full });
    Part { deflated: out.into(), sum, size }
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
        for stream in [join(&parts).concat(), whole(pieces.iter())] {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(&stream[..]).read_to_end(&mut out).unwrap();
            assert!(out == pieces.concat());
        }
    }
}
