//! Filters of system calls: the runtime's own profile, and profiles from files.
//!
//! Programs of BPF come from `seccompiler`; each filter there has one answer for what it matches and one for the rest, so
//! that a profile with more answers is several filters. The kernel asks all of them, and the strictest answer counts.

mod names;
mod profile;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::capability::Capabilities;
use crate::runtime::{RuntimeError, SeccompProfile};

/// Namespaces that `clone` makes: a container makes none, unless it may administer the system anyway. (`CLONE_NEWTIME` is
/// no flag of `clone`'s.)
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// The flavours of Linux that programs may ask for: the usual one, and others that differ in harmless ways.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `AF_VSOCK`, which leads out of a virtual machine past every namespace.
const VSOCK: u64 = 40;

/// Which calls a filter matches: by number, any of these rules; none is always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
enum SeccompError {
    #[error("cannot make the seccomp filter: {0}")]
    Compile(#[from] seccompiler::BackendError),
    #[error("this kind of machine has no seccomp filters: {0:?}")]
    Machine(&'static str),
    #[error("seccomp profile {path:?}: {problem}")]
    Profile { path: std::path::PathBuf, problem: String },
}

/// The filters of a container, ready to be passed on.
pub(super) fn filters(profile: &SeccompProfile, capabilities: Capabilities) -> Result<Arc<[String]>, RuntimeError> {
    let failed = |error: SeccompError| RuntimeError::Failed(error.to_string());
    match profile {
        SeccompProfile::Unconfined => Ok(Arc::default()),
        SeccompProfile::RuntimeDefault => runtime_default(capabilities).map_err(failed),
        SeccompProfile::Localhost(path) => localhost(path, capabilities).map_err(failed),
    }
}

/// The runtime's own profile, which is made once for each set of capabilities.
fn runtime_default(capabilities: Capabilities) -> Result<Arc<[String]>, SeccompError> {
    static MADE: LazyLock<Mutex<HashMap<u64, Arc<[String]>>>> = LazyLock::new(Mutex::default);
    /// Sets of capabilities that are remembered.
    const MAX_MADE: usize = 64;
    if let Some(made) = MADE.lock().unwrap_or_else(PoisonError::into_inner).get(&capabilities.0) {
        return Ok(Arc::clone(made));
    }
    let made = compile_default(capabilities)?;
    let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= MAX_MADE {
        all.clear();
    }
    all.insert(capabilities.0, Arc::clone(&made));
    Ok(made)
}

fn compile_default(capabilities: Capabilities) -> Result<Arc<[String]>, SeccompError> {
    let has = |name: &str| capabilities.has(name);
    let mut rules: Rules = table::allowed(has).map(|call| (call, Vec::new())).collect();
    let personalities = PERSONALITIES.map(|value| condition(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value));
    let personalities = personalities.into_iter().map(|one| one.and_then(|one| SeccompRule::new(vec![one])));
    rules.insert(libc::SYS_personality, personalities.collect::<Result<_, _>>()?);
    let no_vsock = condition(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, VSOCK)?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![no_vsock])?]);
    let eperm = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    if has("SYS_ADMIN") {
        return Ok([encode(&compile(rules, eperm, SeccompAction::Allow)?)].into());
    }
    let no_namespaces = condition(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(CLONE_NAMESPACES), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_namespaces])?]);
    // Its arguments are in memory, where no filter looks. Told that it is unknown, programs fall back on the older call.
    rules.insert(libc::SYS_clone3, Vec::new());
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let enosys = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let filters = [compile(rules, eperm, SeccompAction::Allow)?, compile(clone3, SeccompAction::Allow, enosys)?];
    Ok(filters.iter().map(encode).collect())
}

/// A profile from a file of the host.
fn localhost(path: &Path, capabilities: Capabilities) -> Result<Arc<[String]>, SeccompError> {
    /// How large such a file may be.
    const MAX_BYTES: u64 = 4 * 1024 * 1024;
    let wrong = |problem: String| SeccompError::Profile { path: path.to_owned(), problem };
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::open(path)?, MAX_BYTES), &mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| wrong(error.to_string()))?;
    let filters = profile::parse(&bytes, |name| capabilities.has(name)).map_err(wrong)?;
    let compiled = filters.into_iter().map(|filter| compile(filter.rules, filter.otherwise, filter.matched));
    compiled.map(|filter| filter.map(|filter| encode(&filter))).collect()
}

fn condition(
    index: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, length, operator, value)
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, SeccompError> {
    let machine = std::env::consts::ARCH;
    let target = TargetArch::try_from(machine).map_err(|_| SeccompError::Machine(machine))?;
    Ok(SeccompFilter::new(rules, otherwise, matched, target)?.try_into()?)
}

/// Hexadecimal digits of a program's instructions.
fn encode(program: &BpfProgram) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(program.len() * 16);
    for instruction in program {
        let [c0, c1] = instruction.code.to_ne_bytes();
        let [k0, k1, k2, k3] = instruction.k.to_ne_bytes();
        for byte in [c0, c1, instruction.jt, instruction.jf, k0, k1, k2, k3] {
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}
