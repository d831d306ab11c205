//! What a program may do: its user and groups, capabilities, filters of system calls, limits. Each step gives something
//! up that the next ones can do without.

use std::io;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::super::protocol::{Context, Failure, PrivilegesSpec};
use super::super::sys::{self, FilterInstruction};
use super::identity::Identity;

/// How many files a container may have open, where the system allows as many.
const OPEN_FILES: u64 = 1_048_576;

/// Files a container may have open; other limits are those of the agent. No limit is raised above its hard one, which
/// only some may.
pub(super) fn set_resource_limits() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let wanted = hard.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: Some(wanted) });
}

/// Becomes the container's user, with the rights it is to have and, if it needs that, the one to filter its system calls.
pub(super) fn assume(identity: &Identity, spec: &PrivilegesSpec) -> Result<(), Failure> {
    let wanted = wanted(spec);
    bound_capabilities(wanted)?;
    if spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true).context(|| "cannot forbid new privileges")?;
    }
    rustix::thread::set_keep_capabilities(true).context(|| "cannot keep capabilities for a moment")?;
    become_user(identity)?;
    // A container does not outlive its sandbox; the change of user has cleared this.
    set_parent_process_death_signal(Some(Signal::KILL)).context(|| "cannot tie the container to its sandbox")?;
    let to_filter = if spec.no_new_privileges { CapabilitySet::empty() } else { CapabilitySet::SYS_ADMIN };
    set_capabilities(wanted | to_filter)
}

/// The last: the filter of system calls, and no right beyond what the program is to have.
pub(super) fn confine(spec: &PrivilegesSpec) -> Result<(), Failure> {
    if let Some(filter) = &spec.seccomp {
        let filter = decode(filter)?;
        sys::filter_system_calls(&filter).context(|| "cannot install the seccomp filter")?;
    }
    set_capabilities(wanted(spec))
}

fn wanted(spec: &PrivilegesSpec) -> CapabilitySet {
    CapabilitySet::from_bits_truncate(spec.capabilities)
}

/// Takes capabilities out of what any program that is executed can have.
pub(super) fn bound_capabilities(wanted: CapabilitySet) -> Result<(), Failure> {
    let _ = rustix::thread::clear_ambient_capability_set();
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if wanted.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no more.
            Err(rustix::io::Errno::INVAL) => break,
            error => return error.context(|| "cannot give capabilities up"),
        }
    }
    Ok(())
}

fn become_user(identity: &Identity) -> Result<(), Failure> {
    let (user, group) = (identity.user(), identity.group());
    let groups: Vec<_> = identity.groups.iter().map(|group| rustix::process::Gid::from_raw(*group)).collect();
    if identity.may_set_groups {
        rustix::thread::set_thread_groups(&groups).context(|| "cannot set the container's groups")?;
    }
    let what = || format!("cannot become user {} and group {}", user.as_raw(), group.as_raw());
    rustix::thread::set_thread_res_gid(group, group, group).context(what)?;
    rustix::thread::set_thread_res_uid(user, user, user).context(what)
}

/// Has these of the capabilities that can be had, and passes none on to programs by inheritance.
fn set_capabilities(wanted: CapabilitySet) -> Result<(), Failure> {
    let what = || "cannot set capabilities";
    let permitted = rustix::thread::capabilities(None).context(what)?.permitted.intersection(wanted);
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).context(what)
}

fn decode(filter: &str) -> Result<Vec<FilterInstruction>, Failure> {
    let bytes = filter.as_bytes().chunks(16).map(|digits| {
        let mut instruction = FilterInstruction::default();
        for (byte, pair) in instruction.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(io::Error::other)?;
            *byte = u8::from_str_radix(pair, 16).map_err(io::Error::other)?;
        }
        Ok(instruction)
    });
    bytes.collect::<io::Result<_>>().context(|| "the seccomp filter is garbled")
}
