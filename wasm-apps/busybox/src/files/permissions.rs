//! `chgrp`, `chmod` and `chown`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::accounts;
use crate::attributes::{self, Attributes};
use crate::failure::{Failure, for_each};
use crate::mode::Change;
use crate::options::{CommandLine, Item, text, unknown};

pub(crate) const CHMOD_USAGE: &str = "chmod [-Rcvf] MODE[,MODE]... FILE...
       chmod [-Rcvf] --reference=FILE FILE...

Change permissions: octal, or such as u+x,go=r

  -R  All below, too    -v -c  Say what is done    -f  Say less";

pub(crate) const CHOWN_USAGE: &str = "chown [-Rhvf] USER[:[GROUP]] FILE...
       chown [-Rhvf] --reference=FILE FILE...

Change whom files belong to

  -R  All below, too    -h  Of symbolic links themselves";

pub(crate) const CHGRP_USAGE: &str = "chgrp [-Rhvf] GROUP FILE...

Change which group files belong to

  -R  All below, too    -h  Of symbolic links themselves";

/// How deep folders may be nested.
const MAX_DEPTH: usize = 1024;

#[derive(Default)]
struct Settings {
    recursive: bool,
    of_links: bool,
    says: bool,
    quiet: bool,
    reference: Option<PathBuf>,
}

impl Settings {
    /// Reads options and operands. Words such as `-x` are modes where `modes` is set.
    fn parse(arguments: Vec<OsString>, modes: bool) -> Result<(Self, Vec<OsString>), Failure> {
        let (mut settings, mut operands, mut rest) = (Self::default(), Vec::new(), Vec::new());
        for argument in arguments {
            let is_mode = modes
                && operands.is_empty()
                && argument.to_str().and_then(|text| text.strip_prefix('-')).is_some_and(|letters| {
                    letters.starts_with(['r', 'w', 'x', 'X', 's', 't', 'u', 'g', 'o'])
                        && Change::parse(&format!("-{letters}")).is_some()
                });
            if is_mode { operands.push(argument) } else { rest.push(argument) }
        }
        let mut line = CommandLine::new(rest);
        while let Some(item) = line.next()? {
            match item {
                Item::Operand(operand) => operands.push(operand),
                Item::Option(option) => match option.as_str() {
                    "R" | "recursive" => settings.recursive = true,
                    "h" | "no-dereference" => settings.of_links = true,
                    "v" | "c" | "verbose" | "changes" => settings.says = true,
                    "f" | "silent" | "quiet" => settings.quiet = true,
                    "reference" => settings.reference = Some(line.value()?.into()),
                    "H" | "L" | "P" | "dereference" | "preserve-root" | "no-preserve-root" => {}
                    _ => return Err(unknown(&option)),
                },
            }
        }
        Ok((settings, operands))
    }

    /// Does `change` to every operand and, with `-R`, all below.
    fn run(
        &self,
        applet: &str,
        operands: &[OsString],
        change: &dyn Fn(&Path, &Attributes) -> io::Result<Option<String>>,
    ) -> Result<u8, Failure> {
        if operands.is_empty() {
            return Err(Failure::missing_operand());
        }
        let mut failed = false;
        let code = for_each(applet, operands, |operand| {
            let result = self.walk(Path::new(operand), 0, change);
            failed |= result.is_err();
            if self.quiet { Ok(()) } else { result }
        })?;
        Ok(code | u8::from(failed))
    }

    fn walk(
        &self,
        path: &Path,
        depth: usize,
        change: &dyn Fn(&Path, &Attributes) -> io::Result<Option<String>>,
    ) -> Result<(), Failure> {
        let attributes = attributes::of(path, !self.of_links && depth == 0).map_err(Failure::at(path))?;
        if attributes.kind == FileType::Symlink && !self.of_links {
            return Ok(());
        }
        if let Some(done) = change(path, &attributes).map_err(Failure::at(path))?
            && self.says
        {
            println!("{done} of '{}' changed", path.display());
        }
        if self.recursive && attributes.kind == FileType::Directory && depth < MAX_DEPTH {
            for entry in fs::read_dir(path).map_err(Failure::at(path))? {
                self.walk(&entry.map_err(Failure::at(path))?.path(), depth + 1, change)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn chmod(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (settings, mut operands) = Settings::parse(arguments, true)?;
    let change = match &settings.reference {
        Some(path) => {
            let mode = attributes::of(path, true).map_err(Failure::at(path))?.mode;
            Change::Octal { mode, keeps_special: false }
        }
        None if operands.is_empty() => return Err(Failure::missing_operand()),
        None => {
            let mode = text(operands.remove(0))?;
            Change::parse(&mode).ok_or_else(|| Failure::Usage(format!("invalid mode: '{mode}'")))?
        }
    };
    let umask = attributes::umask();
    settings.run("chmod", &operands, &|path, attributes| {
        let mode = change.apply(attributes.mode, attributes.kind == FileType::Directory, umask);
        if mode == attributes.mode {
            return Ok(None);
        }
        attributes::set_mode(path, mode)?;
        Ok(Some(format!("mode {:04o}", mode)))
    })
}

pub(crate) fn chown(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (settings, mut operands) = Settings::parse(arguments, false)?;
    let (uid, gid) = match &settings.reference {
        Some(path) => {
            let attributes = attributes::of(path, true).map_err(Failure::at(path))?;
            (Some(attributes.uid), Some(attributes.gid))
        }
        None if operands.is_empty() => return Err(Failure::missing_operand()),
        None => owner(&text(operands.remove(0))?)?,
    };
    change_owner("chown", &settings, &operands, uid, gid)
}

pub(crate) fn chgrp(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (settings, mut operands) = Settings::parse(arguments, false)?;
    if operands.is_empty() {
        return Err(Failure::missing_operand());
    }
    let name = text(operands.remove(0))?;
    change_owner("chgrp", &settings, &operands, None, Some(group(&name)?))
}

fn change_owner(
    applet: &str,
    settings: &Settings,
    operands: &[OsString],
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<u8, Failure> {
    settings.run(applet, operands, &|path, attributes| {
        let same = uid.is_none_or(|uid| uid == attributes.uid) && gid.is_none_or(|gid| gid == attributes.gid);
        if same {
            return Ok(None);
        }
        attributes::set_owner(path, uid, gid, !settings.of_links)?;
        Ok(Some("ownership".to_owned()))
    })
}

/// `USER`, `USER:GROUP`, `:GROUP` or `USER:`, which means the user's own group.
fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), Failure> {
    let (user, group_name) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let uid = match user {
        "" => None,
        name => Some(accounts::uid_of(name).ok_or_else(|| Failure::Usage(format!("invalid user: '{text}'")))?),
    };
    let gid = match group_name {
        None => None,
        Some("") => accounts::users().into_iter().find(|known| Some(known.uid) == uid).map(|user| user.gid),
        Some(name) => Some(group(name)?),
    };
    Ok((uid, gid))
}

fn group(name: &str) -> Result<u32, Failure> {
    accounts::gid_of(name).ok_or_else(|| Failure::Usage(format!("invalid group: '{name}'")))
}
