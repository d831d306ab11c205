//! Filters of system calls: the runtime's own profile, and profiles from files.

mod bpf;
mod names;
mod profile;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use self::bpf::{Answer, BpfError, Comparison, Condition, Filter, Rule};
use super::capability::Capabilities;
use super::sys::FilterInstruction;
use crate::runtime::{RuntimeError, SeccompProfile};

/// Namespaces that `clone` makes: a container makes none, unless it may administer the system anyway. (`CLONE_NEWTIME` is
/// no flag of `clone`'s.)
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// The flavours of Linux that programs may ask for: the usual one, and others that differ in harmless ways.
const PERSONALITIES: [u32; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `AF_VSOCK`, which leads out of a virtual machine past every namespace.
const VSOCK: u32 = 40;

/// `AF_NETLINK` and `NETLINK_AUDIT`: the system's audit, which programs take for missing if told that this is invalid.
const NETLINK: u32 = 16;
const NETLINK_AUDIT: u32 = 9;
const INVALID: Answer = Answer::Errno(22);

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
enum SeccompError {
    #[error("cannot make the seccomp filter: {0}")]
    Compile(#[from] BpfError),
    #[error("seccomp profile {path:?}: {problem}")]
    Profile { path: std::path::PathBuf, problem: String },
}

/// The filter of a container, ready to be passed on, unless it has none.
pub(super) fn filter(profile: &SeccompProfile, capabilities: Capabilities) -> Result<Option<Arc<str>>, RuntimeError> {
    let failed = |error: SeccompError| RuntimeError::Failed(error.to_string());
    match profile {
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::RuntimeDefault => runtime_default(capabilities).map(Some).map_err(failed),
        SeccompProfile::Localhost(path) => localhost(path, capabilities).map(Some).map_err(failed),
    }
}

/// The runtime's own profile, which is compiled once for each set of capabilities.
fn runtime_default(capabilities: Capabilities) -> Result<Arc<str>, SeccompError> {
    static MADE: LazyLock<Mutex<HashMap<u64, Arc<str>>>> = LazyLock::new(Mutex::default);
    /// Sets of capabilities that are remembered.
    const MAX_MADE: usize = 64;
    if let Some(made) = MADE.lock().unwrap_or_else(PoisonError::into_inner).get(&capabilities.0) {
        return Ok(Arc::clone(made));
    }
    let made: Arc<str> = encode(&bpf::compile(&default_filter(capabilities))?).into();
    let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= MAX_MADE {
        all.clear();
    }
    all.insert(capabilities.0, Arc::clone(&made));
    Ok(made)
}

/// What is not allowed is forbidden if it was known when the table was made. What is newer is unknown here, so that
/// programs fall back on what they did before there was such a call.
fn default_filter(capabilities: Capabilities) -> Filter {
    let has = |name: &str| capabilities.has(name);
    let mut rules: BTreeMap<u32, Vec<Rule>> =
        names::established().map(|call| (call, vec![Rule::always(Answer::EPERM)])).collect();
    rules.extend(table::allowed(has).map(|call| (call, vec![Rule::always(Answer::Allow)])));
    let mut set = |name: &str, of_call: Vec<Rule>| {
        if let Some(number) = names::number(name) {
            rules.insert(number, of_call);
        }
    };
    let allowed = PERSONALITIES.map(|value| Rule::when(vec![Condition::is(0, value)], Answer::Allow));
    set("personality", allowed.into_iter().chain([Rule::always(Answer::EPERM)]).collect());
    let mut socket = vec![Rule::when(vec![Condition::is(0, VSOCK)], Answer::EPERM)];
    if !has("AUDIT_WRITE") {
        socket.push(Rule::when(vec![Condition::is(0, NETLINK), Condition::is(2, NETLINK_AUDIT)], INVALID));
    }
    socket.push(Rule::always(Answer::Allow));
    set("socket", socket);
    if !has("SYS_ADMIN") {
        let no_namespaces = Condition::new(0, Comparison::MaskedEq(CLONE_NAMESPACES), 0);
        set("clone", vec![Rule::when(vec![no_namespaces], Answer::Allow), Rule::always(Answer::EPERM)]);
        // Its arguments are in memory, where no filter looks. Told that it is unknown, programs fall back on the older call.
        set("clone3", vec![Rule::always(Answer::ENOSYS)]);
    }
    Filter { rules, otherwise: Answer::ENOSYS }
}

/// A profile from a file of the host.
fn localhost(path: &Path, capabilities: Capabilities) -> Result<Arc<str>, SeccompError> {
    /// How large such a file may be.
    const MAX_BYTES: u64 = 4 * 1024 * 1024;
    let wrong = |problem: String| SeccompError::Profile { path: path.to_owned(), problem };
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::open(path)?, MAX_BYTES), &mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| wrong(error.to_string()))?;
    let filter = profile::parse(&bytes, |name| capabilities.has(name)).map_err(wrong)?;
    let program = bpf::compile(&filter).map_err(|error| wrong(error.to_string()))?;
    Ok(encode(&program).into())
}

/// Hexadecimal digits of a program's instructions.
fn encode(program: &[FilterInstruction]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(program.len() * 16);
    for byte in program.iter().flatten() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
