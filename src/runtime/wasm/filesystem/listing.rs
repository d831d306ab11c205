//! Directory listings that a guest has asked for and not read to the end: how much memory they may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec;

use crate::vfs::{DirEntry, Errno};

/// Bytes that the unread listings of one process may take together.
const MAX_LISTING_BYTES: usize = 64 * 1024 * 1024;

/// What the unread listings of one process take.
#[derive(Debug, Default)]
pub(in super::super) struct ListingBudget(Arc<AtomicUsize>);

impl ListingBudget {
    /// Holds `entries` until they are read or dropped, if there is room for them.
    pub(super) fn hold(&self, entries: Vec<DirEntry>) -> Result<Listing, Errno> {
        let size = entries.iter().map(|entry| size_of::<DirEntry>() + entry.name.len()).sum();
        let fits = |used: usize| used.checked_add(size).filter(|total| *total <= MAX_LISTING_BYTES);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Errno::TooManyOpen)?;
        Ok(Listing { entries: entries.into_iter(), size, used: Arc::clone(&self.0) })
    }
}

/// The rest of a directory's entries.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "generated glue re-exports it")]
pub struct Listing {
    entries: vec::IntoIter<DirEntry>,
    size: usize,
    used: Arc<AtomicUsize>,
}

impl Iterator for Listing {
    type Item = DirEntry;

    fn next(&mut self) -> Option<DirEntry> {
        self.entries.next()
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.used.fetch_sub(self.size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::FileKind;

    #[test]
    fn unread_listings_are_bounded_together_and_given_back() {
        let budget = ListingBudget::default();
        let entry = DirEntry { name: "x".repeat(1024), kind: FileKind::Regular, inode: 1 };
        let large = || vec![entry.clone(); 30_000];
        let first = budget.hold(large()).unwrap();
        let second = budget.hold(large()).unwrap();
        assert_eq!(budget.hold(large()).err(), Some(Errno::TooManyOpen));
        drop(first);
        assert_eq!(budget.hold(large()).unwrap().count(), 30_000);
        drop(second);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
