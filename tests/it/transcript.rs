//! Transcripts of sessions in a shell, each a file: what is typed is done, and what is shown compared with the file.
//!
//! ```text
//! What is not indented is told to the reader.
//!
//!   $ kubectl get pod web
//!   NAME  READY  STATUS  RESTARTS  AGE
//!   web  1/1  Running  0  <age>
//!   $ kubectl apply -f - <<END
//!   > apiVersion: v1
//!   > END
//!   error: …
//!   [1]
//! ```
//!
//! A command is `$ ` and what follows, over more than one line where these begin with `> `; a number in brackets is the code
//! with which it ended unless that was 0. What differs between any two runs is masked (`mask`), and columns are two spaces
//! apart, for their widths differ with what is in them. `UPDATE=1` writes the files anew.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::mask::Masks;

/// How long a command may show nothing before the session counts as hanging.
const SILENCE_LIMIT: Duration = Duration::from_secs(150);
/// Lines around a difference that are shown with it.
const CONTEXT: usize = 3;

/// What of a transcript must be as in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// What is shown, and how commands end.
    Everything,
    /// How commands end: the program is of a version that words things differently.
    Codes,
}

/// A part of a transcript.
#[derive(Clone, Debug)]
enum Block {
    /// A line that is no command's.
    Prose(String),
    /// What is typed, line by line, what is shown then, and the code it ends with.
    Command { typed: Vec<String>, shown: Vec<String>, code: i32 },
}

/// Does what the transcript in a file says and compares what comes of it with the file, or writes it anew with `UPDATE=1`.
pub(crate) fn check(file: &Path, shell: Command, masks: &Masks, compare: Compare) {
    let expected = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let blocks = parse(&expected);
    let mut session = Session::start(shell);
    let mut done = Vec::new();
    for block in &blocks {
        done.push(match block {
            Block::Prose(_) => block.clone(),
            Block::Command { typed, .. } => {
                let (shown, code) = session.run(typed).unwrap_or_else(|problem| {
                    panic!("{}: {problem}:\n{}{}", file.display(), render(&done), typed.join("\n"))
                });
                let shown = masks.apply(&typed.join("\n"), &shown);
                let shown = shown.trim_end_matches('\n').lines().map(str::to_owned).collect();
                Block::Command { typed: typed.clone(), shown, code }
            }
        });
    }
    let (expected, actual) = match compare {
        Compare::Everything if std::env::var_os("UPDATE").is_some() => {
            fs::write(file, render(&done)).unwrap();
            return;
        }
        Compare::Everything => (render(&blocks), render(&done)),
        Compare::Codes => (render(&without_output(&blocks)), render(&without_output(&done))),
    };
    assert!(
        expected == actual,
        "{}: - is in the file, + is what came (UPDATE=1 writes it anew):\n{}",
        file.display(),
        difference(&expected, &actual)
    );
}

fn without_output(blocks: &[Block]) -> Vec<Block> {
    let without = |block: &Block| match block {
        Block::Prose(_) => block.clone(),
        Block::Command { typed, code, .. } => Block::Command { typed: typed.clone(), shown: Vec::new(), code: *code },
    };
    blocks.iter().map(without).collect()
}

fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(line) = line.strip_prefix("  ") else {
            // An empty line is shown if more of what is shown follows.
            let next = lines.clone().find(|line| !line.is_empty()).unwrap_or_default();
            match blocks.last_mut() {
                Some(Block::Command { shown, .. })
                    if line.is_empty() && next.starts_with("  ") && !next.starts_with("  $ ") =>
                {
                    shown.push(String::new());
                }
                _ => blocks.push(Block::Prose(line.to_owned())),
            }
            continue;
        };
        if let Some(typed) = line.strip_prefix("$ ") {
            blocks.push(Block::Command { typed: vec![typed.to_owned()], shown: Vec::new(), code: 0 });
            continue;
        }
        let Some(Block::Command { typed, shown, code }) = blocks.last_mut() else {
            panic!("something is shown before anything is typed: {line}");
        };
        match (line.strip_prefix("> "), line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.parse().ok())) {
            (Some(more), _) if shown.is_empty() => typed.push(more.to_owned()),
            (_, Some(number)) => *code = number,
            _ => shown.push(line.to_owned()),
        }
    }
    blocks
}

fn render(blocks: &[Block]) -> String {
    let mut lines = Vec::new();
    for block in blocks {
        match block {
            Block::Prose(line) => lines.push(line.clone()),
            Block::Command { typed, shown, code } => {
                lines.extend(
                    typed.iter().enumerate().map(|(at, line)| format!("  {} {line}", if at == 0 { '$' } else { '>' })),
                );
                lines.extend(shown.iter().map(|line| format!("  {line}")));
                lines.extend((*code != 0).then(|| format!("  [{code}]")));
            }
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A shell that lives as long as its transcript, so that variables and what runs in the background do.
struct Session {
    shell: Child,
    stdin: ChildStdin,
    shown: mpsc::Receiver<Vec<u8>>,
}

impl Session {
    fn start(mut shell: Command) -> Self {
        use std::os::unix::process::CommandExt as _;
        let (mut reader, writer) = std::io::pipe().unwrap();
        // What is shown is output and errors in the order in which they came, as on a terminal.
        shell.stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).stderr(writer).process_group(0);
        let mut child = shell.spawn().unwrap();
        drop(shell);
        let stdin = child.stdin.take().unwrap();
        let (sender, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { shell: child, stdin, shown }
    }

    /// Does what is typed, and gives what is shown and the code of its end.
    fn run(&mut self, typed: &[String]) -> Result<(String, i32), String> {
        const END: &str = "--- the end of a command: ";
        let typed = typed.join("\n");
        let script = format!("{{ {typed}\n}} </dev/null; printf '\\n{END}%d\\n' $?\n");
        self.stdin.write_all(script.as_bytes()).map_err(|error| format!("the shell has ended: {error}"))?;
        let mut shown = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&shown);
            let end = text.rfind(END).and_then(|at| Some((at, text[at + END.len()..].strip_suffix('\n')?)));
            if let Some((at, code)) = end {
                let text = text[..at].strip_suffix('\n').unwrap_or_default();
                return Ok((text.to_owned(), code.parse().map_err(|error| format!("{error}: {code}"))?));
            }
            match self.shown.recv_timeout(SILENCE_LIMIT) {
                Ok(more) => shown.extend(more),
                Err(error) => return Err(format!("no end ({error}), but {text:?}")),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // With what it has left in the background.
        let _ = kill_process_group(Pid::from_child(&self.shell), Signal::KILL);
        let _ = self.shell.wait();
    }
}

/// The lines in which two texts differ, with some around them.
fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    // The length of the longest common subsequence of what is left of both, from every pair of places.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] =
                if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let changed: Vec<_> = (0..lines.len()).filter(|at| lines[*at].0 != ' ').collect();
    let mut text = String::new();
    let mut last = None;
    for (at, (sign, line)) in lines.iter().enumerate() {
        if changed.iter().any(|change| change.abs_diff(at) <= CONTEXT) {
            if last.is_some_and(|last| last + 1 != at) {
                text.push_str("…\n");
            }
            let _ = writeln!(text, "{sign} {line}");
            last = Some(at);
        }
    }
    text
}

#[test]
fn transcripts_are_read_written_and_compared() {
    let text = "Prose.\n\n  $ one\n  > two\n  shown\n\n  > shown, too\n  [3]\n\n  $ three\n";
    assert_eq!(render(&parse(text)), text);
    let other = text.replace("shown, too", "shown, otherwise");
    assert_eq!(
        difference(text, &other),
        "    > two\n    shown\n  \n-   > shown, too\n+   > shown, otherwise\n    [3]\n  \n    $ three\n"
    );
}

#[test]
fn a_session_keeps_what_was_said_and_tells_how_commands_end() {
    let mut session = Session::start(Command::new("sh"));
    let mut run = |typed: &str| session.run(&typed.lines().map(str::to_owned).collect::<Vec<_>>()).unwrap();
    assert_eq!(run("value=1; echo to >&2"), ("to\n".to_owned(), 0));
    assert_eq!(run("printf $value; false"), ("1".to_owned(), 1));
    assert_eq!(run("cat <<END\nhere\nEND"), ("here\n".to_owned(), 0));
    assert_eq!(run("cat; (exit 7)"), (String::new(), 7));
}
