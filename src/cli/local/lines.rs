//! Lines from a socket, bounded, as `input.rs` has them from a pipe.
//! Owns: the line that is not whole yet.
//! Must not know: what a line means.
//! Invariants: never more than the limit is held, however long a line is.
//! Start reading at: [`Lines::next`].

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Line {
    /// A whole one.
    Whole(Vec<u8>),
    /// One that was longer than the limit; skipped.
    TooLong,
}

/// Splits what comes into lines.
#[derive(Debug)]
pub(in crate::cli) struct Lines<R> {
    from: R,
    line: Vec<u8>,
    limit: usize,
    is_skipping: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(in crate::cli) fn new(from: R, limit: usize) -> Self {
        Self { from, line: Vec::new(), limit, is_skipping: false }
    }

    /// The next line; `None` at the end, where a line without an end is none. Cancel safe: it waits
    /// for bytes alone, and what came of a line is kept here.
    pub(in crate::cli) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let there = self.from.fill_buf().await?;
            if there.is_empty() {
                return Ok(None);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let upto = end.unwrap_or(there.len());
            let part = there.get(..upto).unwrap_or_default();
            if self.line.len().saturating_add(part.len()) > self.limit {
                self.is_skipping = true;
                self.line = Vec::new();
            }
            if !self.is_skipping {
                self.line.extend_from_slice(part);
            }
            self.from.consume(end.map_or(upto, |end| end.saturating_add(1)));
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return Ok(Some(match std::mem::take(&mut self.is_skipping) {
                    true => Line::TooLong,
                    false => Line::Whole(line),
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_whole_or_refused_and_the_next_one_is_read() {
        let text = b"ab\n\nabcdef\nabcde\nrest";
        for size in [1, 2, 3, 100] {
            let from = tokio::io::BufReader::with_capacity(size, &text[..]);
            let mut lines = Lines::new(from, 5);
            let mut seen = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                seen.push(line);
            }
            let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
            assert_eq!(seen, [whole("ab"), whole(""), Line::TooLong, whole("abcde")], "{size}");
        }
    }
}
