//! Programs are run as the kernel would, and must answer as the rules say.

use proptest::prelude::*;

use super::*;

/// What a program answers to a system call.
fn answer(program: &[FilterInstruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let word = |at: u32| match at {
        NUMBER => number,
        ARCHITECTURE => architecture,
        at => {
            let argument = arguments[(at as usize - 16) / 8];
            if (at % 8 == 0) == cfg!(target_endian = "little") { argument as u32 } else { (argument >> 32) as u32 }
        }
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let [c0, c1, yes, no, k0, k1, k2, k3] = program[at];
        let value = u32::from_ne_bytes([k0, k1, k2, k3]);
        at += 1;
        let mut branch = |holds: bool| at += usize::from(if holds { yes } else { no });
        match u16::from_ne_bytes([c0, c1]) {
            LOAD => accumulator = word(value),
            AND => accumulator &= value,
            JUMP => at += value as usize,
            JUMP_EQ => branch(accumulator == value),
            JUMP_GT => branch(accumulator > value),
            JUMP_GE => branch(accumulator >= value),
            RETURN => return value,
            other => panic!("{other:#x}"),
        }
    }
}

fn holds(condition: &Condition, arguments: [u64; 6]) -> bool {
    let (argument, value) = (arguments[usize::from(condition.argument)], condition.value);
    match condition.comparison {
        Comparison::Ne => argument != value,
        Comparison::Lt => argument < value,
        Comparison::Le => argument <= value,
        Comparison::Eq => argument == value,
        Comparison::Ge => argument >= value,
        Comparison::Gt => argument > value,
        Comparison::MaskedEq(mask) => argument & mask == value,
    }
}

fn expected(filter: &Filter, number: u32, arguments: [u64; 6]) -> Answer {
    let rules = filter.rules.get(&number).into_iter().flatten();
    let mut matching = rules.filter(|rule| rule.conditions.iter().all(|condition| holds(condition, arguments)));
    matching.next().map_or(filter.otherwise, |rule| rule.answer)
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![Just(Answer::Allow), Just(Answer::EPERM), Just(Answer::Log), Just(Answer::KillThread)]
}

/// Values that differ in one half or the other, or not at all.
fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..3_u64,
        (0..3_u64).prop_map(|value| value << 32),
        Just(u64::MAX),
        Just(1 << 32 | 1),
        Just(2 << 32 | 1)
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::Ne),
        Just(Comparison::Lt),
        Just(Comparison::Le),
        Just(Comparison::Eq),
        Just(Comparison::Ge),
        Just(Comparison::Gt),
        any_value().prop_map(Comparison::MaskedEq),
    ];
    (0..6_u8, comparison, any_value())
        .prop_map(|(argument, comparison, value)| Condition::new(argument, comparison, value))
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let rule = (prop::collection::vec(any_condition(), 0..4), any_answer())
        .prop_map(|(conditions, answer)| Rule::when(conditions, answer));
    let rules = prop::collection::btree_map(0..40_u32, prop::collection::vec(rule, 0..4), 0..30);
    (rules, any_answer()).prop_map(|(rules, otherwise)| Filter { rules, otherwise })
}

proptest! {
    #[test]
    fn programs_answer_as_the_rules_say(
        filter in any_filter(),
        calls in prop::collection::vec((0..45_u32, prop::array::uniform6(any_value())), 1..60),
    ) {
        let program = compile(&filter).unwrap();
        let here = architecture().unwrap();
        for (number, arguments) in calls {
            let said = answer(&program, here, number, arguments);
            prop_assert_eq!(said, expected(&filter, number, arguments).code(), "{} {:?}", number, arguments);
        }
    }
}

#[test]
fn other_machines_and_other_ways_to_call_get_nowhere() {
    let filter = Filter { rules: BTreeMap::new(), otherwise: Answer::Allow };
    let program = compile(&filter).unwrap();
    assert_eq!(answer(&program, architecture().unwrap(), 1, [0; 6]), Answer::Allow.code());
    // The 32-bit x86, whose numbers mean something else.
    assert_eq!(answer(&program, 0x4000_0003, 1, [0; 6]), Answer::KillProcess.code());
    if let Some(foreign) = FOREIGN_NUMBERS {
        assert_eq!(answer(&program, architecture().unwrap(), foreign + 83, [0; 6]), Answer::ENOSYS.code());
    }
}

#[test]
fn what_cannot_be_compiled_is_told() {
    let with = |conditions: Vec<Condition>| Filter {
        rules: BTreeMap::from([(1, vec![Rule::when(conditions, Answer::Allow)])]),
        otherwise: Answer::EPERM,
    };
    let condition = Condition::new(6, Comparison::Eq, 0);
    assert_eq!(compile(&with(vec![condition])), Err(BpfError::Argument(6)));
    assert_eq!(compile(&with(vec![Condition::is(0, 0); 25])), Err(BpfError::Conditions));
    let many = (0..3000).map(|number| (number * 2, vec![Rule::always(Answer::Allow)])).collect();
    assert!(matches!(compile(&Filter { rules: many, otherwise: Answer::EPERM }), Err(BpfError::TooLong(_))));
}
