//! Input in bounded lines, many at a time.
//! Owns: the buffer.
//! Must not know: what a line means.
//! Invariants: never more than the limit and one read is held, however long a line is.
//! Start reading at: [`Lines`].

use std::io::Read;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A whole one.
    Whole(&'a [u8]),
    /// One that was longer than the limit; skipped.
    TooLong,
}

/// Splits what is read into lines.
pub(super) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    /// What was handed out already.
    start: usize,
    /// Up to where no line end was found.
    scanned: usize,
    end: usize,
    limit: usize,
    is_skipping: bool,
}

const READ_BYTES: usize = 64 << 10;

impl<R: Read> Lines<R> {
    pub(super) fn new(from: R, limit: usize) -> Self {
        let buffer = vec![0; limit + READ_BYTES];
        Self { from, buffer, start: 0, scanned: 0, end: 0, limit, is_skipping: false }
    }

    /// The next line that is already here.
    pub(super) fn take(&mut self) -> Option<Line<'_>> {
        loop {
            let unseen = self.buffer.get(self.scanned..self.end).unwrap_or_default();
            let Some(found) = unseen.iter().position(|byte| *byte == b'\n') else {
                self.scanned = self.end;
                if self.end - self.start > self.limit {
                    self.start = self.end;
                    if !self.is_skipping {
                        self.is_skipping = true;
                        return Some(Line::TooLong);
                    }
                }
                return None;
            };
            let (from, to) = (self.start, self.scanned + found);
            self.start = to + 1;
            self.scanned = self.start;
            if self.is_skipping {
                // The rest of a line that was refused.
                self.is_skipping = false;
                continue;
            }
            if to - from > self.limit {
                return Some(Line::TooLong);
            }
            return Some(Line::Whole(self.buffer.get(from..to).unwrap_or_default()));
        }
    }

    /// Reads more, once. `false` at the end of input.
    pub(super) fn fill(&mut self) -> std::io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.is_skipping {
            self.end = 0;
            self.scanned = 0;
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.from.read(room) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The last line, if the input ended without a line end.
    pub(super) fn rest(&mut self) -> Option<Line<'_>> {
        let (from, to) = (self.start, self.end);
        self.start = self.end;
        if from == to || self.is_skipping {
            return None;
        }
        Some(Line::Whole(self.buffer.get(from..to).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of a given size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn all(bytes: &[u8], piece: usize, limit: usize) -> Vec<String> {
        let mut lines = Lines::new(Pieces(bytes, piece), limit);
        let mut seen = Vec::new();
        let shown = |line: Line<'_>| match line {
            Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Line::TooLong => "(too long)".to_owned(),
        };
        loop {
            while let Some(line) = lines.take() {
                seen.push(shown(line));
            }
            if !lines.fill().unwrap() {
                seen.extend(lines.rest().map(shown));
                return seen;
            }
        }
    }

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        for piece in [1, 2, 3, 7, 100] {
            assert_eq!(all(b"one\n\ntwo\nthree", piece, 10), ["one", "", "two", "three"]);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_told_once_and_skipped_to_its_end() {
        let mut bytes = vec![b'x'; 1_000_000];
        bytes.extend_from_slice(b"\nok\n");
        bytes.extend_from_slice(&[b'y'; 11]);
        bytes.extend_from_slice(b"\nfine");
        for piece in [5, 4_096, 1 << 20] {
            assert_eq!(all(&bytes, piece, 10), ["(too long)", "ok", "(too long)", "fine"]);
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_taken() {
        assert_eq!(all(b"0123456789\n", 3, 10), ["0123456789"]);
        assert_eq!(all(b"01234567890\n", 3, 10), ["(too long)"]);
    }

    #[test]
    fn an_endless_line_holds_no_more_than_the_buffer() {
        let mut lines = Lines::new(std::io::repeat(b'x'), 10);
        for _ in 0..1_000 {
            lines.fill().unwrap();
            lines.take();
        }
        assert_eq!(lines.buffer.len(), 10 + READ_BYTES);
    }
}
