//! Where husk keeps things: the options, else the platform's places for a user's data and caches.

use std::path::{Path, PathBuf};

use anyhow::Context;
use etcetera::{BaseStrategy, choose_base_strategy};

use crate::cli::Global;

/// The directories of one user.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// Images, in OCI layout.
    pub(super) images: PathBuf,
    /// What the user says about registries.
    pub(super) registries: PathBuf,
    /// Files of running pods: a folder for each husk that runs some.
    pub(super) pods: PathBuf,
    /// What outlives pods: claims have their directories in `volumes/`.
    pub(super) data: PathBuf,
    /// Where `code` is.
    pub(super) cache: PathBuf,
    /// Compiled code.
    pub(super) code: PathBuf,
    /// Whether `data` is where it would be if nobody had said anything.
    usual_data: bool,
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
        let registries = match &global.registries {
            Some(file) => std::path::absolute(file)?,
            None => base()
                .map_or_else(|_| data.join("registries.toml"), |base| base.config_dir().join("husk/registries.toml")),
        };
        let usual_data = base().is_ok_and(|base| base.data_dir().join("husk") == data);
        Ok(Self {
            images: data.join("images"),
            registries,
            pods: data.join("pods"),
            code: cache.join("code"),
            cache,
            data,
            usual_data,
        })
    }

    /// What has to be added to a command so that it uses the same data directory, beginning with a space if it is
    /// anything.
    pub(super) fn data_option(&self) -> String {
        if self.usual_data { String::new() } else { format!(" --data-dir {}", shell_word(&self.data)) }
    }
}

/// A path as one writes it in a shell.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_words_of_the_shell() {
        assert_eq!(
            shell_word(Path::new("/home/me/.local/share/husk/kubeconfig")),
            "/home/me/.local/share/husk/kubeconfig"
        );
        assert_eq!(shell_word(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
