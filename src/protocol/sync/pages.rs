//! Pages: as many entries as fit, ending at a signature.
//! Owns: where a page is cut.
//! Must not know: who asked.
//! Invariants: a page ends with a signed entry, or there is none (20).
//! Start reading at: [`page`].

use super::size_of;
use crate::ids::LogId;
use crate::limits::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::protocol::StoredEntry;
use crate::wire::sync::Page;

/// Makes a page of consecutive entries; `None` if no signed entry is within reach.
pub fn page(log: LogId, entries: Vec<StoredEntry>) -> Option<Page> {
    page_within(log, entries, PAGE_BYTES_MAX)
}

/// As [`page`], of so many bytes if what is under one signature allows.
pub fn page_within(log: LogId, entries: Vec<StoredEntry>, bytes_max: usize) -> Option<Page> {
    let mut bytes: usize = 0;
    let mut count: usize = 0;
    let mut signed: usize = 0;
    for entry in &entries {
        bytes = bytes.saturating_add(size_of(&entry.bytes));
        // One entry always fits: a text is bounded far below a page.
        if count == PAGE_ENTRIES_MAX || (count > 0 && bytes > bytes_max && signed > 0) {
            break;
        }
        count = count.saturating_add(1);
        if entry.signature.is_some() {
            signed = count;
        }
    }
    if signed == 0 {
        return None;
    }
    let mut page = Page { log, envelopes: Vec::with_capacity(signed), signatures: Vec::new() };
    for entry in entries.into_iter().take(signed) {
        if let Some(signature) = entry.signature {
            page.signatures.push((entry.seq, signature));
        }
        page.envelopes.push(entry.bytes);
    }
    Some(page)
}
