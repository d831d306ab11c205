//! Which of the platforms that an image index offers is taken, and what an image says of its platform.

use oci_spec::image::{Descriptor, MediaType};

/// An annotation of images whose program is WebAssembly although their platform says otherwise: crun's, which tools
/// that know no WebAssembly platforms have used. Its values are `compat` and `compat-smart`.
const CRUN_VARIANT: &str = "module.wasm.image/variant";
/// Another one of crun's: which of its handlers is to run the program.
const CRUN_HANDLER: &str = "run.oci.handler";
/// Operating systems of WebAssembly images, the most general first.
const WASM_SYSTEMS: [&str; 3] = ["wasi", "wasip1", "wasip2"];
/// Architectures of WebAssembly images.
const WASM_ARCHITECTURES: [&str; 2] = ["wasm", "wasm32"];

/// Which platforms of an image may be taken, and which first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PlatformChoice {
    /// WebAssembly, else this machine's Linux.
    #[default]
    WasmFirst,
    /// The same, but what is taken is read as WebAssembly has it, whatever the image says of itself: tools that know no
    /// platforms of WebAssembly say this machine's.
    AsWasm,
    /// WebAssembly only.
    Wasm,
    /// This machine's Linux only.
    Linux,
}

impl PlatformChoice {
    /// The one of `offered` to take; an index with a single platform has nothing to choose from.
    pub(super) fn choose<'a>(&self, offered: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let only = || {
            let mut candidates = offered.iter().filter(|found| !is_attestation(found));
            candidates.next().filter(|_| candidates.next().is_none())
        };
        self.best(offered).or_else(|| match self {
            Self::WasmFirst | Self::AsWasm => only(),
            Self::Wasm | Self::Linux => only().filter(|only| only.platform().is_none()),
        })
    }

    /// The one of `offered` that is for a platform to take.
    pub(super) fn best<'a>(&self, offered: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let candidates: Vec<_> = offered.iter().filter(|found| !is_attestation(found)).collect();
        let linux = || {
            candidates.iter().copied().filter(|found| linux_rank(found).is_some()).min_by_key(|found| linux_rank(found))
        };
        let wasm = || {
            candidates.iter().copied().filter(|found| wasm_rank(found).is_some()).min_by_key(|found| wasm_rank(found))
        };
        match self {
            Self::WasmFirst | Self::AsWasm => wasm().or_else(linux),
            Self::Wasm => wasm(),
            Self::Linux => linux(),
        }
    }

    /// Whether an image of WebAssembly, or of something else, may be taken.
    pub(super) fn accepts(self, is_wasm: bool) -> bool {
        match self {
            Self::WasmFirst | Self::AsWasm => true,
            Self::Wasm => is_wasm,
            Self::Linux => !is_wasm,
        }
    }

    /// What was looked for, as a message names it.
    pub(super) fn wanted(&self) -> String {
        match self {
            Self::WasmFirst | Self::AsWasm => format!("no WebAssembly platform and not {}", host_platform()),
            Self::Wasm => "no WebAssembly platform".to_owned(),
            Self::Linux => format!("no platform {}", host_platform()),
        }
    }
}

/// `linux/amd64` and the like: what native containers of this machine run.
pub fn host_platform() -> String {
    format!("linux/{}", host_architecture())
}

/// This machine's architecture as images name it (Go's `GOARCH`).
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Whether a platform such as `wasip1/wasm` is WebAssembly's.
pub(super) fn is_wasm(architecture: &str) -> bool {
    WASM_ARCHITECTURES.contains(&architecture)
}

/// Whether annotations say that an image is WebAssembly, as crun reads them.
pub(super) fn says_wasm(annotations: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> bool {
    annotations.into_iter().any(|(key, value)| match key.as_ref() {
        CRUN_VARIANT => value.as_ref().starts_with("compat"),
        CRUN_HANDLER => value.as_ref().starts_with("wasm"),
        _ => false,
    })
}

/// The platforms of an index, for a message.
pub(super) fn names(offered: &[Descriptor]) -> String {
    let named = offered.iter().filter(|found| !is_attestation(found)).filter_map(|found| found.platform().as_ref());
    let names: Vec<_> = named.map(|platform| format!("{}/{}", platform.os(), platform.architecture())).collect();
    if names.is_empty() { "no platform at all".to_owned() } else { format!("only {}", names.join(", ")) }
}

/// Whether a document of this type names manifests of several platforms.
pub(super) fn is_index(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageIndex
        || media_type.as_ref() == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// Notes of build tools about an image are in its index as manifests of no platform.
pub(super) fn is_attestation(found: &Descriptor) -> bool {
    found.platform().as_ref().is_some_and(|platform| platform.os().to_string() == "unknown")
}

fn wasm_rank(found: &Descriptor) -> Option<usize> {
    let platform = found.platform().as_ref()?;
    let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
    if is_wasm(&architecture) {
        return Some(WASM_SYSTEMS.iter().position(|known| *known == os).unwrap_or(WASM_SYSTEMS.len()));
    }
    says_wasm(found.annotations().iter().flatten()).then_some(WASM_SYSTEMS.len() + 1)
}

/// The lowest variant of an architecture runs everywhere.
fn linux_rank(found: &Descriptor) -> Option<String> {
    let platform = found.platform().as_ref()?;
    let fits = platform.os().to_string() == "linux" && platform.architecture().to_string() == host_architecture();
    fits.then(|| platform.variant().clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chosen(choice: PlatformChoice, platforms: &[&str]) -> Option<String> {
        let hex = |number: usize| format!("sha256:{number:064x}");
        let entry = |(number, name): (usize, &&str)| {
            let (os, rest) = name.split_once('/').unwrap();
            let (architecture, variant) = rest.split_once('/').unwrap_or((rest, ""));
            let platform = match variant {
                "" => json!({ "os": os, "architecture": architecture }),
                variant => json!({ "os": os, "architecture": architecture, "variant": variant }),
            };
            json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": hex(number), "size": 2, "platform": platform })
        };
        let offered: Vec<Value> = platforms.iter().enumerate().map(entry).collect();
        let offered: Vec<Descriptor> = serde_json::from_value(Value::from(offered)).unwrap();
        let found = choice.choose(&offered)?;
        let index = offered.iter().position(|entry| entry.digest() == found.digest()).unwrap();
        Some(platforms[index].to_owned())
    }

    #[test]
    fn wasm_comes_first_for_wasm_and_this_machines_linux_else() {
        let host = host_platform();
        let all = ["linux/s390x", &host, "wasip2/wasm", "wasip1/wasm", "wasi/wasm"];
        let cases = [
            (PlatformChoice::WasmFirst, &all[..], Some("wasi/wasm")),
            (PlatformChoice::Wasm, &all[..4], Some("wasip1/wasm")),
            (PlatformChoice::Wasm, &all[..3], Some("wasip2/wasm")),
            (PlatformChoice::Wasm, &["linux/wasm32", "linux/s390x"], Some("linux/wasm32")),
            (PlatformChoice::Linux, &all[..], Some(host.as_str())),
            (PlatformChoice::WasmFirst, &all[..2], Some(host.as_str())),
            (PlatformChoice::Wasm, &all[..2], None),
            (PlatformChoice::Linux, &["linux/s390x", "wasi/wasm"], None),
            (PlatformChoice::WasmFirst, &["plan9/mips", "unknown/unknown"], Some("plan9/mips")),
            (PlatformChoice::WasmFirst, &["plan9/mips", "linux/s390x"], None),
            (PlatformChoice::WasmFirst, &[], None),
        ];
        for (choice, offered, expected) in cases {
            assert_eq!(chosen(choice, offered).as_deref(), expected, "{choice:?} of {offered:?}");
        }
    }

    #[test]
    fn the_lowest_variant_is_taken() {
        let (v3, v1) = (format!("{}/v3", host_platform()), format!("{}/v1", host_platform()));
        assert_eq!(chosen(PlatformChoice::Linux, &[&v3, &v1]).as_deref(), Some(v1.as_str()));
    }
}
