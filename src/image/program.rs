//! WebAssembly programs as files: telling what they are, and making an OCI image of one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, ImageConfigurationBuilder, ImageManifestBuilder, MediaType, Os, RootFsBuilder,
};

use super::ImageError;
use super::layout::{Layout, failed};
use super::lease::Lease;
use super::reference::Reference;

/// Largest program.
pub(super) const MAX_PROGRAM: u64 = 1024 * 1024 * 1024;

/// What the first eight bytes of a WebAssembly file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgramKind {
    /// A core module: WASI 0.1.
    Module,
    /// A component: WASI 0.2 or 0.3.
    Component,
}

impl ProgramKind {
    /// Looks at the beginning of a file; else what it is instead.
    pub(super) fn of(contents: &[u8]) -> Result<Self, String> {
        match contents {
            [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Self::Module),
            [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(Self::Component),
            [0, b'a', b's', b'm', ..] => Err("a WebAssembly file of an unknown version".to_owned()),
            [0x7f, b'E', b'L', b'F', ..] => {
                Err("a native (ELF) program, not WebAssembly: compile it for wasm32-wasip1 or wasm32-wasip2".to_owned())
            }
            [b'(', b'm' | b'c', ..] => Err("WebAssembly text, not binary: translate it first".to_owned()),
            [] => Err("an empty file".to_owned()),
            _ => Err("not a WebAssembly program".to_owned()),
        }
    }

    /// The platform of an image of such a program.
    pub(super) fn platform(self) -> String {
        format!("{}/wasm", self.os())
    }

    /// The `os` of an image: what runwasi and the CNCF's guidance for WebAssembly artifacts use.
    pub(super) fn os(self) -> &'static str {
        match self {
            Self::Module => "wasip1",
            Self::Component => "wasip2",
        }
    }
}

/// Reads a program and makes sure it is one.
pub(super) fn read(path: &Path) -> Result<(Bytes, ProgramKind), ImageError> {
    let file = File::open(path).map_err(failed("cannot open", path))?;
    let metadata = file.metadata().map_err(failed("cannot read", path))?;
    if metadata.is_dir() {
        return Err(failed("cannot read", path)(io::ErrorKind::IsADirectory.into()));
    }
    whole(file, path)
}

/// As [`read`], from standard input.
pub(super) fn read_input() -> Result<(Bytes, ProgramKind), ImageError> {
    whole(io::stdin().lock(), Path::new("standard input"))
}

fn whole(source: impl Read, path: &Path) -> Result<(Bytes, ProgramKind), ImageError> {
    let mut contents = Vec::new();
    source.take(MAX_PROGRAM + 1).read_to_end(&mut contents).map_err(failed("cannot read", path))?;
    if contents.len() as u64 > MAX_PROGRAM {
        return Err(ImageError::Invalid(format!("{} is larger than {MAX_PROGRAM} bytes", path.display())));
    }
    let kind = ProgramKind::of(&contents)
        .map_err(|problem| ImageError::Invalid(format!("{} is {problem}", path.display())))?;
    Ok((Bytes::from(contents), kind))
}

/// Stores an ordinary OCI image whose one layer has the program at `/<name>.wasm`, which is also its entry point.
/// The same program under the same name is the same image, whenever it is imported.
pub(super) fn store(
    layout: &Layout,
    lease: &Lease,
    reference: &Reference,
    contents: &[u8],
    kind: ProgramKind,
) -> Result<Descriptor, ImageError> {
    let file_name = format!("{}.wasm", reference.short_name());
    let (diff_id, layer_size) = layout.write_blob_with(lease, |layer| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(contents.len() as u64);
        let mut archive = tar::Builder::new(layer);
        archive.append_data(&mut header, &file_name, contents)?;
        archive.finish()
    })?;
    let config = ConfigBuilder::default().entrypoint(vec![format!("/{file_name}")]).build();
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![diff_id.to_string()]).build();
    let configuration = ImageConfigurationBuilder::default()
        .architecture(Arch::from("wasm"))
        .os(Os::from(kind.os()))
        .config(config.map_err(impossible)?)
        .rootfs(rootfs.map_err(impossible)?)
        .history(Vec::new())
        .build()
        .map_err(impossible)?;
    let config = layout.write_document(lease, MediaType::ImageConfig, &configuration)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(vec![diff_id.descriptor(MediaType::ImageLayer, layer_size)])
        .build()
        .map_err(impossible)?;
    layout.write_document(lease, MediaType::ImageManifest, &manifest)
}

/// The builders fail only when a required field was not given, and all are.
pub(super) fn impossible(error: oci_spec::OciSpecError) -> ImageError {
    ImageError::Invalid(error.to_string())
}
