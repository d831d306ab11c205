//! `bench-files DIRECTORY` reads files, see [`bench::files`].

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    bench::files::run(&std::env::args_os().nth(1).map(PathBuf::from).unwrap_or_default())
}
