//! Builds the guest programs in `wasm-apps/` and makes the built-in images of them.
//!
//! The guests are compiled by a nested cargo in a target directory of their own, with an environment that nothing of
//! the outer build leaks into. What comes out, in `OUT_DIR`: `guests/{p1,p2,p3,builtin}/*.wasm` (for the tests and
//! benchmarks, which find it by the compile-time variable `HUSK_GUESTS_DIR`), one `*.tar` for each layer of the built-in
//! images, and `builtin_images.rs`, the table `src/image/builtin.rs` includes. Archives and digests depend on the
//! guests' bytes only.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// One nested build: the target and the packages of `wasm-apps/` built for it.
struct GuestBuild {
    target: &'static str,
    packages: &'static [&'static str],
}

const WASI_0_1: GuestBuild =
    GuestBuild { target: "wasm32-wasip1", packages: &["bench", "busybox", "pause", "sh", "test-p1", "test-portable"] };
const WASI_0_2: GuestBuild = GuestBuild {
    target: "wasm32-wasip2",
    packages: &[
        "bench",
        "bench-http",
        "grpc-health",
        "hello-http",
        "httpbin",
        "nettool",
        "nginx",
        "test-p2",
        "test-p2-http",
        "test-p3-calls",
        "test-p3-hello",
        "test-p3-http",
        "test-portable",
        "test-probed",
    ],
};

/// The guests that make up the built-in images; every other one is a test's.
const BUILT_IN: &[&str] = &[
    "busybox.wasm",
    "grpc-health.wasm",
    "hello_http.wasm",
    "httpbin.wasm",
    "nettool.wasm",
    "nginx.wasm",
    "pause.wasm",
    "sh.wasm",
];

/// Variables that would otherwise be removed with all of cargo's own, but which say how to reach a registry.
const KEPT_PREFIXES: &[&str] =
    &["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_MAKEFLAGS"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            for line in problem.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let manifest_dir = directory("CARGO_MANIFEST_DIR")?;
    let out_dir = directory("OUT_DIR")?;
    let sources = manifest_dir.join("wasm-apps");
    rerun_if_changed(&manifest_dir, &sources)?;

    let target_dir = guest_target_dir(&out_dir);
    let guests = out_dir.join("guests");
    for guest_build in [WASI_0_1, WASI_0_2] {
        require_target(guest_build.target)?;
        compile(&guest_build, &sources, &target_dir)?;
        collect(&target_dir.join(guest_build.target).join("release"), guest_build.target, &guests)?;
    }
    println!("cargo::rustc-env=HUSK_GUESTS_DIR={}", guests.display());
    link_at_fixed_address();
    write_images(&sources, &guests.join("builtin"), &out_dir)
}

/// On Linux every pod has a process of husk's. Where the program may be anywhere in memory, its two megabytes of constants
/// with addresses in them are adjusted in each of these processes, which then has them for itself; at a fixed address, as
/// Go's programs are, all share them.
fn link_at_fixed_address() {
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}

fn directory(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("{variable} is not set: run this through cargo"))
}

/// Cargo looks at everything below a directory, so `wasm-apps/` itself must not be named: it may hold a `target/`.
fn rerun_if_changed(manifest_dir: &Path, sources: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed={}", manifest_dir.join("build.rs").display());
    for interfaces in ["wit/husk-http", "wit/husk-process"] {
        println!("cargo::rerun-if-changed={}", manifest_dir.join(interfaces).display());
    }
    for entry in fs::read_dir(sources).map_err(describe("read", sources))? {
        let path = entry.map_err(describe("read", sources))?.path();
        if path.file_name().is_some_and(|name| name != "target") {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    Ok(())
}

/// `target/wasm-apps`, next to `target/debug`, `target/release` and those of other systems (`target/<triple>/debug`),
/// which then share one build of the guests; or a place in `OUT_DIR` should cargo's layout ever change.
fn guest_target_dir(out_dir: &Path) -> PathBuf {
    let build_dir = out_dir.ancestors().find(|path| path.file_name().is_some_and(|name| name == "build"));
    let of_system = env::var_os("TARGET");
    match build_dir.and_then(|path| path.parent()?.parent()) {
        Some(directory) if directory.file_name() == of_system.as_deref() => directory.with_file_name("wasm-apps"),
        Some(target_dir) => target_dir.join("wasm-apps"),
        None => out_dir.join("wasm-apps"),
    }
}

/// Says what to do when the compiler lacks the standard library of a target, rather than let the compiler say `E0463`.
fn require_target(target: &str) -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).args(["--print", "target-libdir", "--target", target]).output();
    let output = output.map_err(describe("run", Path::new(&rustc)))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && libraries.is_dir() {
        return Ok(());
    }
    Err(format!(
        "the WebAssembly target {target} is not installed, which husk's built-in programs are compiled for\n\
         install it with: rustup target add wasm32-wasip1 wasm32-wasip2"
    ))
}

fn compile(guest_build: &GuestBuild, sources: &Path, target_dir: &Path) -> Result<(), String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(sources).args(["build", "--locked", "--release", "--target", guest_build.target]);
    for package in guest_build.packages {
        cargo.args(["--package", package]);
    }
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let cargos = ["CARGO", "RUSTC_", "RUSTDOC", "CLIPPY"].iter().any(|prefix| text.starts_with(prefix));
        if (cargos || text == "RUSTFLAGS") && !KEPT_PREFIXES.iter().any(|kept| text.starts_with(kept)) {
            cargo.env_remove(&name);
        }
    }
    // uutils would put in messages in the language of whoever builds.
    cargo.env_remove("LANG").env_remove("UUCORE_TARGET_UTIL");
    cargo.env("CARGO_TARGET_DIR", target_dir);
    // Overrides what configuration files say, which is meant for the host. Paths of this machine stay out of the
    // guests, so that they and the images' digests are the same wherever the source lies.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", path_remappings(sources).join("\x1f"));
    let output = cargo.output().map_err(describe("run", Path::new("cargo")))?;
    if output.status.success() {
        return Ok(());
    }
    let packages = guest_build.packages.join(", ");
    let problem = String::from_utf8_lossy(&output.stderr);
    Err(format!("compiling the guest programs {packages} for {} failed:\n{problem}", guest_build.target))
}

fn path_remappings(sources: &Path) -> Vec<String> {
    let mut remappings = vec![format!("--remap-path-prefix={}=/wasm-apps", sources.display())];
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    if let Some(cargo_home) = env::var_os("CARGO_HOME").map(PathBuf::from).or(home) {
        remappings.push(format!("--remap-path-prefix={}=/cargo", cargo_home.display()));
    }
    remappings
}

/// Copies the programs to `guests/<level>/<name>.wasm`, named by the WASI level they use.
fn collect(from: &Path, target: &str, guests: &Path) -> Result<(), String> {
    for entry in fs::read_dir(from).map_err(describe("read", from))? {
        let path = entry.map_err(describe("read", from))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".wasm")) else {
            continue;
        };
        let (level, name) = if BUILT_IN.contains(&name) {
            ("builtin", name.replace('_', "-"))
        } else if let Some(name) = name.strip_prefix("test_p3_") {
            ("p3", name.to_owned())
        } else if target == WASI_0_1.target {
            ("p1", name.to_owned())
        } else {
            ("p2", name.strip_prefix("test_p2_").unwrap_or(name).to_owned())
        };
        let directory = guests.join(level);
        fs::create_dir_all(&directory).map_err(describe("create", &directory))?;
        let destination = directory.join(name);
        fs::copy(&path, &destination).map_err(describe("write", &destination))?;
    }
    Ok(())
}

/// One layer of a built-in image: an archive that grows entry by entry.
struct Layer {
    archive: tar::Builder<Vec<u8>>,
}

impl Layer {
    fn new() -> Self {
        Self { archive: tar::Builder::new(Vec::new()) }
    }

    fn add(&mut self, kind: tar::EntryType, path: &str, mode: u32, link: Option<&str>, contents: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(contents.len() as u64);
        let added = match link {
            Some(target) => self.archive.append_link(&mut header, path, target),
            None => self.archive.append_data(&mut header, path, contents),
        };
        added.expect("writing to memory succeeds, and paths here are short");
    }

    fn directory(&mut self, path: &str, mode: u32) {
        self.add(tar::EntryType::Directory, path, mode, None, b"");
    }

    fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.add(tar::EntryType::Regular, path, mode, None, contents);
    }

    fn link(&mut self, path: &str, target: &str) {
        self.add(tar::EntryType::Symlink, path, 0o777, Some(target), b"");
    }
}

/// The tools of busybox: `/bin`, accounts and the usual directories.
fn tools_layer(sources: &Path, guests: &Path) -> Result<Layer, String> {
    let mut layer = Layer::new();
    for directory in ["bin/", "etc/", "home/", "root/", "usr/", "usr/sbin/", "var/"] {
        layer.directory(directory, 0o755);
    }
    layer.directory("tmp/", 0o1777);
    layer.directory("var/tmp/", 0o1777);
    layer.file("etc/passwd", 0o644, include_bytes!("wasm-apps/files/passwd"));
    layer.file("etc/group", 0o644, include_bytes!("wasm-apps/files/group"));
    let programs = [("busybox", "busybox"), ("nettool", "nettool"), ("httpd", "nginx"), ("sh", "sh")];
    for (name, program) in programs {
        layer.file(&format!("bin/{name}"), 0o755, &read(&guests.join(format!("{program}.wasm")))?);
    }
    for program in ["busybox", "nettool"] {
        let applets = sources.join(program).join("applets.txt");
        for applet in String::from_utf8_lossy(&read(&applets)?).lines() {
            layer.link(&format!("bin/{applet}"), program);
        }
    }
    // Every tool is at its other usual places, too, such as /usr/bin/env.
    layer.link("usr/bin", "../bin");
    layer.link("sbin", "bin");
    Ok(layer)
}

/// The web server under nginx's name, with its configuration and a page to serve, where nginx's own image has them.
fn nginx_layer() -> Layer {
    let mut layer = Layer::new();
    for directory in ["etc/", "etc/nginx/", "etc/nginx/conf.d/", "run/", "usr/", "usr/sbin/", "usr/share/"] {
        layer.directory(directory, 0o755);
    }
    for directory in ["usr/share/nginx/", "usr/share/nginx/html/", "var/", "var/cache/", "var/cache/nginx/"] {
        layer.directory(directory, 0o755);
    }
    layer.directory("var/log/", 0o755);
    layer.directory("var/log/nginx/", 0o755);
    layer.link("usr/sbin/nginx", "../../bin/httpd");
    layer.link("var/run", "../run");
    layer.link("var/log/nginx/access.log", "/dev/stdout");
    layer.link("var/log/nginx/error.log", "/dev/stderr");
    layer.file("etc/nginx/nginx.conf", 0o644, include_bytes!("wasm-apps/nginx/files/nginx.conf"));
    layer.file("etc/nginx/mime.types", 0o644, include_bytes!("wasm-apps/nginx/files/mime.types"));
    layer.file("etc/nginx/conf.d/default.conf", 0o644, include_bytes!("wasm-apps/nginx/files/default.conf"));
    layer.file("usr/share/nginx/html/index.html", 0o644, include_bytes!("wasm-apps/files/index.html"));
    layer.file("usr/share/nginx/html/50x.html", 0o644, include_bytes!("wasm-apps/nginx/files/50x.html"));
    layer
}

fn grpc_health_layer(guests: &Path) -> Result<Layer, String> {
    let mut layer = Layer::new();
    layer.file("bin/grpc-health", 0o755, &read(&guests.join("grpc-health.wasm"))?);
    Ok(layer)
}

fn hello_http_layer(guests: &Path) -> Result<Layer, String> {
    let mut layer = Layer::new();
    layer.file("hello-http.wasm", 0o755, &read(&guests.join("hello-http.wasm"))?);
    Ok(layer)
}

fn httpbin_layer(guests: &Path) -> Result<Layer, String> {
    let mut layer = Layer::new();
    layer.file("bin/httpbin", 0o755, &read(&guests.join("httpbin.wasm"))?);
    Ok(layer)
}

fn pause_layer(guests: &Path) -> Result<Layer, String> {
    let mut layer = Layer::new();
    layer.file("pause", 0o755, &read(&guests.join("pause.wasm"))?);
    Ok(layer)
}

/// What a built-in image's configuration says.
struct BuiltInImage {
    name: &'static str,
    /// Names of layers, lowest first.
    layers: &'static [&'static str],
    entrypoint: &'static [&'static str],
    cmd: &'static [&'static str],
    port: Option<u16>,
}

impl BuiltInImage {
    /// `StopSignal`: nginx finishes its requests when it gets QUIT.
    fn stop_signal(&self) -> Option<&'static str> {
        (self.name == "builtin/nginx").then_some("SIGQUIT")
    }
}

const IMAGES: &[BuiltInImage] = &[
    BuiltInImage { name: "builtin/busybox", layers: &["tools"], entrypoint: &[], cmd: &["sh"], port: None },
    BuiltInImage { name: "builtin/curl", layers: &["tools"], entrypoint: &["curl"], cmd: &[], port: None },
    BuiltInImage {
        name: "builtin/grpc-health",
        layers: &["tools", "grpc-health"],
        entrypoint: &["grpc-health"],
        cmd: &[],
        port: Some(2379),
    },
    BuiltInImage {
        name: "builtin/hello-http",
        layers: &["hello-http"],
        entrypoint: &["/hello-http.wasm"],
        cmd: &[],
        port: Some(80),
    },
    BuiltInImage {
        name: "builtin/httpbin",
        layers: &["tools", "httpbin"],
        entrypoint: &["httpbin"],
        cmd: &[],
        port: Some(80),
    },
    BuiltInImage {
        name: "builtin/nginx",
        layers: &["tools", "nginx"],
        entrypoint: &[],
        cmd: &["nginx", "-g", "daemon off;"],
        port: Some(80),
    },
    BuiltInImage { name: "builtin/pause", layers: &["pause"], entrypoint: &["/pause"], cmd: &[], port: None },
];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Writes the layers and the table of images.
fn write_images(sources: &Path, guests: &Path, out_dir: &Path) -> Result<(), String> {
    let layers = [
        ("tools", tools_layer(sources, guests)?),
        ("nginx", nginx_layer()),
        ("grpc-health", grpc_health_layer(guests)?),
        ("hello-http", hello_http_layer(guests)?),
        ("httpbin", httpbin_layer(guests)?),
        ("pause", pause_layer(guests)?),
    ];
    let mut code = String::from("// Generated by build.rs.\n");
    let mut diff_ids = Vec::new();
    for (name, layer) in layers {
        let archive = layer.archive.into_inner().map_err(describe("finish", Path::new(name)))?;
        let diff_id = digest(&archive);
        let path = out_dir.join(format!("{name}.tar"));
        fs::write(&path, archive).map_err(describe("write", &path))?;
        let constant = constant_name(name);
        writeln!(
            code,
            "static {constant}: BuiltInLayer = \
             BuiltInLayer {{ diff_id: {diff_id:?}, archive: include_bytes!({path:?}) }};"
        )
        .map_err(|error| error.to_string())?;
        diff_ids.push((name, diff_id));
    }
    code.push_str("pub(super) static IMAGES: &[BuiltInImage] = &[\n");
    for image in IMAGES {
        let config = image_config(image, &diff_ids);
        let layers: Vec<_> = image.layers.iter().map(|layer| format!("&{}", constant_name(layer))).collect();
        writeln!(
            code,
            "BuiltInImage {{ name: {:?}, id: {:?}, entrypoint: &{:?}, cmd: &{:?}, path: {PATH:?}, stop_signal: {:?}, \
             layers: &[{}] }},",
            image.name,
            digest(config.as_bytes()),
            image.entrypoint,
            image.cmd,
            image.stop_signal(),
            layers.join(", "),
        )
        .map_err(|error| error.to_string())?;
    }
    code.push_str("];\n");
    let path = out_dir.join("builtin_images.rs");
    fs::write(&path, code).map_err(describe("write", &path))
}

fn constant_name(layer: &str) -> String {
    format!("LAYER_{}", layer.to_uppercase().replace('-', "_"))
}

/// The OCI image configuration, whose digest is the image's ID. Rust's `{:?}` of these strings is also JSON's.
fn image_config(image: &BuiltInImage, diff_ids: &[(&str, String)]) -> String {
    let wanted = |name: &&str| diff_ids.iter().find(|(known, _)| known == name).map(|(_, diff_id)| diff_id);
    let diff_ids: Vec<_> = image.layers.iter().filter_map(wanted).collect();
    let ports = image.port.map(|port| format!(r#","ExposedPorts":{{"{port}/tcp":{{}}}}"#)).unwrap_or_default();
    let stop = image.stop_signal().map(|signal| format!(r#","StopSignal":{signal:?}"#)).unwrap_or_default();
    let (entrypoint, cmd) = (image.entrypoint, image.cmd);
    let config = format!(r#"{{"Env":["PATH={PATH}"],"Entrypoint":{entrypoint:?},"Cmd":{cmd:?}{ports}{stop}}}"#);
    let rootfs = format!(r#"{{"type":"layers","diff_ids":{diff_ids:?}}}"#);
    format!(r#"{{"architecture":"wasm","os":"wasi","config":{config},"rootfs":{rootfs}}}"#)
}

fn digest(contents: &[u8]) -> String {
    let hash = Sha256::digest(contents);
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(describe("read", path))
}

fn describe(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("cannot {action} {path}: {error}")
}
