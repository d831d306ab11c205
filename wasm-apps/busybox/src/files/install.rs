//! `install`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::accounts;
use crate::attributes;
use crate::failure::{Failure, for_each};
use crate::mode::Change;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "install [-cDpv] [-m MODE] [-o USER] [-g GROUP] [-t DIR] FILE... TARGET
       install -d [-m MODE] DIR...

Copy files, or make folders, with permissions (755)

  -D  Make the folders TARGET is in    -t DIR  Copy into DIR    -p  Keep times";

#[derive(Default)]
struct Settings {
    folders: bool,
    parents: bool,
    times: bool,
    says: bool,
    mode: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
    target: Option<PathBuf>,
}

pub(crate) fn install(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut settings, mut operands) = (Settings::default(), Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(operand) => operands.push(PathBuf::from(operand)),
            Item::Option(option) => settings.option(&option, &mut line)?,
        }
    }
    if settings.folders {
        return for_each("install", &operands, |path| {
            fs::create_dir_all(path).map_err(Failure::at(path))?;
            settings.finish(path)
        });
    }
    let target = settings.target.clone().or_else(|| operands.pop());
    let Some(target) = target.filter(|_| !operands.is_empty()) else {
        return Err(Failure::missing_operand());
    };
    let into = settings.target.is_some() || target.is_dir();
    if operands.len() > 1 && !into {
        return Err(Failure::Usage(format!("target '{}' is not a directory", target.display())));
    }
    for_each("install", &operands, |source| {
        let name = source.file_name().unwrap_or(source.as_os_str());
        settings.copy(source, &if into { target.join(name) } else { target.clone() })
    })
}

impl Settings {
    fn option(&mut self, option: &str, line: &mut CommandLine) -> Result<(), Failure> {
        match option {
            "d" | "directory" => self.folders = true,
            "D" => self.parents = true,
            "p" | "preserve-timestamps" => self.times = true,
            "v" | "verbose" => self.says = true,
            "c" | "s" | "T" | "b" | "strip" => {}
            "t" | "target-directory" => self.target = Some(line.value()?.into()),
            "m" | "mode" => {
                let mode = line.text()?;
                let change = Change::parse(&mode).ok_or_else(|| Failure::Usage(format!("invalid mode '{mode}'")))?;
                self.mode = Some(change.apply(0, false, 0));
            }
            "o" | "owner" => {
                let name = line.text()?;
                self.user =
                    Some(accounts::uid_of(&name).ok_or_else(|| Failure::Usage(format!("invalid user '{name}'")))?);
            }
            "g" | "group" => {
                let name = line.text()?;
                self.group =
                    Some(accounts::gid_of(&name).ok_or_else(|| Failure::Usage(format!("invalid group '{name}'")))?);
            }
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    fn copy(&self, source: &Path, target: &Path) -> Result<(), Failure> {
        if source.is_dir() {
            return Err(Failure::Usage(format!("omitting directory '{}'", source.display())));
        }
        if let Some(parent) = target.parent().filter(|_| self.parents || self.target.is_some()) {
            fs::create_dir_all(parent).map_err(Failure::at(parent))?;
        }
        let mut input = fs::File::open(source).map_err(Failure::at(source))?;
        match fs::remove_file(target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::at(target)(error)),
            _ => {}
        }
        let mut output = fs::File::create(target).map_err(Failure::at(target))?;
        io::copy(&mut input, &mut output).map_err(Failure::at(target))?;
        if self.times {
            let modified = input.metadata().and_then(|metadata| metadata.modified()).map_err(Failure::at(source))?;
            output.set_modified(modified).map_err(Failure::at(target))?;
        }
        if self.says {
            println!("'{}' -> '{}'", source.display(), target.display());
        }
        self.finish(target)
    }

    /// Sets what was asked for.
    fn finish(&self, path: &Path) -> Result<(), Failure> {
        attributes::set_owner(path, self.user, self.group, true).map_err(Failure::at(path))?;
        attributes::set_mode(path, self.mode.unwrap_or(0o755)).map_err(Failure::at(path))
    }
}
