//! `df`, `du`, `mount` and `umount`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::attributes;
use crate::failure::{Failure, for_each, reason};
use crate::options::{CommandLine, Item, flags, unknown};
use crate::procfs::{self, Mount};

pub(crate) const DF_USAGE: &str = "df [-hkmPTa] [FILE]...

Print the filesystems, or those FILEs are on, and how much room they have where that is known

  -h  For people    -k -m  In KiB, MiB    -T  With their types";

pub(crate) const DU_USAGE: &str = "du [-abchkmsx] [-d DEPTH] [FILE]...

Print how much room files take

  -s  Only sums    -a  All files    -c  A total    -d DEPTH  Folders up to this deep
  -h  For people   -k -m  In KiB, MiB    -b  In bytes, as long as they are";

pub(crate) const MOUNT_USAGE: &str = "mount

Print what is mounted. Mounting is for the pod's manifest: spec.volumes and volumeMounts";

pub(crate) const UMOUNT_USAGE: &str = "umount DIR

Unmounting is for the pod's manifest: spec.volumes and volumeMounts";

pub(crate) fn mount(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut line = CommandLine::new(arguments);
    let (mut operands, mut kind) = (0, None);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(_) => operands += 1,
            Item::Option(option) => match option.as_str() {
                "t" => kind = Some(line.text()?),
                "o" => drop(line.value()?),
                "a" => operands += 1,
                "l" | "r" | "w" | "n" | "v" => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    if operands > 0 {
        return Err(Failure::usage(
            "permission denied: containers cannot mount; declare spec.volumes and volumeMounts",
        ));
    }
    for Mount { source, target, kind: found, options } in procfs::mounts()? {
        if kind.as_ref().is_none_or(|kind| *kind == found) {
            println!("{} on {} type {found} ({options})", source.display(), target.display());
        }
    }
    Ok(0)
}

pub(crate) fn umount(_: Vec<OsString>) -> Result<u8, Failure> {
    Err(Failure::usage("permission denied: containers cannot unmount; volumes are declared in the pod's manifest"))
}

/// A size as `-h` shows it: `1.5M`.
pub(crate) fn human(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["", "K", "M", "G", "T", "P"] {
        if size < 1024.0 {
            return if unit.is_empty() || size >= 10.0 {
                format!("{size:.0}{unit}")
            } else {
                format!("{size:.1}{unit}")
            };
        }
        size /= 1024.0;
    }
    format!("{size:.0}E")
}

pub(crate) fn df(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let long = [("human-readable", 'h'), ("portability", 'P'), ("print-type", 'T'), ("all", 'a'), ("inodes", 'i')];
    let (flags, paths) = flags(arguments, "hkmPTai", &long)?;
    let show = |kib: u64| match flags.contains('h') {
        true => human(kib * 1024),
        false if flags.contains('m') => kib.div_ceil(1024).to_string(),
        false => kib.to_string(),
    };
    let heading = match flags.chars().rfind(|flag| "hm".contains(*flag)) {
        Some('h') => "Size",
        Some(_) => "1M-blocks",
        None => "1K-blocks",
    };
    let mounts = procfs::mounts()?;
    let mut rows: Vec<&Mount> = Vec::new();
    let mut code = 0;
    for path in &paths {
        match fs::canonicalize(path) {
            Ok(absolute) => rows.extend(
                mounts
                    .iter()
                    .filter(|mount| absolute.starts_with(&mount.target))
                    .max_by_key(|mount| mount.target.components().count()),
            ),
            Err(error) => {
                eprintln!("df: {}: {}", path.display(), reason(&error));
                code = 1;
            }
        }
    }
    if paths.is_empty() {
        rows.extend(&mounts);
    }
    let kind = |kind: &str| if flags.contains('T') { format!(" {kind:<10}") } else { String::new() };
    println!(
        "{:<20}{} {heading:>10} {:>10} {:>10} {:>4} Mounted on",
        "Filesystem",
        kind("Type"),
        "Used",
        "Available",
        "Use%"
    );
    for mount in rows {
        let [total, used, available, share] = match attributes::room(&mount.target) {
            Ok(room) => {
                let used = room.total.saturating_sub(room.available);
                let share = (used * 100).div_ceil(room.total.max(1));
                [show(room.total), show(used), show(room.available), format!("{share}%")]
            }
            Err(_) => ["-"; 4].map(str::to_owned),
        };
        let source = mount.source.to_string_lossy();
        let (kind, target) = (kind(&mount.kind), mount.target.display());
        println!("{source:<20}{kind} {total:>10} {used:>10} {available:>10} {share:>4} {target}");
    }
    Ok(code)
}

/// How `du` counts.
struct Usage {
    all: bool,
    bytes: bool,
    one_device: bool,
    max_depth: usize,
    unit: u64,
    human: bool,
    /// Files with several links count once.
    seen: HashSet<(u64, u64)>,
    code: u8,
}

/// How deep folders may be nested.
const MAX_DEPTH: usize = 1024;

pub(crate) fn du(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut usage = Usage {
        all: false,
        bytes: false,
        one_device: false,
        max_depth: usize::MAX,
        unit: 1024,
        human: false,
        seen: HashSet::new(),
        code: 0,
    };
    let (mut total, mut paths) = (false, Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(path) => paths.push(PathBuf::from(path)),
            Item::Option(option) => match option.as_str() {
                "a" | "all" => usage.all = true,
                "b" | "bytes" => (usage.bytes, usage.unit) = (true, 1),
                "c" | "total" => total = true,
                "d" | "max-depth" => usage.max_depth = line.number()?,
                "h" | "human-readable" => usage.human = true,
                "k" => usage.unit = 1024,
                "m" => usage.unit = 1024 * 1024,
                "s" | "summarize" => usage.max_depth = 0,
                "x" | "one-file-system" => usage.one_device = true,
                "apparent-size" => usage.bytes = true,
                "l" | "L" | "D" | "H" => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    if paths.is_empty() {
        paths.push(PathBuf::from("."));
    }
    let mut sum = 0;
    let code = for_each("du", &paths, |path| {
        let device = attributes::of(path, true).map_err(Failure::at(path))?.device;
        sum += usage.measure(path, 0, device);
        Ok(())
    })?;
    if total {
        usage.print(sum, Path::new("total"));
    }
    Ok(code | usage.code)
}

impl Usage {
    /// Prints what a file and all below it take, and gives it.
    fn measure(&mut self, path: &Path, depth: usize, device: u64) -> u64 {
        let attributes = match attributes::of(path, depth == 0) {
            Ok(attributes) => attributes,
            Err(error) => return self.complain(path, &error),
        };
        if attributes.links > 1
            && attributes.kind != FileType::Directory
            && !self.seen.insert((attributes.device, attributes.inode))
        {
            return 0;
        }
        let mut size = if self.bytes { attributes.size } else { attributes.size.div_ceil(4096) * 4096 };
        let folder = attributes.kind == FileType::Directory;
        if folder && depth < MAX_DEPTH && !(self.one_device && attributes.device != device) {
            match fs::read_dir(path) {
                Ok(entries) => {
                    size += entries.flatten().map(|entry| self.measure(&entry.path(), depth + 1, device)).sum::<u64>();
                }
                Err(error) => return self.complain(path, &error),
            }
        }
        if depth <= self.max_depth && (folder || self.all || depth == 0) {
            self.print(size, path);
        }
        size
    }

    fn print(&self, size: u64, path: &Path) {
        if self.human {
            println!("{}\t{}", human(size), path.display());
        } else {
            println!("{}\t{}", size.div_ceil(self.unit), path.display());
        }
    }

    fn complain(&mut self, path: &Path, error: &std::io::Error) -> u64 {
        eprintln!("du: {}: {}", path.display(), reason(error));
        self.code = 1;
        0
    }
}
