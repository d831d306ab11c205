//! `husk man`: what can be typed, and the pages.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};

use super::Cli;

/// Arguments of `husk man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  husk man ~/.local/share/man/man1; man husk-serve")]
pub struct ManArgs {
    /// Where to: pages of section 1, such as husk.1 and husk-run.1
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Writes a page for husk and for each of its verbs.
///
/// # Errors
/// That a page cannot be written.
pub fn write(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(page("husk.1").contains("Kubernetes pods without Kubernetes"));
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(page(&format!("husk-{}.1", verb.get_name())).contains("SYNOPSIS"));
        }
        assert!(!page("husk-serve.1").contains("background\\-"), "hidden options stay hidden");
        assert!(page("husk-image-import.1").contains("WASI"));
    }
}
