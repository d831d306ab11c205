//! Images in files: what `docker save`, `podman save`, `skopeo copy` and `umoci` write is loaded, and what they read is
//! saved. Three formats: Docker's archive (`manifest.json`), an OCI layout as an archive, and an OCI layout as a
//! directory.

mod load;
mod output;
mod save;
mod source;

pub use self::save::SaveFormat;
