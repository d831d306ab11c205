//! The options of `ls`.

use crate::failure::Failure;
use crate::options::CommandLine;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Layout {
    #[default]
    Lines,
    Columns,
    Rows,
    Commas,
    Long,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    #[default]
    Name,
    Time,
    Size,
    Extension,
    Version,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Which {
    #[default]
    Modified,
    Accessed,
    Changed,
}

/// How names that cannot be printed as they are come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Quoting {
    #[default]
    Literal,
    /// `?` for what cannot be printed.
    Question,
    Escape,
    Quotes,
}

#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) all: bool,
    pub(super) almost_all: bool,
    pub(super) itself: bool,
    pub(super) recursive: bool,
    pub(super) layout: Option<Layout>,
    pub(super) sort: Sort,
    pub(super) reverse: bool,
    pub(super) folders_first: bool,
    pub(super) time: Which,
    pub(super) follow: bool,
    pub(super) follow_named: bool,
    pub(super) numbers: bool,
    pub(super) no_owner: bool,
    pub(super) no_group: bool,
    pub(super) human: bool,
    pub(super) blocks: bool,
    pub(super) inodes: bool,
    /// `-F`: 'F', `-p`: 'p'.
    pub(super) indicator: Option<char>,
    pub(super) quoting: Quoting,
    pub(super) color: bool,
    /// A format for times, and one for those that are long past.
    pub(super) time_style: Option<(String, String)>,
    pub(super) width: usize,
}

impl Settings {
    /// Reads an option of one letter; false if there is none.
    pub(super) fn letter(&mut self, letter: char, line: &mut CommandLine) -> Result<bool, Failure> {
        match letter {
            'a' => self.all = true,
            'A' => self.almost_all = true,
            'd' => self.itself = true,
            'R' => self.recursive = true,
            'l' => self.layout = Some(Layout::Long),
            'n' => (self.layout, self.numbers) = (Some(Layout::Long), true),
            'g' => (self.layout, self.no_owner) = (Some(Layout::Long), true),
            'o' => (self.layout, self.no_group) = (Some(Layout::Long), true),
            'G' => self.no_group = true,
            '1' => self.layout = Some(self.layout.filter(|layout| *layout == Layout::Long).unwrap_or(Layout::Lines)),
            'C' => self.layout = Some(Layout::Columns),
            'x' => self.layout = Some(Layout::Rows),
            'm' => self.layout = Some(Layout::Commas),
            't' => self.sort = Sort::Time,
            'S' => self.sort = Sort::Size,
            'X' => self.sort = Sort::Extension,
            'v' => self.sort = Sort::Version,
            'U' => self.sort = Sort::Not,
            'f' => (self.sort, self.all) = (Sort::Not, true),
            'r' => self.reverse = true,
            'u' => self.time = Which::Accessed,
            'c' => self.time = Which::Changed,
            'h' => self.human = true,
            's' => self.blocks = true,
            'i' => self.inodes = true,
            'F' | 'p' => self.indicator = Some(letter),
            'H' => self.follow_named = true,
            'L' => self.follow = true,
            'q' => self.quoting = Quoting::Question,
            'b' => self.quoting = Quoting::Escape,
            'Q' => self.quoting = Quoting::Quotes,
            'N' => self.quoting = Quoting::Literal,
            'w' => self.width = line.number()?,
            'T' => drop(line.value()?),
            'k' | 'e' | 'Z' => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads an option by its long name; false if there is none.
    pub(super) fn long(&mut self, option: &str, line: &mut CommandLine, on_terminal: bool) -> Result<bool, Failure> {
        let letter = match option {
            "all" => 'a',
            "almost-all" => 'A',
            "directory" => 'd',
            "recursive" => 'R',
            "human-readable" => 'h',
            "inode" => 'i',
            "size" => 's',
            "reverse" => 'r',
            "dereference" => 'L',
            "numeric-uid-gid" => 'n',
            "no-group" => 'G',
            "classify" => 'F',
            "escape" => 'b',
            "quote-name" => 'Q',
            "literal" => 'N',
            "width" => 'w',
            "group-directories-first" => {
                self.folders_first = true;
                return Ok(true);
            }
            "full-time" => {
                self.layout = Some(Layout::Long);
                self.set_time_style("full-iso");
                return Ok(true);
            }
            "time-style" => {
                let style = line.text()?;
                self.set_time_style(&style);
                return Ok(true);
            }
            "color" | "colour" => {
                let when = line.optional_value();
                self.color = match when.as_ref().and_then(|when| when.to_str()) {
                    Some("never" | "no" | "none") => false,
                    Some("auto" | "tty" | "if-tty") => on_terminal,
                    _ => true,
                };
                return Ok(true);
            }
            "sort" => match line.text()?.as_str() {
                "time" => 't',
                "size" => 'S',
                "extension" => 'X',
                "version" => 'v',
                "none" => 'U',
                other => return Err(Failure::Usage(format!("invalid argument '{other}' for '--sort'"))),
            },
            _ => return Ok(false),
        };
        self.letter(letter, line)
    }

    fn set_time_style(&mut self, style: &str) {
        let (recent, old) = match style {
            "full-iso" => ("%Y-%m-%d %H:%M:%S.%N +0000", "%Y-%m-%d %H:%M:%S.%N +0000"),
            "long-iso" => ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M"),
            "iso" => ("%m-%d %H:%M", "%Y-%m-%d "),
            custom => {
                let custom = custom.trim_start_matches('+');
                self.time_style = Some((custom.to_owned(), custom.to_owned()));
                return;
            }
        };
        self.time_style = Some((recent.to_owned(), old.to_owned()));
    }
}
