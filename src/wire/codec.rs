//! The length prefix of a frame: a minimal varint of at most five bytes, bounded before allocation.
//! Owns: how frames follow each other in a stream of bytes.
//! Must not know: what is inside a frame, or where the bytes come from.
//! Invariants: no length is believed beyond the limit given; every frame has one encoding only.
//! Start reading at: [`split_frame`].

use bytes::{BufMut, Bytes, BytesMut};

use crate::refusal::Refusal;

/// Bytes of the longest prefix that is read.
pub const PREFIX_BYTES_MAX: usize = 5;

/// Appends the prefix of a frame of `len` bytes.
///
/// Lengths above `u32::MAX` do not occur: frames are bounded by `limits::FRAME_BYTES_MAX`.
pub fn put_prefix(out: &mut impl BufMut, len: usize) {
    let mut rest = len;
    while rest >= 0x80 {
        out.put_u8(0x80 | low_bits(rest));
        rest >>= 7;
    }
    out.put_u8(low_bits(rest));
}

/// Appends a whole frame: prefix and body.
pub fn put_frame(out: &mut impl BufMut, body: &[u8]) {
    put_prefix(out, body.len());
    out.put_slice(body);
}

/// The prefix at the start of `bytes`: its own length and the body's; `None` if more is needed.
///
/// # Refusals
/// `FrameBad`: a length of zero, a prefix longer than five bytes or than it need be.
/// `FrameTooLong`: a body longer than `body_bytes_max`.
pub fn read_prefix(bytes: &[u8], body_bytes_max: usize) -> Result<Option<(usize, usize)>, Refusal> {
    let mut body: u64 = 0;
    for (at, byte) in bytes.iter().copied().take(PREFIX_BYTES_MAX).enumerate() {
        let shift = u32::try_from(at.saturating_mul(7)).map_err(|_| Refusal::FrameBad)?;
        body |= u64::from(byte & 0x7f) << shift;
        // Bits only add: what is too long already cannot become shorter.
        let body = usize::try_from(body).map_err(|_| Refusal::FrameTooLong)?;
        if byte & 0x80 == 0 {
            let is_minimal = byte != 0 || at == 0;
            return match body {
                0 => Err(Refusal::FrameBad),
                _ if !is_minimal => Err(Refusal::FrameBad),
                _ if body > body_bytes_max => Err(Refusal::FrameTooLong),
                _ => Ok(Some((at.saturating_add(1), body))),
            };
        }
    }
    if bytes.len() >= PREFIX_BYTES_MAX { Err(Refusal::FrameBad) } else { Ok(None) }
}

/// Takes the first whole frame off `buffer`; `None` if it is not complete yet.
///
/// # Refusals
/// As [`read_prefix`]; the buffer is then of no further use.
pub fn split_frame(buffer: &mut BytesMut, body_bytes_max: usize) -> Result<Option<Bytes>, Refusal> {
    let Some((prefix, body)) = read_prefix(buffer, body_bytes_max)? else {
        return Ok(None);
    };
    if buffer.len() < prefix.saturating_add(body) {
        return Ok(None);
    }
    let _prefix = buffer.split_to(prefix);
    Ok(Some(buffer.split_to(body).freeze()))
}

fn low_bits(value: usize) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn prefix_of(len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put_prefix(&mut out, len);
        out
    }

    #[test]
    fn a_length_of_zero_is_refused() {
        assert_eq!(read_prefix(&[0], MAX), Err(Refusal::FrameBad));
    }

    #[test]
    fn a_prefix_longer_than_need_be_is_refused() {
        assert_eq!(read_prefix(&[0x81, 0x00], MAX), Err(Refusal::FrameBad));
        assert_eq!(read_prefix(&[0x80, 0x80, 0x00], MAX), Err(Refusal::FrameBad));
    }

    #[test]
    fn a_prefix_that_never_ends_is_refused_at_the_fifth_byte() {
        assert_eq!(read_prefix(&[0xff; 4], MAX), Ok(None));
        assert_eq!(read_prefix(&[0xff; 5], MAX), Err(Refusal::FrameBad));
        assert_eq!(read_prefix(&[0x80; 5], MAX), Err(Refusal::FrameBad));
        assert_eq!(read_prefix(&[0x80; 9], MAX), Err(Refusal::FrameBad));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_body_comes() {
        assert_eq!(read_prefix(&prefix_of(MAX), MAX), Ok(Some((3, MAX))));
        assert_eq!(read_prefix(&prefix_of(MAX + 1), MAX), Err(Refusal::FrameTooLong));
        assert_eq!(read_prefix(&[0xff, 0xff, 0xff, 0xff, 0x7f], MAX), Err(Refusal::FrameTooLong));
    }

    #[test]
    fn a_frame_in_pieces_is_given_out_once_it_is_whole() {
        let mut whole = Vec::new();
        put_frame(&mut whole, &[7; 300]);
        let mut buffer = BytesMut::new();
        for byte in &whole[..whole.len() - 1] {
            buffer.put_u8(*byte);
            assert_eq!(split_frame(&mut buffer, MAX), Ok(None));
        }
        buffer.put_u8(whole[whole.len() - 1]);
        assert_eq!(split_frame(&mut buffer, MAX), Ok(Some(Bytes::from(vec![7; 300]))));
        assert!(buffer.is_empty());
    }

    proptest! {
        #[test]
        fn frames_come_back_in_order(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 0..20)) {
            let mut buffer = BytesMut::new();
            for body in &bodies {
                put_frame(&mut buffer, body);
            }
            for body in &bodies {
                let frame = split_frame(&mut buffer, MAX).unwrap().unwrap();
                prop_assert_eq!(&frame[..], &body[..]);
            }
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn a_prefix_has_one_encoding_only(bytes in prop::collection::vec(any::<u8>(), 0..7)) {
            if let Ok(Some((prefix, body))) = read_prefix(&bytes, usize::MAX) {
                prop_assert_eq!(&bytes[..prefix], &prefix_of(body)[..]);
            }
        }
    }
}
