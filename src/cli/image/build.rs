//! `husk image build`.

use std::path::PathBuf;

use clap::Args;

/// What to build.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a Dockerfile, the image has the files of the directory at its root, and runs the only WebAssembly program that is \
at the top. Of a Dockerfile, everything that needs nothing to be run is followed: FROM, COPY, ADD of local files and archives, ENV, ARG, \
ENTRYPOINT, CMD, WORKDIR, USER, LABEL, EXPOSE, VOLUME, STOPSIGNAL.")]
pub struct BuildArgs {
    /// The image's name; may be given several times
    #[arg(short, long = "tag", required = true, value_name = "NAME[:TAG]")]
    pub tags: Vec<String>,
    /// The Dockerfile, if it is not Dockerfile or Containerfile in the directory
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The value of an ARG
    #[arg(long, value_name = "NAME=VALUE")]
    pub build_arg: Vec<String>,
    /// What the image is for, such as wasip1/wasm or linux/amd64; told by its program otherwise
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// The directory with the files
    pub directory: PathBuf,
}
