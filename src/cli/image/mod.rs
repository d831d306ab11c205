//! `husk image`: the images on this machine, one file per verb.

pub mod build;
pub mod history;
pub mod import;
pub mod inspect;
pub mod load;
pub mod ls;
pub mod prune;
pub mod pull;
pub mod push;
pub mod rm;
pub mod save;
pub mod tag;

use clap::Subcommand;

/// The verbs of `husk image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make an image of a directory, or of one with a Dockerfile that runs nothing
    Build(build::BuildArgs),
    /// Show how images were made
    History(history::HistoryArgs),
    /// Make an image of a WebAssembly program
    Import(import::ImportArgs),
    /// Show images in full, as JSON
    Inspect(inspect::InspectArgs),
    /// Load images from an archive or OCI layout
    Load(load::LoadArgs),
    /// List images: stored ones, built-in ones and the names these stand in for
    #[command(visible_alias = "list")]
    Ls(ls::LsArgs),
    /// Remove what is not needed
    Prune(prune::PruneArgs),
    /// Pull images from their registries
    Pull(pull::PullArgs),
    /// Push an image to a registry
    Push(push::PushArgs),
    /// Remove images by name or ID
    #[command(visible_alias = "remove")]
    Rm(rm::RmArgs),
    /// Save images to an archive or OCI layout
    Save(save::SaveArgs),
    /// Give an image another name
    Tag(tag::TagArgs),
}
