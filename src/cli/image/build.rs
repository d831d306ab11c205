//! `husk image build`.

use std::path::PathBuf;

use clap::Args;

/// What to build.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a Dockerfile, the image has the files of the directory at its root, and runs the only WebAssembly program that is \
at the top. Of a Dockerfile, everything that needs nothing to be run is followed: FROM, COPY, ADD of local files and archives, ENV, ARG, \
ENTRYPOINT, CMD, WORKDIR, USER, LABEL, EXPOSE, VOLUME, STOPSIGNAL, MAINTAINER; HEALTHCHECK is left out with a warning.

What FROM names is pulled if it is not there. Of an image for several platforms, the one of --platform is taken; without \
it, what is there, WebAssembly first. The same files make the same image, so that there is no cache of steps.")]
pub struct BuildArgs {
    /// The image's name; may be given several times
    #[arg(short, long = "tag", required = true, value_name = "NAME[:TAG]")]
    pub tags: Vec<String>,
    /// The Dockerfile, relative to the working directory, if it is not Dockerfile or Containerfile in the directory; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The value of an ARG; without one, that of the environment's variable
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,
    /// A label of the image, over those of the Dockerfile
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// What the image is for, such as wasip1/wasm, linux/amd64 or linux/arm64/v8; told by its program or base otherwise
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// Print only the image's ID, and no warnings
    #[arg(short, long)]
    pub quiet: bool,
    /// Ask the registry for what FROM names, even if it is there
    #[arg(long)]
    pub pull: bool,
    /// Accepted for scripts' sake: there is no cache to do without
    #[arg(long)]
    pub no_cache: bool,
    /// The directory with the files
    pub directory: PathBuf,
}
