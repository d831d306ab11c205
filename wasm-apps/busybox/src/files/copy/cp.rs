//! `cp`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Copier, Existing, Follow, Means, Preserve, cannot};
use crate::failure::{Failure, for_each};
use crate::options::{CommandLine, Item, unknown};
use crate::targets::Targets;

pub(crate) const USAGE: &str = "cp [-adfHiLlnPpRsTuvx] SOURCE TARGET
       cp [-adfHiLlnPpRsuvx] SOURCE... FOLDER
       cp [-adfHiLlnPpRsuvx] -t FOLDER SOURCE...

Copy files, and with -r folders and all in them

  -a  As -dRp                        -p  Keep permissions and times    -d  As -P, and keep hard links
  -L  Follow symbolic links          -P  Copy symbolic links           -H  Follow those of the command line
  -f  Remove what cannot be opened   -i  Ask before overwriting        -n  Never overwrite
  -u  Only what is newer             -l  Make hard links               -s  Make symbolic links
  -T  TARGET is no folder to fill    -v  Say what is done              -x  Stay on one filesystem
  --parents  With the folders SOURCE is in    --remove-destination  Remove what is overwritten
  --preserve=mode,timestamps,links,all, --no-preserve=mode";

struct Settings {
    copier: Copier,
    targets: Targets,
    follow: Option<Follow>,
}

pub(crate) fn cp(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut settings = Settings {
        copier: Copier::new("cp"),
        targets: Targets { folder: None, exactly: false, parents: false },
        follow: None,
    };
    let mut operands = Vec::new();
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(operand) => operands.push(PathBuf::from(operand)),
            Item::Option(option) => settings.option(&option, &mut line)?,
        }
    }
    let Settings { mut copier, targets, follow } = settings;
    let usual = if copier.recursive { Follow::Never } else { Follow::Always };
    copier.follow = follow.unwrap_or(usual);
    let code = for_each("cp", &targets.pair("cp", operands)?, |(source, target)| {
        if let Some(parent) = target.parent().filter(|_| targets.parents) {
            std::fs::create_dir_all(parent).map_err(cannot("make directory", parent))?;
        }
        copier.operand(source, target)
    })?;
    Ok(code | u8::from(copier.failed))
}

impl Settings {
    fn option(&mut self, option: &str, line: &mut CommandLine) -> Result<(), Failure> {
        let copier = &mut self.copier;
        match option {
            "a" | "archive" => {
                (copier.recursive, copier.preserve, self.follow) = (true, Preserve::ALL, Some(Follow::Never));
            }
            "d" => (copier.preserve.links, self.follow) = (true, Some(Follow::Never)),
            "p" => (copier.preserve.mode, copier.preserve.times) = (true, true),
            "preserve" => match line.optional_value() {
                None => (copier.preserve.mode, copier.preserve.times) = (true, true),
                Some(list) => preserve(&mut copier.preserve, &crate::options::text(list)?, true)?,
            },
            "no-preserve" => preserve(&mut copier.preserve, &line.text()?, false)?,
            "R" | "r" | "recursive" => copier.recursive = true,
            "L" | "dereference" => self.follow = Some(Follow::Always),
            "P" | "no-dereference" => self.follow = Some(Follow::Never),
            "H" => self.follow = Some(Follow::Named),
            "f" | "force" => copier.force = true,
            "i" | "interactive" => copier.existing = Existing::Ask,
            "n" | "no-clobber" => copier.existing = Existing::Keep,
            "u" => copier.existing = Existing::Update,
            "update" => copier.existing = update(line)?,
            "l" | "link" => copier.means = Means::HardLink,
            "s" | "symbolic-link" => copier.means = Means::SymbolicLink,
            "remove-destination" => copier.remove_first = true,
            "x" | "one-file-system" => copier.one_filesystem = true,
            "v" | "verbose" => copier.says = true,
            "T" | "no-target-directory" => self.targets.exactly = true,
            "t" | "target-directory" => self.targets.folder = Some(line.value()?.into()),
            "parents" => self.targets.parents = true,
            // How a copy is stored is the filesystem's business.
            "reflink" | "sparse" => drop(line.optional_value()),
            _ => return Err(unknown(option)),
        }
        Ok(())
    }
}

/// The value of `--update`.
pub(super) fn update(line: &mut CommandLine) -> Result<Existing, Failure> {
    let Some(word) = line.optional_value() else { return Ok(Existing::Update) };
    let word = crate::options::text(word)?;
    Existing::parse(&word).ok_or_else(|| Failure::Usage(format!("invalid argument '{word}' for '--update'")))
}

fn preserve(preserve: &mut Preserve, list: &str, value: bool) -> Result<(), Failure> {
    for attribute in list.split(',') {
        match attribute {
            "mode" => preserve.mode = value,
            "timestamps" => preserve.times = value,
            "links" => preserve.links = value,
            "all" => *preserve = Preserve { mode: value, times: value, links: value },
            // Everything is root's, and has nothing else.
            "ownership" | "context" | "xattr" => {}
            _ => return Err(Failure::Usage(format!("invalid argument '{attribute}' for '--preserve'"))),
        }
    }
    Ok(())
}
