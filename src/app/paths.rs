//! Where husk keeps things: the options, else the platform's places for a user's data and caches.

use std::path::PathBuf;

use anyhow::Context;
use etcetera::{BaseStrategy, choose_base_strategy};

use crate::cli::Global;

/// The directories of one user.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// Images, in OCI layout.
    pub(super) images: PathBuf,
    /// Files of running pods: a folder for each husk that runs some.
    pub(super) pods: PathBuf,
    /// What outlives pods: claims have their directories in `volumes/`.
    pub(super) data: PathBuf,
    /// Where `code` is.
    pub(super) cache: PathBuf,
    /// Compiled code.
    pub(super) code: PathBuf,
}

impl Paths {
    /// Decides where things are; creates nothing.
    pub(super) fn new(global: &Global) -> anyhow::Result<Self> {
        let base =
            || choose_base_strategy().context("cannot tell the home directory: set HUSK_DATA_DIR and HUSK_CACHE_DIR");
        let data = match &global.data_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => base()?.data_dir().join("husk"),
        };
        let cache = match &global.cache_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => base()?.cache_dir().join("husk"),
        };
        Ok(Self { images: data.join("images"), pods: data.join("pods"), code: cache.join("code"), cache, data })
    }
}
