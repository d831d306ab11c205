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
    /// This one only, or one whose programs it runs.
    Exact(Platform),
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
            Self::Wasm | Self::Linux | Self::Exact(_) => only().filter(|only| only.platform().is_none()),
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
            Self::Exact(wanted) => {
                let nearest = candidates.iter().copied().filter_map(|found| Some((wanted.distance_to(found)?, found)));
                nearest.min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
            }
        }
    }

    /// Whether an image of WebAssembly, or of something else, may be taken.
    pub(super) fn accepts(self, is_wasm: bool) -> bool {
        match self {
            Self::WasmFirst | Self::AsWasm => true,
            Self::Wasm => is_wasm,
            Self::Linux => !is_wasm,
            Self::Exact(wanted) => wanted.is_wasm() == is_wasm,
        }
    }

    /// What was looked for, as a message names it.
    pub(super) fn wanted(&self) -> String {
        match self {
            Self::WasmFirst | Self::AsWasm => format!("no WebAssembly platform and not {}", host_platform()),
            Self::Wasm => "no WebAssembly platform".to_owned(),
            Self::Linux => format!("no platform {}", host_platform()),
            Self::Exact(wanted) => format!("no platform {wanted}"),
        }
    }
}

/// Longest part of a platform's name.
const MAX_PART: usize = 24;

/// A platform by name, `os/architecture[/variant]`. It is as small as a choice that is copied has to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Platform {
    os: Part,
    architecture: Part,
    /// Empty if there is none.
    variant: Part,
}

/// A word, with zeros after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Part([u8; MAX_PART]);

impl Part {
    fn parse(text: &str) -> Option<Self> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let mut part = Self::default();
        part.0.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        (!text.is_empty() && text.bytes().all(is_part)).then_some(part)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default().trim_end_matches('\0')
    }
}

impl Platform {
    /// Reads a name. Architectures may be called as the kernel calls them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<Option<Part>> = text.split('/').map(Part::parse).collect();
        let (os, architecture, variant) = match parts[..] {
            [Some(os), Some(architecture)] => (os, architecture, Part::default()),
            [Some(os), Some(architecture), Some(variant)] => (os, architecture, variant),
            _ => return Err(format!("platform {text:?} is not os/architecture or os/architecture/variant")),
        };
        let known = match architecture.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self { os, architecture: Part::parse(known).unwrap_or(architecture), variant })
    }

    /// Such as `linux` and `wasip1`.
    pub fn os(&self) -> &str {
        self.os.as_str()
    }

    /// Such as `amd64` and `wasm`.
    pub fn architecture(&self) -> &str {
        self.architecture.as_str()
    }

    /// Such as `v8`.
    pub fn variant(&self) -> Option<&str> {
        Some(self.variant.as_str()).filter(|variant| !variant.is_empty())
    }

    /// Whether it is WebAssembly's.
    pub(super) fn is_wasm(&self) -> bool {
        is_wasm(self.architecture())
    }

    /// Whether programs for another platform are as good.
    pub(super) fn is_met_by(&self, other: &Self) -> bool {
        self.distance(other).is_some()
    }

    fn distance_to(&self, found: &Descriptor) -> Option<usize> {
        let platform = found.platform().as_ref()?;
        let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        let offered = Self::parse(&format!("{}/{}{variant}", platform.os(), platform.architecture())).ok()?;
        // One that says its platform for want of a better one comes after one that means it.
        let by_notes = says_wasm(found.annotations().iter().flatten()) && !self.is_wasm();
        Some(self.distance(&offered)? + if by_notes { NO_VARIANT } else { 0 })
    }

    /// How far another platform is from this one, whose programs can be run here; `None` if they cannot. A processor
    /// runs programs for earlier variants (containerd `platforms.Only`); where no variant is named, any is taken.
    fn distance(&self, offered: &Self) -> Option<usize> {
        if self.is_wasm() && offered.is_wasm() {
            let general = WASM_SYSTEMS[0];
            let rank = || WASM_SYSTEMS.iter().position(|known| *known == offered.os()).unwrap_or(WASM_SYSTEMS.len());
            return match (self.os(), offered.os()) {
                (wanted, offered) if wanted == offered => Some(0),
                (wanted, offered) if wanted == general || offered == general => Some(1 + rank()),
                _ => None,
            };
        }
        if (self.os(), self.architecture()) != (offered.os(), offered.architecture()) {
            return None;
        }
        match (self.level(), offered.level()) {
            (Some(wanted), Some(offered)) if offered <= wanted => Some(wanted - offered),
            (_, offered) if self.variant().is_none() => Some(NO_VARIANT + offered.unwrap_or(0)),
            _ => (self.variant() == offered.variant()).then_some(0),
        }
    }

    /// The number of the variant, which is what it is where it is not said.
    fn level(&self) -> Option<usize> {
        match (self.architecture(), self.variant()) {
            ("arm64", None) => Some(8),
            ("arm", None) => Some(7),
            ("amd64", None) => Some(1),
            (_, variant) => variant?.strip_prefix('v')?.parse().ok().filter(|level| *level < NO_VARIANT),
        }
    }
}

/// Further than any variant.
const NO_VARIANT: usize = 1000;

impl std::fmt::Display for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.os(), self.architecture())?;
        self.variant().map_or(Ok(()), |variant| write!(formatter, "/{variant}"))
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
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
    fn an_exact_platform_is_taken_or_one_that_it_runs() {
        let all = ["wasip1/wasm", "linux/amd64/v3", "linux/amd64", "linux/arm/v6", "linux/arm/v5", "linux/arm64/v8"];
        let cases = [
            ("linux/amd64", &all[..], Some("linux/amd64")),
            ("linux/x86_64", &all[..2], Some("linux/amd64/v3")),
            ("linux/amd64/v2", &all[..], Some("linux/amd64")),
            ("linux/amd64/v4", &all[..], Some("linux/amd64/v3")),
            ("linux/arm64", &all[..], Some("linux/arm64/v8")),
            ("linux/arm/v7", &all[..], Some("linux/arm/v6")),
            ("linux/arm", &all[..], Some("linux/arm/v6")),
            ("linux/arm/v5", &all[..4], None),
            ("wasi/wasm", &all[..], Some("wasip1/wasm")),
            ("wasip1/wasm", &["wasip2/wasm", "wasi/wasm"], Some("wasi/wasm")),
            ("wasip2/wasm", &all[..], None),
            ("linux/s390x", &all[..], None),
            ("linux/ppc64le/power9", &["linux/ppc64le", "linux/ppc64le/power9"], Some("linux/ppc64le/power9")),
        ];
        for (wanted, offered, expected) in cases {
            let choice = PlatformChoice::Exact(Platform::parse(wanted).unwrap());
            assert_eq!(chosen(choice, offered).as_deref(), expected, "{wanted} of {offered:?}");
        }
        assert_eq!(Platform::parse("linux/aarch64/v8").unwrap().to_string(), "linux/arm64/v8");
        for bad in
            ["linux", "linux/", "a/b/c/d", "linux/amd64,linux/arm64", "linux/a b", &format!("linux/{}", "x".repeat(25))]
        {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_lowest_variant_is_taken() {
        let (v3, v1) = (format!("{}/v3", host_platform()), format!("{}/v1", host_platform()));
        assert_eq!(chosen(PlatformChoice::Linux, &[&v3, &v1]).as_deref(), Some(v1.as_str()));
    }
}
