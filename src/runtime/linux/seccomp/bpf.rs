//! From rules about system calls to a program of BPF, which the kernel runs at every system call.
//!
//! ```text
//!  another kind of machine? kill ─▶ number below …? ─┬─▶ … ─▶ answer            most calls: a few comparisons
//!                                                    └─▶ … ─▶ arguments ─▶ answer
//! ```
//! The numbers are looked up by halving, not one after the other: the kernel tries a filter with every number it knows
//! when it is installed, which every start of a container waits for.

use std::collections::BTreeMap;

use super::super::sys::FilterInstruction;

/// How many comparisons one rule may make: jumps within a rule are short.
const MAX_CONDITIONS: usize = 24;

/// How many instructions the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// Numbers of system calls from here on are those of another way to call the kernel (x32), and mean something else.
#[cfg(target_arch = "x86_64")]
const FOREIGN_NUMBERS: Option<u32> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const FOREIGN_NUMBERS: Option<u32> = None;

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    KillProcess,
    KillThread,
    Trap,
    Errno(u16),
    Trace(u16),
    Log,
    Allow,
}

impl Answer {
    /// Does not do it, as if that were not allowed.
    pub(super) const EPERM: Self = Self::Errno(1);
    /// Does not know it.
    pub(super) const ENOSYS: Self = Self::Errno(38);

    fn code(self) -> u32 {
        match self {
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
            Self::Trace(number) => libc::SECCOMP_RET_TRACE | u32::from(number),
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }
}

/// How an argument is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// Equal in these bits.
    MaskedEq(u64),
}

/// Something about an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which one, from 0 to 5.
    pub(super) argument: u8,
    pub(super) comparison: Comparison,
    pub(super) value: u64,
}

impl Condition {
    pub(super) fn new(argument: u8, comparison: Comparison, value: u64) -> Self {
        Self { argument, comparison, value }
    }

    /// Equal in the lower half, which is all that the kernel looks at where it takes an `int`.
    pub(super) fn is(argument: u8, value: u32) -> Self {
        Self::new(argument, Comparison::MaskedEq(u64::from(u32::MAX)), u64::from(value))
    }
}

/// An answer, if all the conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: Answer,
}

impl Rule {
    pub(super) fn always(answer: Answer) -> Self {
        Self { conditions: Vec::new(), answer }
    }

    pub(super) fn when(conditions: Vec<Condition>, answer: Answer) -> Self {
        Self { conditions, answer }
    }
}

/// What is answered to each system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// By number; the first rule that holds counts.
    pub(super) rules: BTreeMap<u32, Vec<Rule>>,
    /// Where no rule does.
    pub(super) otherwise: Answer,
}

/// Why a filter cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BpfError {
    #[error("this kind of machine ({0}) has no seccomp filters that husk knows")]
    Machine(&'static str),
    #[error("a rule has more than {MAX_CONDITIONS} conditions")]
    Conditions,
    #[error("there is no argument {0} of a system call")]
    Argument(u8),
    #[error("the filter is too long: {0} instructions")]
    TooLong(usize),
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQ: u16 = 0x15;
const JUMP_GT: u16 = 0x25;
const JUMP_GE: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where the kernel has the system call's number and the kind of machine (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// One instruction; `yes` and `no` say how many of the next ones to pass over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    value: u32,
}

/// Stands for the end of the rule while that is not known.
const FAIL: u8 = u8::MAX;

fn plain(code: u16, value: u32) -> Instruction {
    Instruction { code, yes: 0, no: 0, value }
}

fn jump(code: u16, value: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code, yes, no, value }
}

/// The program for a filter.
pub(super) fn compile(filter: &Filter) -> Result<Vec<FilterInstruction>, BpfError> {
    let architecture = architecture().ok_or(BpfError::Machine(std::env::consts::ARCH))?;
    let mut program = vec![
        plain(LOAD, ARCHITECTURE),
        jump(JUMP_EQ, architecture, 1, 0),
        plain(RETURN, Answer::KillProcess.code()),
        plain(LOAD, NUMBER),
    ];
    if let Some(first) = FOREIGN_NUMBERS {
        program.extend([jump(JUMP_GE, first, 0, 1), plain(RETURN, Answer::ENOSYS.code())]);
    }
    program.extend(search(&intervals(filter)?));
    if program.len() > MAX_INSTRUCTIONS {
        return Err(BpfError::TooLong(program.len()));
    }
    Ok(program.iter().map(encode).collect())
}

/// The number by which the kernel knows this kind of machine (`AUDIT_ARCH_*`).
fn architecture() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Some(0xc000_003e),
        "aarch64" => Some(0xc000_00b7),
        "riscv64" => Some(0xc000_00f3),
        _ => None,
    }
}

/// From which number on which code answers. Neighbours with the same are one.
fn intervals(filter: &Filter) -> Result<Vec<(u32, Vec<Instruction>)>, BpfError> {
    let otherwise = vec![plain(RETURN, filter.otherwise.code())];
    let mut intervals = vec![(0, otherwise.clone())];
    let mut next = 0;
    for (number, rules) in &filter.rules {
        let mut add = |from: u32, code: Vec<Instruction>| {
            if intervals.last().is_some_and(|(first, _)| *first == from) {
                intervals.pop();
            }
            if intervals.last().is_none_or(|(_, last)| *last != code) {
                intervals.push((from, code));
            }
        };
        if *number > next {
            add(next, otherwise.clone());
        }
        add(*number, body(rules, filter.otherwise)?);
        next = number.saturating_add(1);
    }
    intervals.push((next, otherwise));
    Ok(intervals)
}

/// Finds a number's interval by halving.
fn search(intervals: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    let half = intervals.len() / 2;
    let (lower, upper) = intervals.split_at(half);
    let Some((first, code)) = upper.first() else { return Vec::new() };
    if lower.is_empty() {
        return code.clone();
    }
    let (below, above) = (search(lower), search(upper));
    let mut program = match u8::try_from(below.len()) {
        Ok(length) => vec![jump(JUMP_GE, *first, length, 0)],
        Err(_far) => {
            let length = u32::try_from(below.len()).unwrap_or(u32::MAX);
            vec![jump(JUMP_GE, *first, 0, 1), plain(JUMP, length)]
        }
    };
    program.extend(below);
    program.extend(above);
    program
}

/// What answers one system call.
fn body(rules: &[Rule], otherwise: Answer) -> Result<Vec<Instruction>, BpfError> {
    let mut program = Vec::new();
    for rule in rules {
        if rule.conditions.len() > MAX_CONDITIONS {
            return Err(BpfError::Conditions);
        }
        let mut part = Vec::new();
        for condition in &rule.conditions {
            part.extend(test(condition)?);
        }
        part.push(plain(RETURN, rule.answer.code()));
        let length = part.len();
        for (index, instruction) in part.iter_mut().enumerate() {
            let to_end = u8::try_from(length - index - 1).map_err(|_| BpfError::Conditions)?;
            for target in [&mut instruction.yes, &mut instruction.no] {
                if *target == FAIL {
                    *target = to_end;
                }
            }
        }
        program.extend(part);
        if rule.conditions.is_empty() {
            return Ok(program);
        }
    }
    program.push(plain(RETURN, otherwise.code()));
    Ok(program)
}

/// Goes on if the condition holds. Arguments have 64 bits and are compared by halves.
fn test(condition: &Condition) -> Result<Vec<Instruction>, BpfError> {
    let Condition { argument, comparison, value } = *condition;
    if argument > 5 {
        return Err(BpfError::Argument(argument));
    }
    let at = 16 + 8 * u32::from(argument);
    let (at_low, at_high) = if cfg!(target_endian = "little") { (at, at + 4) } else { (at + 4, at) };
    let halves = |value: u64| ((value >> 32) as u32, (value & u64::from(u32::MAX)) as u32);
    let (high, low) = halves(value);
    let (load_high, load_low) = (plain(LOAD, at_high), plain(LOAD, at_low));
    Ok(match comparison {
        Comparison::Eq => {
            vec![load_high, jump(JUMP_EQ, high, 0, FAIL), load_low, jump(JUMP_EQ, low, 0, FAIL)]
        }
        Comparison::Ne => vec![load_high, jump(JUMP_EQ, high, 0, 2), load_low, jump(JUMP_EQ, low, FAIL, 0)],
        Comparison::Ge | Comparison::Gt => {
            let last = if comparison == Comparison::Ge { JUMP_GE } else { JUMP_GT };
            let decided = [load_high, jump(JUMP_GT, high, 3, 0), jump(JUMP_EQ, high, 0, FAIL)];
            decided.into_iter().chain([load_low, jump(last, low, 0, FAIL)]).collect()
        }
        Comparison::Lt | Comparison::Le => {
            let last = if comparison == Comparison::Lt { JUMP_GE } else { JUMP_GT };
            let decided = [load_high, jump(JUMP_GT, high, FAIL, 0), jump(JUMP_EQ, high, 0, 2)];
            decided.into_iter().chain([load_low, jump(last, low, FAIL, 0)]).collect()
        }
        Comparison::MaskedEq(mask) => {
            let (mask_high, mask_low) = halves(mask);
            let mut program = Vec::new();
            // A value with bits outside of the mask is never equal, as it is for the kernel's other users.
            for (load, mask, value) in [(load_high, mask_high, high), (load_low, mask_low, low)] {
                if mask != 0 || value != 0 {
                    program.extend([load, plain(AND, mask), jump(JUMP_EQ, value, 0, FAIL)]);
                }
            }
            program
        }
    })
}

fn encode(instruction: &Instruction) -> FilterInstruction {
    let [c0, c1] = instruction.code.to_ne_bytes();
    let [k0, k1, k2, k3] = instruction.value.to_ne_bytes();
    [c0, c1, instruction.yes, instruction.no, k0, k1, k2, k3]
}

#[cfg(test)]
mod tests;
