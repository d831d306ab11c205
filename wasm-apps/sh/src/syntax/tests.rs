//! What is parsed, and what is refused.

use super::ast::{Binary, Command, Compound, Expression, List, Piece, RedirectKind};
use super::{Parser, SyntaxError, Text, parse_arithmetic};

fn parse(script: &str) -> Result<List, SyntaxError> {
    Parser::new(&mut Text::new(script.as_bytes().to_vec())).whole()
}

fn error(script: &str) -> String {
    match parse(script) {
        Ok(_) => panic!("{script:.100} is accepted"),
        Err(error) => error.to_string(),
    }
}

/// The first command's words, as far as they are plain.
fn words(script: &str) -> Vec<String> {
    let list = parse(script).unwrap();
    match &list.items[0].and_or.first.stages[0] {
        Command::Simple(simple) => simple.words.iter().map(|word| word.plain().unwrap_or("?").to_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn words_are_separated() {
    assert_eq!(words("echo a\\\nb 'c' d#e # f"), ["echo", "ab", "?", "d#e"]);
    assert_eq!(words("if_ then fi"), ["if_", "then", "fi"]);
}

#[test]
fn lines_are_given_one_by_one() {
    let mut source = Text::new(b"\n# nothing\necho a\nif true\nthen :\nfi; echo b &\n)\n".to_vec());
    let mut parser = Parser::new(&mut source);
    assert_eq!(parser.next_command().unwrap().unwrap().items.len(), 1);
    assert_eq!(parser.next_command().unwrap().unwrap().items.len(), 2);
    assert!(parser.next_command().is_err());
}

#[test]
fn errors_say_where_and_what() {
    assert_eq!(error("echo\nfi"), "line 2: syntax error: unexpected \"fi\"");
    assert_eq!(error("if true; fi"), "line 1: syntax error: unexpected \"fi\" (expecting \"then\")");
    assert_eq!(error("for x in a"), "line 1: syntax error: unexpected end of file (expecting \"do\")");
    assert_eq!(error("echo 'a\nb"), "line 2: syntax error: unterminated quoted string");
    assert_eq!(error("echo ${a.b}"), "line 1: syntax error: bad substitution");
    assert_eq!(error("echo >"), "line 1: syntax error: unexpected end of file (expecting \"word\")");
}

#[test]
fn what_nests_too_deep_is_refused() {
    for (open, close) in
        [("( ", ")"), ("{ ", ";}"), ("$(", ")"), ("\"$(", ")\""), ("${x-", "}"), ("if ", ""), ("! ", "")]
    {
        let script = format!("{}echo{}", open.repeat(5000), close.repeat(5000));
        // A `!` does not nest.
        assert!(open == "! " || error(&script).contains("levels deep"), "{open}");
    }
    assert!(parse_arithmetic("(".repeat(5000).as_bytes()).unwrap_err().contains("levels deep"));
    assert!(parse_arithmetic("-".repeat(5000).as_bytes()).unwrap_err().contains("levels deep"));
    assert!(parse_arithmetic(&b"1?".repeat(5000)).unwrap_err().contains("levels deep"));
}

#[test]
fn what_is_read_twice_takes_no_longer_than_twice() {
    let script = format!("{}echo;{}", "$((".repeat(90), "))".repeat(90));
    assert!(parse(&script).is_ok());
}

#[test]
fn here_documents_follow_their_line() {
    let list = parse("cat <<A <<-B; echo x\none\nA\n\ttwo\n\tB\necho y\n").unwrap();
    let Command::Simple(simple) = &list.items[0].and_or.first.stages[0] else { panic!("{list:?}") };
    let texts: Vec<_> = simple
        .redirects
        .iter()
        .map(|redirect| match &redirect.kind {
            RedirectKind::Here(text) => text.borrow().clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    for (text, expected) in texts.iter().zip(["one\n", "two\n"]) {
        let [Piece::Double(pieces)] = &text.0[..] else { panic!("{text:?}") };
        assert!(matches!(&pieces[..], [Piece::Literal(text)] if text == expected.as_bytes()), "{pieces:?}");
    }
    assert_eq!(list.items.len(), 3);
}

#[test]
fn two_parentheses_may_be_commands() {
    let first = |script| match &parse(script).unwrap().items[0].and_or.first.stages[0] {
        Command::Compound(compound, _) => matches!(**compound, Compound::Arithmetic(_)),
        other => panic!("{other:?}"),
    };
    assert!(first("((1 + 2))"));
    assert!(!first("((echo a); echo b)"));
    assert!(!first("((echo a) | cat)"));
}

#[test]
fn arithmetic_binds_as_in_c() {
    let number = |value| Box::new(Expression::Number(value));
    let product = Expression::Binary(Binary::Multiply, number(2), number(3));
    let sum = Expression::Binary(Binary::Add, number(1), Box::new(product));
    assert_eq!(parse_arithmetic(b" 1 + 2*3 "), Ok(sum));
    assert_eq!(parse_arithmetic(b"0x1f"), Ok(Expression::Number(31)));
    assert_eq!(parse_arithmetic(b""), Ok(Expression::Number(0)));
    for wrong in ["1 +", "1 2", "(1", "1 = 2", "08", "a b", "$"] {
        assert!(parse_arithmetic(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
