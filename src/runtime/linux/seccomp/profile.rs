//! Profiles from files, which are JSON as the OCI runtime specification has it (`linux.seccomp`), with Moby's `includes`
//! and `excludes` of capabilities.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bpf::{Answer, Comparison, Condition, Filter, Rule};
use super::names;

/// How many rules a profile may have.
const MAX_RULES: usize = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Syscalls>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscalls {
    #[serde(default)]
    names: Vec<String>,
    /// As older profiles have it.
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Conditions>,
    #[serde(default)]
    excludes: Option<Conditions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
struct Conditions {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

impl Syscalls {
    /// Whether it counts for a container with such capabilities on this machine.
    fn counts(&self, has_capability: &impl Fn(&str) -> bool) -> bool {
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let included = self.includes.as_ref().is_none_or(|conditions| {
            conditions.caps.iter().all(|name| has_capability(name))
                && (conditions.arches.is_empty() || conditions.arches.iter().any(|arch| arch == here))
        });
        let excluded = self.excludes.as_ref().is_some_and(|conditions| {
            conditions.caps.iter().any(|name| has_capability(name)) || conditions.arches.iter().any(|arch| arch == here)
        });
        included && !excluded
    }
}

fn answer(name: &str, errno: Option<u32>) -> Result<Answer, String> {
    let number = || {
        let number = errno.unwrap_or(libc::EPERM.cast_unsigned());
        u16::try_from(number).map_err(|_| format!("errnoRet {number} is too large"))
    };
    Ok(match name {
        "SCMP_ACT_ALLOW" => Answer::Allow,
        "SCMP_ACT_ERRNO" => Answer::Errno(number()?),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Answer::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Answer::KillProcess,
        "SCMP_ACT_LOG" => Answer::Log,
        "SCMP_ACT_TRAP" => Answer::Trap,
        "SCMP_ACT_TRACE" => Answer::Trace(number()?),
        other => return Err(format!("action {other:?} is not known")),
    })
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    let (comparison, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (Comparison::Ne, argument.value),
        "SCMP_CMP_LT" => (Comparison::Lt, argument.value),
        "SCMP_CMP_LE" => (Comparison::Le, argument.value),
        "SCMP_CMP_EQ" => (Comparison::Eq, argument.value),
        "SCMP_CMP_GE" => (Comparison::Ge, argument.value),
        "SCMP_CMP_GT" => (Comparison::Gt, argument.value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEq(argument.value), argument.value_two),
        other => return Err(format!("comparison {other:?} is not known")),
    };
    Ok(Condition::new(argument.index, comparison, value))
}

/// Reads a profile. Where several of its entries hold for a system call, the strictest answer counts, in the order the
/// kernel has for filters.
pub(super) fn parse(json: &[u8], has_capability: impl Fn(&str) -> bool) -> Result<Filter, String> {
    let profile: Profile = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let otherwise = answer(&profile.default_action, profile.default_errno_ret)?;
    let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
    let mut count = 0;
    for entry in profile.syscalls.iter().filter(|entry| entry.counts(&has_capability)) {
        let answer = answer(&entry.action, entry.errno_ret)?;
        let conditions = entry.args.iter().flatten().map(condition).collect::<Result<Vec<_>, _>>()?;
        // Calls that this machine does not have are of no consequence.
        for call in entry.names.iter().chain(&entry.name).filter_map(|name| names::number(name)) {
            count += 1;
            if count > MAX_RULES {
                return Err(format!("it has more than {MAX_RULES} rules"));
            }
            rules.entry(call).or_default().push(Rule::when(conditions.clone(), answer));
        }
    }
    for of_call in rules.values_mut() {
        of_call.sort_by_key(|rule| rule.answer);
    }
    Ok(Filter { rules, otherwise })
}
