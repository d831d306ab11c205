//! `mkdir`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::attributes;
use crate::failure::{Failure, for_each, reason};
use crate::mode::Change;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "mkdir [-pv] [-m MODE] FOLDER...

Make folders

  -p  Those they are in, too, and no complaint if they exist    -m MODE  With these permissions    -v  Say what is made";

#[derive(Default)]
struct Settings {
    parents: bool,
    says: bool,
    mode: Option<u32>,
}

pub(crate) fn mkdir(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut settings, mut operands) = (Settings::default(), Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        let option = match item {
            Item::Operand(operand) => {
                operands.push(PathBuf::from(operand));
                continue;
            }
            Item::Option(option) => option,
        };
        match option.as_str() {
            "p" | "parents" => settings.parents = true,
            "v" | "verbose" => settings.says = true,
            "m" | "mode" => {
                let mode = line.text()?;
                let change = Change::parse(&mode).ok_or_else(|| Failure::Usage(format!("invalid mode '{mode}'")))?;
                settings.mode = Some(change.apply(0o777, true, attributes::umask()));
            }
            _ => return Err(unknown(&option)),
        }
    }
    if operands.is_empty() {
        return Err(Failure::missing_operand());
    }
    for_each("mkdir", &operands, |path| settings.make(path))
}

impl Settings {
    fn make(&self, path: &Path) -> Result<(), Failure> {
        if self.parents {
            if path.is_dir() {
                return Ok(());
            }
            let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(|parent| !parent.is_dir()).collect();
            missing.retain(|parent| !parent.as_os_str().is_empty());
            for parent in missing.into_iter().rev() {
                match fs::create_dir(parent) {
                    // Another process made it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && parent.is_dir() => {}
                    made => self.made(parent, made)?,
                }
            }
        }
        match fs::create_dir(path) {
            Err(error) if self.parents && error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => {
                self.made(path, made)?;
                if let Some(mode) = self.mode {
                    attributes::set_mode(path, mode).map_err(Failure::at(path))?;
                }
            }
        }
        Ok(())
    }

    fn made(&self, path: &Path, made: io::Result<()>) -> Result<(), Failure> {
        made.map_err(|error| {
            Failure::Usage(format!("cannot create directory '{}': {}", path.display(), reason(&error)))
        })?;
        if self.says {
            println!("mkdir: created directory '{}'", path.display());
        }
        Ok(())
    }
}
