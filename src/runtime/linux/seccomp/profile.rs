//! Profiles from files, which are JSON as the OCI runtime specification has it (`linux.seccomp`), with Moby's `includes`
//! and `excludes` of capabilities.

use std::collections::BTreeMap;

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use serde::Deserialize;

use super::Rules;
use super::names;

/// How many answers a profile may have: each is a filter, which costs every system call a little.
const MAX_ACTIONS: usize = 16;

/// A filter to compile.
pub(super) struct Filter {
    pub(super) rules: Rules,
    pub(super) matched: SeccompAction,
    pub(super) otherwise: SeccompAction,
}

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

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(libc::EPERM.cast_unsigned())),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno.unwrap_or(libc::EPERM.cast_unsigned())),
        other => return Err(format!("action {other:?} is not known")),
    })
}

fn condition(argument: &Argument) -> Result<SeccompCondition, String> {
    let (operator, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
        "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
        other => return Err(format!("comparison {other:?} is not known")),
    };
    SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, operator, value).map_err(|error| error.to_string())
}

/// Which calls have an answer: always, or if any of these rules holds.
#[derive(Default)]
struct Matches(BTreeMap<i64, Option<Vec<SeccompRule>>>);

impl Matches {
    /// Adds a rule; without one, the call always matches.
    fn add(&mut self, call: i64, rule: Option<SeccompRule>) {
        let rules = self.0.entry(call).or_insert_with(|| Some(Vec::new()));
        match rule {
            Some(rule) => rules.iter_mut().for_each(|rules| rules.push(rule.clone())),
            None => *rules = None,
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (call, rules) in &other.0 {
            match rules {
                Some(rules) => rules.iter().for_each(|rule| self.add(*call, Some(rule.clone()))),
                None => self.add(*call, None),
            }
        }
    }

    fn into_rules(self) -> Rules {
        self.0.into_iter().map(|(call, rules)| (call, rules.unwrap_or_default())).collect()
    }
}

/// Reads a profile: one filter that lets through all it names and answers the rest, and one more for each other answer.
pub(super) fn parse(json: &[u8], has_capability: impl Fn(&str) -> bool) -> Result<Vec<Filter>, String> {
    let profile: Profile = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let otherwise = action(&profile.default_action, profile.default_errno_ret)?;
    let mut answers: Vec<(SeccompAction, Matches)> = Vec::new();
    for entry in profile.syscalls.iter().filter(|entry| entry.counts(&has_capability)) {
        let answer = action(&entry.action, entry.errno_ret)?;
        let conditions = entry.args.iter().flatten().map(condition).collect::<Result<Vec<_>, _>>()?;
        let rule = if conditions.is_empty() { None } else { Some(SeccompRule::new(conditions)) };
        let rule = rule.transpose().map_err(|error| error.to_string())?;
        let index = answers.iter().position(|(other, _)| *other == answer).unwrap_or_else(|| {
            answers.push((answer, Matches::default()));
            answers.len() - 1
        });
        // Calls that this machine does not have are of no consequence.
        for call in entry.names.iter().chain(&entry.name).filter_map(|name| names::number(name)) {
            answers[index].1.add(call, rule.clone());
        }
    }
    if answers.len() > MAX_ACTIONS {
        return Err(format!("it has {} different actions, more than {MAX_ACTIONS}", answers.len()));
    }
    let mut named = Matches::default();
    for (_, matches) in answers.iter().filter(|(answer, _)| *answer != otherwise) {
        named.add_all(matches);
    }
    let mut filters = Vec::new();
    if otherwise != SeccompAction::Allow {
        filters.push(Filter { rules: named.into_rules(), matched: SeccompAction::Allow, otherwise: otherwise.clone() });
    }
    for (answer, matches) in answers {
        if answer != SeccompAction::Allow && answer != otherwise {
            filters.push(Filter { rules: matches.into_rules(), matched: answer, otherwise: SeccompAction::Allow });
        }
    }
    Ok(filters)
}
