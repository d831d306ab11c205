//! OCI artifacts that are one WebAssembly program, as the ecosystem has published them over the years:
//!
//! | who | configuration | layer |
//! |---|---|---|
//! | CNCF's layout (`wkg`, `oras`, containerd's runwasi) | `application/vnd.wasm.config.v0+json` | `application/wasm` |
//! | `wasm-to-oci` and followers | `application/vnd.wasm.config.v1+json` | `application/vnd.wasm.content.layer.v1+wasm` |
//! | Istio and Envoy | `application/vnd.module.wasm.config.v1+json` | `application/vnd.module.wasm.content.layer.v1+wasm` |
//! | `oras push file.wasm:application/wasm` | `application/vnd.oci.empty.v1+json` | `application/wasm` |
//! | Docker's and runwasi's images of layers | an image configuration | `application/vnd.bytecodealliance.wasm.component.layer.v0+wasm` |
//!
//! What counts is the layer: exactly one whose type is a program's.

use oci_spec::image::{Descriptor, ImageManifest};

/// Types of layers that are programs.
const PROGRAM_LAYERS: &[&str] = &[
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    "application/vnd.w3c.wasm.module.v1+wasm",
];
/// Types of configurations of ordinary images.
const IMAGE_CONFIGS: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The layer that is the program, if the manifest is a program's; else what is wrong with it.
pub(super) fn program(manifest: &ImageManifest) -> Result<Option<&Descriptor>, String> {
    let is_program = |layer: &&Descriptor| PROGRAM_LAYERS.contains(&layer.media_type().as_ref());
    let mut programs = manifest.layers().iter().filter(is_program);
    match (programs.next(), programs.count()) {
        (Some(program), 0) => Ok(Some(program)),
        (Some(_), more) => Err(format!("is a WebAssembly artifact of {} programs, where one was expected", more + 1)),
        (None, _) if is_image(manifest) => Ok(None),
        (None, _) => {
            let config = manifest.config().media_type();
            let layers: Vec<_> = manifest.layers().iter().map(|layer| layer.media_type().to_string()).collect();
            let layers = if layers.is_empty() { "no layers".to_owned() } else { layers.join(", ") };
            Err(format!("is no image and no WebAssembly artifact: its configuration is {config}, with {layers}"))
        }
    }
}

/// Whether the manifest is that of an ordinary image of archives.
pub(super) fn is_ordinary(manifest: &ImageManifest) -> bool {
    is_image(manifest) && program(manifest).is_ok_and(|program| program.is_none())
}

fn is_image(manifest: &ImageManifest) -> bool {
    IMAGE_CONFIGS.contains(&manifest.config().media_type().as_ref())
}
