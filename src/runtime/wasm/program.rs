//! What a program is: finding `argv[0]` in the container's filesystem, telling kinds of WebAssembly apart by their
//! bytes, and linking them. What is no program husk can run is refused here, with a remedy.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime_wasi::p2::bindings as p2;
use wasmtime_wasi_http::handler::ProxyPre;

use super::code_cache::{Compiled, Content, Encoding, Source};
use super::linkers::Linkers;
use super::state::GuestState;
use crate::runtime::RuntimeError;
use crate::vfs::{Dir, Errno, File, FileKind, OpenOptions, Opened};

/// Where programs are looked for without `PATH` in the environment (runc's default).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The interface by which a component is started as a command, followed by its version.
const RUN_INTERFACE: &str = "wasi:cli/run@";

/// The interface by which a 0.2 component answers HTTP requests.
const INCOMING_HANDLER_INTERFACE: &str = "wasi:http/incoming-handler@0.2";

/// The interface by which a 0.3 component answers HTTP requests.
const HANDLER_INTERFACE: &str = "wasi:http/handler@0.3";

/// The most bytes of a program file.
const MAX_PROGRAM_BYTES: u64 = 512 << 20;

/// Scripts whose interpreter is a script again (Linux's bound).
const MAX_INTERPRETERS: usize = 4;

/// Bytes looked at to tell what a file is.
const HEAD_BYTES: usize = 512;

/// A linked program, ready to be instantiated.
pub(super) enum Program {
    /// A 0.1 command: a core module with `_start`.
    Module(wasmtime::InstancePre<GuestState>),
    /// A 0.2 command.
    Command2(p2::CommandPre<GuestState>),
    /// A 0.3 command.
    #[cfg(feature = "wasi-p3")]
    Command3(wasmtime_wasi::p3::bindings::CommandPre<GuestState>),
    /// A 0.2 or 0.3 component that answers HTTP requests.
    Server(ProxyPre<GuestState>),
}

/// A program file.
pub(super) struct Found {
    /// Its content.
    pub(super) source: Source,
    /// Where it is, absolute.
    pub(super) path: String,
    /// Its arguments: those asked for, or an interpreter's, which has the script among them.
    pub(super) argv: Vec<String>,
}

/// Reads the program that `program` names in the container: a path, or a name to be looked for on `PATH`. A script's
/// interpreter is read instead of it.
pub(super) fn find(
    root: &Dir,
    program: &str,
    mut argv: Vec<String>,
    env: &[(String, String)],
    working_dir: &str,
) -> Result<Found, RuntimeError> {
    let (mut path, mut file) = locate(root, program, env, working_dir)?;
    for _ in 0..=MAX_INTERPRETERS {
        let head = read_head(program, &file)?;
        let Some(interpreter) = interpreter(&head) else {
            return Ok(Found { source: source(program, file, &head)?, path, argv });
        };
        argv.splice(..argv.len().min(1), interpreter.iter().cloned().chain([path]));
        path = absolute(working_dir, &interpreter[0]);
        file = executable(root, &path)
            .map_err(|error| not_executable(program, &format!("its interpreter {}: {error}", interpreter[0])))?;
    }
    Err(not_executable(program, "too many interpreters of interpreters"))
}

/// The interpreter that a script's first line names, and the argument it gives it.
fn interpreter(head: &[u8]) -> Option<Vec<String>> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let (interpreter, argument) = line.trim().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
    let words = [interpreter, argument.trim()].into_iter().filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

fn locate(
    root: &Dir,
    program: &str,
    env: &[(String, String)],
    working_dir: &str,
) -> Result<(String, File), RuntimeError> {
    if program.is_empty() {
        return Err(not_found(program, "no command specified"));
    }
    if program.contains('/') {
        let path = absolute(working_dir, program);
        return match executable(root, &path).or_else(|error| wasm(root, &path).ok_or(error)) {
            Ok(file) => Ok((path, file)),
            Err(Errno::NotFound) => Err(not_found(program, &format!("stat {program}: no such file or directory"))),
            Err(Errno::NotDirectory) => Err(not_found(program, &format!("stat {program}: not a directory"))),
            Err(Errno::IsDirectory) => Err(not_executable(program, "is a directory")),
            Err(error) => Err(not_executable(program, &error.to_string())),
        };
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    for directory in path.split(':') {
        let candidate =
            absolute(working_dir, &format!("{}/{program}", if directory.is_empty() { "." } else { directory }));
        if let Ok(file) = executable(root, &candidate) {
            return Ok((candidate, file));
        }
    }
    Err(not_found(program, "executable file not found in $PATH"))
}

fn absolute(working_dir: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{working_dir}/{path}") }
}

fn executable(root: &Dir, path: &str) -> Result<File, Errno> {
    let file = match root.open(path, OpenOptions { read: true, follow: true, ..OpenOptions::default() })? {
        Opened::File(file) => file,
        Opened::Dir(_) => return Err(Errno::IsDirectory),
    };
    let stat = file.stat()?;
    let runnable = stat.kind == FileKind::Regular && stat.mode & 0o111 != 0;
    if runnable { Ok(file) } else { Err(Errno::Access) }
}

/// Differs from Linux: a program of WebAssembly that is named by its path needs no permission to be executed. Compilers do
/// not set it, and so files in images do not have it; runwasi does not ask for it either.
fn wasm(root: &Dir, path: &str) -> Option<File> {
    let options = OpenOptions { read: true, follow: true, ..OpenOptions::default() };
    let Ok(Opened::File(file)) = root.open(path, options) else { return None };
    let mut magic = [0; 4];
    (file.read_at(&mut magic, 0).ok()? == magic.len() && magic == *b"\0asm").then_some(file)
}

fn read_head(program: &str, file: &File) -> Result<Vec<u8>, RuntimeError> {
    let mut head = vec![0; HEAD_BYTES];
    let mut length = 0;
    while length < HEAD_BYTES {
        let read = file.read_at(&mut head[length..], length as u64);
        match read.map_err(|error| not_executable(program, &error.to_string()))? {
            0 => break,
            read => length += read,
        }
    }
    head.truncate(length);
    Ok(head)
}

fn source(program: &str, file: File, head: &[u8]) -> Result<Source, RuntimeError> {
    if file.stat().map_err(|error| not_executable(program, &error.to_string()))?.size > MAX_PROGRAM_BYTES {
        return Err(not_executable(program, &format!("file too large: programs may have {MAX_PROGRAM_BYTES} bytes")));
    }
    let encoding = encoding(head).map_err(|why| not_executable(program, &why))?;
    let content_id = file.content_id();
    Ok(Source { name: program.to_owned(), encoding, content: Content::File(file), content_id })
}

/// Tells a module from a component by the first bytes; otherwise says what the file is instead.
pub(super) fn encoding(bytes: &[u8]) -> Result<Encoding, String> {
    match bytes.get(..8) {
        Some(b"\0asm\x01\0\0\0") => return Ok(Encoding::Module),
        Some(b"\0asm\x0d\0\x01\0") => return Ok(Encoding::Component),
        Some([0, b'a', b's', b'm', version @ ..]) => {
            return Err(format!("exec format error: WebAssembly of an unknown version ({version:02x?})"));
        }
        _ => {}
    }
    let what = if bytes.starts_with(b"\x7fELF") {
        "a native Linux program, and this container runs WebAssembly; build it for wasm32-wasip2 or take an image with \
         WebAssembly programs"
            .to_owned()
    } else if bytes.starts_with(b"#!") {
        "a script that names no interpreter".to_owned()
    } else if bytes.starts_with(b"MZ") {
        "a Windows program, and this container runs WebAssembly".to_owned()
    } else if bytes.is_empty() {
        "an empty file".to_owned()
    } else if bytes.trim_ascii_start().starts_with(b"(module") || bytes.trim_ascii_start().starts_with(b"(component") {
        "WebAssembly in text form; convert it with `wasm-tools parse`".to_owned()
    } else if bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        "a text file".to_owned()
    } else {
        "not a WebAssembly program".to_owned()
    };
    Err(format!("exec format error: {what}"))
}

/// Links compiled code to what the host offers. The error's text is for the user.
pub(super) fn link(engine: &Engine, linkers: &Linkers, compiled: Compiled) -> wasmtime::Result<Program> {
    match compiled {
        Compiled::Module(module) => {
            let exports: Vec<&str> = module.exports().map(|export| export.name()).collect();
            if !exports.contains(&"_start") {
                wasmtime::bail!("{}", module_without_start(&exports));
            }
            if module.imports().any(|import| is_threads_import(import.module(), import.name())) {
                wasmtime::bail!("{THREADS_MESSAGE}");
            }
            let linked = linkers.core(engine)?.instantiate_pre(&module);
            linked.map(Program::Module).map_err(explain_import)
        }
        Compiled::Component(component) => link_component(engine, linkers, &component),
    }
}

const THREADS_MESSAGE: &str = "uses wasi-threads, which is not supported: build it for wasm32-wasip1 or wasm32-wasip2, \
                               without shared memory";

const ASYNC_MESSAGE: &str = "uses asynchronous components (WASI 0.3) in a way that this build of husk does not support";

fn is_threads_import(module: &str, name: &str) -> bool {
    module == "wasi" && name == "thread-spawn"
}

fn module_without_start(exports: &[&str]) -> String {
    let kind = if exports.contains(&"_initialize") { "a WASI library (reactor)" } else { "a library" };
    format!("{kind}, not a command: the module exports no `_start`; build it as a program with a `main`")
}

fn link_component(engine: &Engine, linkers: &Linkers, component: &Component) -> wasmtime::Result<Program> {
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let exports_of = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    let run = exports.iter().find_map(|name| name.strip_prefix(RUN_INTERFACE));
    let linker = linkers.component(engine)?;
    let link = || linker.instantiate_pre(component).map_err(explain_import);
    // Before commands: many toolchains make every program a command, and its `main` one that must not be called.
    #[cfg(feature = "wasi-p3")]
    if exports_of(HANDLER_INTERFACE) {
        let service = wasmtime_wasi_http::p3::bindings::ServicePre::new(link()?)?;
        return Ok(Program::Server(ProxyPre::P3(service)));
    }
    if exports_of(INCOMING_HANDLER_INTERFACE) {
        let proxy = wasmtime_wasi_http::p2::bindings::ProxyPre::new(link()?)?;
        return Ok(Program::Server(ProxyPre::P2(proxy)));
    }
    if exports_of(HANDLER_INTERFACE) {
        wasmtime::bail!("an HTTP handler for WASI 0.3, which this build of husk does not support");
    }
    match run {
        Some(version) if version.starts_with("0.2.") => return p2::CommandPre::new(link()?).map(Program::Command2),
        #[cfg(feature = "wasi-p3")]
        Some(version) if version.starts_with("0.3.") => {
            return wasmtime_wasi::p3::bindings::CommandPre::new(link()?).map(Program::Command3);
        }
        Some(version) => wasmtime::bail!("a command for WASI {version}, which this build of husk does not support"),
        None => {}
    }
    let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    wasmtime::bail!(
        "a component that is neither a command nor an HTTP handler: it should export wasi:cli/run, \
         wasi:http/incoming-handler or wasi:http/handler, and it exports {exports}"
    )
}

fn explain_import(error: wasmtime::Error) -> wasmtime::Error {
    error.context("it imports what husk does not offer")
}

/// The refusal of a program that was found but does not compile or link.
pub(super) fn refused(program: &str, error: &wasmtime::Error) -> RuntimeError {
    let detail = format!("{error:#}");
    if detail.contains("threads must be enabled") || detail.contains("shared memories") {
        return not_executable(program, THREADS_MESSAGE);
    }
    if detail.contains("component model async") {
        return not_executable(program, &format!("{ASYNC_MESSAGE}: {detail}"));
    }
    not_executable(program, &detail)
}

fn not_found(program: &str, detail: &str) -> RuntimeError {
    RuntimeError::ProgramNotFound { program: program.to_owned(), detail: detail.to_owned() }
}

/// The refusal of a file that is there but cannot be run.
pub(super) fn not_executable(program: &str, detail: &str) -> RuntimeError {
    RuntimeError::NotExecutable { program: program.to_owned(), detail: detail.to_owned() }
}
