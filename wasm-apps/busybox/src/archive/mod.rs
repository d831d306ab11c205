//! Archives and compression: gzip, gunzip, zcat, tar.

mod create;
mod extract;
mod gzip;
mod tar;

pub(crate) use gzip::{USAGE as GZIP_USAGE, gunzip, gzip, zcat};
pub(crate) use tar::{USAGE as TAR_USAGE, tar};
