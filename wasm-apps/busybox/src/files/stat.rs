//! `stat`.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rustix::fs::FileType;

use crate::accounts;
use crate::attributes::{self, Attributes, Time};
use crate::failure::{Failure, for_each};
use crate::find::time_text;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "stat [-L] [-t] [-c FORMAT | --printf=FORMAT] FILE...

Print what files are like

  -L  What symbolic links lead to    -t  In one line    -c FORMAT  As FORMAT says, a line each:
  %n %N name  %s size  %b %B %o blocks  %F type  %f %a %A mode  %u %U %g %G owner  %h links  %i inode  %d %D device
  %x %X access  %y %Y change of contents  %z %Z change of attributes  %w %W birth  %m mount point";

const DEFAULT: &str = "  File: %N
  Size: %s\tBlocks: %b\tIO Block: %o\t%F
Device: %Dh/%dd\tInode: %i\tLinks: %h
Access: (%04a/%A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)
Access: %x
Modify: %y
Change: %z
 Birth: %w
";
const TERSE: &str = "%n %s %b %f %u %g %D %i %h 0 0 %X %Y %Z %W %o\n";

pub(crate) fn stat(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut follow, mut format, mut paths) = (false, DEFAULT.to_owned(), Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(path) => paths.push(path),
            Item::Option(option) => match option.as_str() {
                "L" | "dereference" => follow = true,
                "c" | "format" => format = line.text()? + "\n",
                "printf" => format = unescape(&line.text()?),
                "t" | "terse" => TERSE.clone_into(&mut format),
                "f" | "file-system" => return Err(Failure::usage("nothing is known of filesystems")),
                _ => return Err(unknown(&option)),
            },
        }
    }
    if paths.is_empty() {
        return Err(Failure::missing_operand());
    }
    for_each("stat", &paths, |path| {
        let path = Path::new(path);
        let attributes = attributes::of(path, follow);
        let attributes = attributes.map_err(|error| Failure::at(format!("cannot stat '{}'", path.display()))(error))?;
        print!("{}", formatted(&format, path, &attributes));
        Ok(())
    })
}

fn unescape(text: &str) -> String {
    let escapes = [("\\n", "\n"), ("\\t", "\t"), ("\\0", "\0"), ("\\\\", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn formatted(format: &str, path: &Path, attributes: &Attributes) -> String {
    let mut output = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find(|next: char| !"-0123456789".contains(next)).unwrap_or(rest.len());
        let (flags, letter) = (&rest[..end], rest[end..].chars().next());
        rest = &rest[end + letter.map_or(0, char::len_utf8)..];
        let value = match letter {
            Some(letter) => value(letter, path, attributes),
            None => "%".to_owned(),
        };
        let width = flags.trim_start_matches(['-', '0']).parse::<usize>().unwrap_or(0).min(4096);
        output.push_str(&match flags.as_bytes().first() {
            Some(b'-') => format!("{value:<width$}"),
            Some(b'0') => format!("{value:0>width$}"),
            _ => format!("{value:>width$}"),
        });
    }
    output + rest
}

fn value(letter: char, path: &Path, attributes: &Attributes) -> String {
    match letter {
        'n' => path.display().to_string(),
        'N' => match fs::read_link(path) {
            Ok(target) if attributes.kind == FileType::Symlink => {
                format!("'{}' -> '{}'", path.display(), target.display())
            }
            _ => path.display().to_string(),
        },
        's' => attributes.size.to_string(),
        'b' => attributes.blocks().to_string(),
        'B' => "512".to_owned(),
        'o' => "4096".to_owned(),
        'F' => kind(attributes).to_owned(),
        'f' => format!("{:x}", attributes.mode | attributes.kind.as_raw_mode()),
        'a' => format!("{:o}", attributes.mode),
        'A' => attributes.mode_text(),
        'u' => attributes.uid.to_string(),
        'U' => accounts::user_name(attributes.uid),
        'g' => attributes.gid.to_string(),
        'G' => accounts::group_name(attributes.gid),
        'h' => attributes.links.to_string(),
        'i' => attributes.inode.to_string(),
        'd' => attributes.device.to_string(),
        'D' => format!("{:x}", attributes.device),
        't' | 'T' | 'W' => "0".to_owned(),
        'w' => "-".to_owned(),
        'x' => full_time(attributes.accessed),
        'y' => full_time(attributes.modified),
        'z' => full_time(attributes.changed),
        'X' => attributes.accessed.0.to_string(),
        'Y' => attributes.modified.0.to_string(),
        'Z' => attributes.changed.0.to_string(),
        'm' => mount_point(path),
        '%' => "%".to_owned(),
        _ => "?".to_owned(),
    }
}

fn kind(attributes: &Attributes) -> &'static str {
    match attributes.kind {
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::CharacterDevice => "character special file",
        FileType::RegularFile if attributes.size == 0 => "regular empty file",
        FileType::RegularFile => "regular file",
        _ => "fifo or socket",
    }
}

fn full_time(time: Time) -> String {
    time_text(time, "%Y-%m-%d %H:%M:%S") + &format!(".{:09} +0000", time.1)
}

fn mount_point(path: &Path) -> String {
    let (Ok(path), Ok(mounts)) = (fs::canonicalize(path), crate::procfs::mounts()) else { return "?".to_owned() };
    let holding = mounts.into_iter().filter(|mount| path.starts_with(&mount.target));
    let nearest = holding.max_by_key(|mount| mount.target.components().count());
    nearest.map_or_else(|| "/".to_owned(), |mount| mount.target.display().to_string())
}
