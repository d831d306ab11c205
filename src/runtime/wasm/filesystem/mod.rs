//! `wasi:filesystem` of WASI 0.2 and 0.3 over the container's own filesystem, in place of wasmtime's.
//!
//! There is one preopened directory, `/`. Paths are resolved by the container's filesystem, which keeps `..` inside
//! the root; absolute paths are refused, as WASI wants them relative to a descriptor. Everything is answered inline
//! except what forces data to disk. `descriptor` is what both levels share; each level only translates.

mod bindings;
mod descriptor;
mod listing;
mod open_files;
pub(super) mod p2;
#[cfg(feature = "wasi-p3")]
pub(super) mod p3;
mod streams;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub(super) use self::listing::ListingBudget;
pub(super) use self::open_files::OpenFiles;

use wasmtime::component::ResourceTableError;

use crate::vfs::Errno;

/// How a call of level `C` fails: with a code for the guest, or by ending it because it broke the rules of resources.
#[derive(Debug)]
pub(super) enum Failure<C> {
    /// What the guest is told.
    Code(C),
    /// A trap.
    Trap(wasmtime::Error),
}

impl<C> Failure<C> {
    /// As the generated glue wants it.
    fn into_code(self) -> wasmtime::Result<C> {
        match self {
            Self::Code(code) => Ok(code),
            Self::Trap(error) => Err(error),
        }
    }
}

impl<C: From<Errno>> From<Errno> for Failure<C> {
    fn from(errno: Errno) -> Self {
        Self::Code(errno.into())
    }
}

/// A full table is the guest's limit on open files; anything else is a handle the guest made up.
impl<C: From<Errno>> From<ResourceTableError> for Failure<C> {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Errno::TooManyOpen.into(),
            ResourceTableError::NotPresent | ResourceTableError::WrongType | ResourceTableError::HasChildren => {
                Self::Trap(error.into())
            }
        }
    }
}
