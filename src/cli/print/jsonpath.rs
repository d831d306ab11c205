//! JSONPath templates as kubectl has them: text with `{.paths[*]}`, filters, `{range}` and literals in it.

use std::cmp::Ordering;

use serde_json::Value;

/// Steps a template may have, and how deeply ranges may be nested: it is typed by a person.
const MAX_DEPTH: usize = 16;

/// A template that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Part>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `$`: the whole object, also within a range.
    Root,
    Key(String),
    /// `*`
    All,
    /// `..`
    Descend,
    /// `[1:3]`, `[-1]`: from, to (exclusive), step.
    Slice(Option<i64>, Option<i64>, usize),
    /// `[0,2]`, `['a','b']`
    Union(Vec<Step>),
    /// `[?(@.a=="b")]`
    Filter(Vec<Step>, Option<(Comparison, Operand)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Value(Value),
    Path(Vec<Step>),
}

/// A path with braces around it and a dot before it, whether it had them or not.
pub fn braced(path: &str) -> String {
    let inner = path.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(path);
    if inner.starts_with(['.', '[', '$', '@']) { format!("{{{inner}}}") } else { format!("{{.{inner}}}") }
}

/// A value as a template prints it.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// Which of two values comes first: numbers by size, text as people order it (`a2` before `a10`), nothing before all.
pub fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => {
            one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(one), Some(other)) => natural(&text(one), &text(other)),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

fn natural(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (n, m) = (digits(one), digits(other));
        if n > 0 && m > 0 {
            let number = |text: &str| text.trim_start_matches('0').to_owned();
            let (a, b) = (number(&one[..n]), number(&other[..m]));
            let order = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
            if order.is_ne() {
                return order;
            }
            (one, other) = (&one[n..], &other[m..]);
            continue;
        }
        match (one.chars().next(), other.chars().next()) {
            (Some(a), Some(b)) if a == b => (one, other) = (&one[a.len_utf8()..], &other[b.len_utf8()..]),
            (a, b) => return a.cmp(&b),
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let parts = parser.parts(0)?;
        Ok(Self(parts))
    }

    /// What it prints for an object.
    pub fn render(&self, object: &Value) -> String {
        let mut out = String::new();
        render(&self.0, object, object, &mut out);
        out
    }

    /// The values of its paths.
    pub fn values<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let paths = self.0.iter().filter_map(|part| match part {
            Part::Path(steps) => Some(walk(steps, object, object)),
            Part::Text(_) | Part::Range(..) => None,
        });
        paths.flatten().collect()
    }
}

fn render(parts: &[Part], root: &Value, current: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(literal) => out.push_str(literal),
            Part::Path(steps) => {
                let found: Vec<String> = walk(steps, root, current).into_iter().map(text).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(steps, body) => {
                // A range over a list goes over its elements.
                for value in walk(steps, root, current) {
                    match value {
                        Value::Array(items) => items.iter().for_each(|item| render(body, root, item, out)),
                        value => render(body, root, value, out),
                    }
                }
            }
        }
    }
}

fn walk<'a>(steps: &[Step], root: &'a Value, current: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![current];
    for step in steps {
        found = found.into_iter().flat_map(|value| take(step, root, value)).collect();
    }
    found
}

fn take<'a>(step: &Step, root: &'a Value, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Root => vec![root],
        Step::Key(key) => value.get(key).into_iter().collect(),
        Step::All => children(value),
        Step::Descend => {
            let mut all = vec![value];
            let mut next = 0;
            while next < all.len() {
                all.extend(children(all[next]));
                next += 1;
            }
            all
        }
        Step::Slice(from, to, every) => slice(value, *from, *to, *every),
        Step::Union(steps) => steps.iter().flat_map(|step| take(step, root, value)).collect(),
        Step::Filter(path, test) => {
            children(value).into_iter().filter(|item| passes(path, test.as_ref(), root, item)).collect()
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn slice(value: &Value, from: Option<i64>, to: Option<i64>, every: usize) -> Vec<&Value> {
    let Value::Array(items) = value else { return Vec::new() };
    let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = |index: i64| usize::try_from(if index < 0 { index + len } else { index }.clamp(0, len)).unwrap_or(0);
    let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(len)));
    items.get(from..to.max(from)).unwrap_or_default().iter().step_by(every).collect()
}

fn passes(path: &[Step], test: Option<&(Comparison, Operand)>, root: &Value, item: &Value) -> bool {
    let found = walk(path, root, item);
    let Some((comparison, operand)) = test else { return !found.is_empty() };
    let wanted = match operand {
        Operand::Value(value) => Some(value),
        Operand::Path(path) => walk(path, root, item).first().copied(),
    };
    let (Some(found), Some(wanted)) = (found.first(), wanted) else { return false };
    let order = match (found, wanted) {
        (Value::Number(_), Value::Number(_)) => compare(Some(found), Some(wanted)),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (found, wanted) => text(found).cmp(&text(wanted)),
    };
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// Parts up to the end, or up to `{end}` within a range.
    fn parts(&mut self, depth: usize) -> Result<Vec<Part>, String> {
        if depth > MAX_DEPTH {
            return Err("ranges are nested too deeply".to_owned());
        }
        let mut parts = Vec::new();
        while !self.rest.is_empty() {
            let (literal, rest) = self.rest.split_at(self.rest.find('{').unwrap_or(self.rest.len()));
            if !literal.is_empty() {
                parts.push(Part::Text(literal.to_owned()));
            }
            self.rest = rest;
            let Some(rest) = self.rest.strip_prefix('{') else { break };
            self.rest = rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix("end") {
                self.rest = rest;
                self.close()?;
                return if depth > 0 { Ok(parts) } else { Err("not in range, nothing to end".to_owned()) };
            }
            if let Some(rest) = self.rest.strip_prefix("range").filter(|rest| rest.starts_with([' ', '.', '['])) {
                self.rest = rest.trim_start();
                let steps = self.steps()?;
                self.close()?;
                parts.push(Part::Range(steps, self.parts(depth + 1)?));
                continue;
            }
            self.expressions(&mut parts)?;
        }
        if depth > 0 { Err("unclosed range: `{end}` is missing".to_owned()) } else { Ok(parts) }
    }

    /// What is between braces: paths and literals.
    fn expressions(&mut self, parts: &mut Vec<Part>) -> Result<(), String> {
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Ok(());
            }
            if self.rest.is_empty() {
                return Err("unclosed action: `}` is missing".to_owned());
            }
            if self.rest.starts_with(['"', '\'']) {
                parts.push(Part::Text(self.quoted()?));
            } else {
                parts.push(Part::Path(self.steps()?));
            }
        }
    }

    fn close(&mut self) -> Result<(), String> {
        self.rest = self.rest.trim_start().strip_prefix('}').ok_or("unclosed action: `}` is missing")?;
        Ok(())
    }

    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        let before = self.rest.len();
        if let Some(rest) = self.rest.strip_prefix('$') {
            self.rest = rest;
            steps.push(Step::Root);
        } else if let Some(rest) = self.rest.strip_prefix('@') {
            self.rest = rest;
        }
        loop {
            if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                steps.push(Step::Descend);
                if !self.rest.starts_with('[') {
                    steps.push(self.key()?);
                }
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                if self.rest.starts_with('[') || self.at_end() {
                    continue;
                }
                steps.push(self.key()?);
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else if self.at_end() && self.rest.len() < before {
                return Ok(steps);
            } else if steps.is_empty() && !self.at_end() {
                steps.push(self.key()?);
            } else {
                return Err(format!("unrecognized character in action: {:?}", self.rest.chars().next().unwrap_or('}')));
            }
        }
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(['}', ' ', ')', '=', '!', '<', '>', '"', '\''])
    }

    fn key(&mut self) -> Result<Step, String> {
        let mut key = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => key.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' | ']' | '}' | ' ' | ')' | '=' | '!' | '<' | '>' | ',' => {
                    end = at;
                    break;
                }
                c => key.push(c),
            }
        }
        self.rest = &self.rest[end..];
        match key.as_str() {
            "" => Err("a name is missing in the path".to_owned()),
            "*" => Ok(Step::All),
            _ => Ok(Step::Key(key)),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let quote = self.rest.chars().next().unwrap_or('"');
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c) => text.push(c),
                    None => break,
                },
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err("unterminated quoted string".to_owned())
    }

    /// What is in brackets, up to `]`.
    fn bracket(&mut self) -> Result<Step, String> {
        if let Some(rest) = self.rest.strip_prefix("?(") {
            self.rest = rest;
            return self.filter();
        }
        let mut steps = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with(['"', '\'']) {
                steps.push(Step::Key(self.quoted()?));
            } else {
                let end = self.rest.find([',', ']']).ok_or("unterminated array: `]` is missing")?;
                steps.push(index(self.rest[..end].trim())?);
                self.rest = &self.rest[end..];
            }
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix(']') {
                self.rest = rest;
                return Ok(if steps.len() == 1 { steps.remove(0) } else { Step::Union(steps) });
            } else {
                return Err("unterminated array: `]` is missing".to_owned());
            }
        }
    }

    fn filter(&mut self) -> Result<Step, String> {
        let path = self.steps()?;
        self.rest = self.rest.trim_start();
        let operators = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = operators.into_iter().find_map(|(sign, operator)| Some((operator, self.rest.strip_prefix(sign)?)));
        let test = match found {
            Some((operator, rest)) => {
                self.rest = rest.trim_start();
                Some((operator, self.operand()?))
            }
            None => None,
        };
        self.rest = self.rest.trim_start().strip_prefix(")]").ok_or("unterminated filter: `)]` is missing")?;
        Ok(Step::Filter(path, test))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if self.rest.starts_with(['"', '\'']) {
            return Ok(Operand::Value(Value::String(self.quoted()?)));
        }
        if self.rest.starts_with(['@', '$', '.']) {
            return Ok(Operand::Path(self.steps()?));
        }
        let end = self.rest.find(')').ok_or("unterminated filter: `)]` is missing")?;
        let word = self.rest[..end].trim();
        let value = serde_json::from_str(word).unwrap_or_else(|_| Value::String(word.to_owned()));
        self.rest = &self.rest[end..];
        Ok(Operand::Value(value))
    }
}

fn index(text: &str) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::All);
    }
    let number = |text: &str| -> Result<Option<i64>, String> {
        match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| format!("invalid array index {text}")),
        }
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [one] => {
            let at = number(one)?.ok_or_else(|| "an array index is missing".to_owned())?;
            Ok(Step::Slice(Some(at), if at == -1 { None } else { Some(at.saturating_add(1)) }, 1))
        }
        [from, to] => Ok(Step::Slice(number(from)?, number(to)?, 1)),
        [from, to, step] => {
            let step = number(step)?.and_then(|step| usize::try_from(step).ok()).filter(|step| *step > 0);
            Ok(Step::Slice(number(from)?, number(to)?, step.unwrap_or(1)))
        }
        _ => Err(format!("invalid array index {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_print_what_kubectl_prints() {
        let object = json!({
            "metadata": {"name": "web", "labels": {"a.b/c": "x"}},
            "items": [{"n": "one", "v": 1, "ok": true}, {"n": "two", "v": 2}, {"n": "three", "v": 30, "ok": false}],
        });
        for (template, expected) in [
            ("{.metadata.name}", "web"),
            ("name={.metadata.name}!", "name=web!"),
            ("{.metadata.labels.a\\.b/c}", "x"),
            ("{.metadata.labels['a.b/c']}", "x"),
            ("{.items[*].n}", "one two three"),
            ("{.items[0].n}", "one"),
            ("{.items[-1].n}", "three"),
            ("{.items[-2:].n}", "two three"),
            ("{.items[0:2].n}", "one two"),
            ("{.items[0,2].n}", "one three"),
            ("{.items[?(@.n==\"two\")].v}", "2"),
            ("{.items[?(@.v>1)].n}", "two three"),
            ("{.items[?(@.ok)].n}", "one three"),
            ("{.items[?(@.ok==true)].n}", "one"),
            ("{range .items[*]}{.n}{\"\\t\"}{.v}{\"\\n\"}{end}", "one\t1\ntwo\t2\nthree\t30\n"),
            ("{range .items[*]}{.n}{'='}{.v},{end}", "one=1,two=2,three=30,"),
            ("{..n}", "one two three"),
            ("{.items[0]}", r#"{"n":"one","v":1,"ok":true}"#),
            ("{.missing.key}", ""),
            ("{$.metadata.name}", "web"),
            ("{.metadata.name} {.items[0].v}", "web 1"),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(&object), expected, "{template}");
        }
    }

    #[test]
    fn a_bad_template_says_what_is_wrong() {
        for (template, error) in [
            ("{.a", "unclosed action"),
            ("{range .a[*]}x", "unclosed range"),
            ("{end}", "not in range"),
            ("{.a[x]}", "invalid array index x"),
            ("{.a[0}", "unterminated array"),
            ("{\"x}", "unterminated quoted string"),
            ("{.a[?(@.b==1}", "unterminated filter"),
        ] {
            let told = Template::parse(template).unwrap_err();
            assert!(told.contains(error), "{template}: {told}");
        }
    }

    #[test]
    fn people_order_numbers_in_names() {
        let value = |text: &str| Value::String(text.to_owned());
        assert_eq!(compare(Some(&value("a2")), Some(&value("a10"))), Ordering::Less);
        assert_eq!(compare(Some(&json!(10)), Some(&json!(9))), Ordering::Greater);
        assert_eq!(compare(None, Some(&value(""))), Ordering::Less);
        assert_eq!(braced("metadata.name"), "{.metadata.name}");
        assert_eq!(braced("{.a}"), "{.a}");
    }
}
