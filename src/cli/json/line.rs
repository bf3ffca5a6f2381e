//! One event as one line of JSON that no terminal stumbles over.
//! Owns: the escaping.
//! Must not know: which events there are.
//! Invariants: a line is whole or not written; nothing in a value disturbs a terminal; plain ASCII
//! text is written without a second look.
//! Start reading at: [`line!`].

use std::io;

use serde::Serialize;

pub(in crate::cli) fn line<T: Serialize>(event: &T, out: &mut Vec<u8>) {
    let start = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Harmless);
    if let Err(error) = event.serialize(&mut serializer) {
        // Writing to memory cannot fail and no event has keys that are not text.
        tracing::error!(%error, "an event could not be written");
        out.truncate(start);
        return;
    }
    out.push(b'\n');
}

/// JSON in which characters that disturb a terminal are escaped, as the standard allows for all.
struct Harmless;

impl serde_json::ser::Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // The serializer itself escapes what lies below the space.
        if fragment.is_ascii() && !fragment.as_bytes().contains(&0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut bytes = [0; 4];
        for c in fragment.chars() {
            if c.is_control() || crate::text::is_deceptive(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                writer.write_all(c.encode_utf8(&mut bytes).as_bytes())?;
            }
        }
        Ok(())
    }
}
