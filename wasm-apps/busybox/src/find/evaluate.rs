//! Evaluates expressions: asks the questions and does what the actions say.

use std::fs;
use std::io::{self, BufWriter, StdoutLock, Write};

use rustix::fs::FileType;

use super::Entry;
use super::parse::{Action, Expression};
use crate::accounts;
use crate::attributes::Time;
use crate::failure::{Failure, reason};

pub(super) struct Evaluation {
    pub(super) output: BufWriter<StdoutLock<'static>>,
    /// The folder just evaluated is not to be entered.
    pub(super) pruned: bool,
    pub(super) quit: bool,
    /// An action failed.
    pub(super) trouble: bool,
    /// The commands that still wait for more files.
    batches: super::exec::Batches,
}

impl Evaluation {
    pub(super) fn new() -> Self {
        let output = BufWriter::new(io::stdout().lock());
        Self { output, pruned: false, quit: false, trouble: false, batches: Default::default() }
    }

    /// Whether the expression holds for a file, after its actions.
    pub(super) fn evaluate(&mut self, expression: &Expression, entry: &Entry) -> Result<bool, Failure> {
        match expression {
            Expression::All(items) => {
                for item in items {
                    if self.quit || !self.evaluate(item, entry)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expression::Any(items) => {
                for item in items {
                    if self.quit || self.evaluate(item, entry)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Expression::List(items) => {
                let mut last = false;
                for item in items {
                    last = self.evaluate(item, entry)?;
                }
                Ok(last)
            }
            Expression::Not(inside) => Ok(!self.evaluate(inside, entry)?),
            Expression::Test(test) => Ok(test.holds(entry)),
            Expression::Action(action) => self.act(action, entry),
        }
    }

    fn act(&mut self, action: &Action, entry: &Entry) -> Result<bool, Failure> {
        match action {
            Action::Print { end } => {
                self.output.write_all(entry.path.as_os_str().as_encoded_bytes())?;
                self.output.write_all(&[*end])?;
            }
            Action::Printf(format) => format.write(entry, &mut self.output)?,
            Action::List => self.list(entry)?,
            Action::Delete => return Ok(self.delete(entry)),
            Action::Prune => self.pruned = true,
            Action::Quit => self.quit = true,
            Action::Exec(exec) => {
                // What was printed comes before what the command prints.
                self.output.flush()?;
                return exec.run(entry, &mut self.batches);
            }
        }
        Ok(true)
    }

    fn delete(&mut self, entry: &Entry) -> bool {
        if entry.path.as_os_str() == "." {
            return true;
        }
        let folder = fs::symlink_metadata(&entry.path).is_ok_and(|metadata| metadata.is_dir());
        let result = if folder { fs::remove_dir(&entry.path) } else { fs::remove_file(&entry.path) };
        if let Err(error) = &result {
            self.trouble = true;
            eprintln!("find: cannot delete '{}': {}", entry.path.display(), reason(error));
        }
        result.is_ok()
    }

    /// As `ls -dils` would.
    fn list(&mut self, entry: &Entry) -> Result<(), Failure> {
        let Some(attributes) = entry.attributes() else { return Ok(()) };
        write!(
            self.output,
            "{:9} {:6} {} {:3} {:8} {:8} {:8} {} ",
            attributes.inode,
            attributes.blocks().div_ceil(2),
            attributes.mode_text(),
            attributes.links,
            accounts::user_name(attributes.uid),
            accounts::group_name(attributes.gid),
            attributes.size,
            time_text(attributes.modified, "%b %e %H:%M"),
        )?;
        self.output.write_all(entry.path.as_os_str().as_encoded_bytes())?;
        if attributes.kind == FileType::Symlink
            && let Ok(target) = fs::read_link(&entry.path)
        {
            write!(self.output, " -> {}", target.display())?;
        }
        Ok(writeln!(self.output)?)
    }

    /// Runs what still waits, and prints what was not printed yet.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.output.flush()?;
        self.trouble |= !std::mem::take(&mut self.batches).finish()?;
        Ok(())
    }
}

/// A time in UTC, as `strftime` writes it; empty where it is out of range or the format is none.
pub(crate) fn time_text((seconds, nanoseconds): Time, format: &str) -> String {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or_default();
    let Ok(timestamp) = jiff::Timestamp::new(seconds, nanoseconds) else { return String::new() };
    let zoned = timestamp.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &zoned).unwrap_or_default()
}
