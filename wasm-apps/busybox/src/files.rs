//! Applets that change or list the filesystem: cp, ln, ls, mkdir, mv, rm, rmdir, sync, touch.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lexopt::prelude::*;

use crate::{Failure, for_each};

/// The options given, as single letters, and the other arguments.
struct Given {
    flags: String,
    paths: Vec<PathBuf>,
}

impl Given {
    /// Accepts the single-letter options in `known`; long options are accepted by the letter `long` gives them.
    fn parse(arguments: Vec<OsString>, known: &str, long: &[(&str, char)]) -> Result<Self, Failure> {
        let mut given = Self { flags: String::new(), paths: Vec::new() };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Short(flag) if known.contains(flag) => given.flags.push(flag),
                Long(name) => match long.iter().find(|(known, _)| *known == name) {
                    Some((_, flag)) => given.flags.push(*flag),
                    None => return Err(argument.unexpected().into()),
                },
                Value(path) => given.paths.push(PathBuf::from(path)),
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(given)
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn some_paths(self) -> Result<Self, Failure> {
        if self.paths.is_empty() { Err(Failure::Usage("missing operand".to_owned())) } else { Ok(self) }
    }

    /// Splits sources from the destination, and says where each source goes: into it, if it is a directory.
    fn destinations(&self) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        let Some((destination, sources)) = self.paths.split_last().filter(|(_, sources)| !sources.is_empty()) else {
            return Err(Failure::Usage("missing destination".to_owned()));
        };
        if destination.is_dir() && !self.has('T') {
            let inside = |source: &PathBuf| destination.join(source.file_name().unwrap_or(source.as_os_str()));
            return Ok(sources.iter().map(|source| (source.clone(), inside(source))).collect());
        }
        match sources {
            [source] => Ok(vec![(source.clone(), destination.clone())]),
            _ => Err(Failure::File(destination.clone(), io::Error::other("Not a directory"))),
        }
    }
}

pub(crate) fn mkdir(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let given = Given::parse(arguments, "p", &[("parents", 'p')])?.some_paths()?;
    Ok(for_each("mkdir", &given.paths, |path| {
        if given.has('p') { fs::create_dir_all(path) } else { fs::create_dir(path) }.map_err(Failure::at(path))
    }))
}

pub(crate) fn rmdir(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let given = Given::parse(arguments, "", &[])?.some_paths()?;
    Ok(for_each("rmdir", &given.paths, |path| fs::remove_dir(path).map_err(Failure::at(path))))
}

pub(crate) fn rm(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let given = Given::parse(arguments, "rRf", &[("recursive", 'r'), ("force", 'f')])?;
    let given = if given.has('f') { given } else { given.some_paths()? };
    Ok(for_each("rm", &given.paths, |path| match remove(path, given.has('r') || given.has('R')) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && given.has('f') => Ok(()),
        result => result.map_err(Failure::at(path)),
    }))
}

fn remove(path: &Path, recursive: bool) -> io::Result<()> {
    let directory = fs::symlink_metadata(path)?.is_dir();
    match (directory, recursive) {
        (false, _) => fs::remove_file(path),
        (true, true) => fs::remove_dir_all(path),
        (true, false) => Err(io::Error::other("Is a directory")),
    }
}

pub(crate) fn touch(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let given = Given::parse(arguments, "c", &[("no-create", 'c')])?.some_paths()?;
    Ok(for_each("touch", &given.paths, |path| {
        let opened = OpenOptions::new().write(true).create(!given.has('c')).truncate(false).open(path);
        match opened.and_then(|file| file.set_modified(SystemTime::now())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && given.has('c') => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(()),
            result => result.map_err(Failure::at(path)),
        }
    }))
}

pub(crate) fn cp(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let given = Given::parse(arguments, "rRapfTv", &[("recursive", 'r'), ("archive", 'a'), ("verbose", 'v')])?;
    let recursive = ['r', 'R', 'a'].iter().any(|flag| given.has(*flag));
    let mut code = 0;
    for (source, destination) in given.destinations()? {
        code |= for_each("cp", std::slice::from_ref(&source), |source| {
            if given.has('v') {
                println!("'{}' -> '{}'", source.display(), destination.display());
            }
            if recursive { copy_tree(source, &destination) } else { copy_file(source, &destination) }
        });
    }
    Ok(code)
}

fn copy_file(source: &Path, destination: &Path) -> Result<(), Failure> {
    if fs::metadata(source).map_err(Failure::at(source))?.is_dir() {
        return Err(Failure::Usage(format!("omitting directory '{}'", source.display())));
    }
    let mut input = File::open(source).map_err(Failure::at(source))?;
    let mut output = File::create(destination).map_err(Failure::at(destination))?;
    io::copy(&mut input, &mut output).map(|_| ()).map_err(Failure::at(destination))
}

/// Copies directories, files and symbolic links (as links) below `source`.
fn copy_tree(source: &Path, destination: &Path) -> Result<(), Failure> {
    let metadata = fs::symlink_metadata(source).map_err(Failure::at(source))?;
    if metadata.is_symlink() {
        let target = fs::read_link(source).map_err(Failure::at(source))?;
        return symlink(&target, destination).map_err(Failure::at(destination));
    }
    if !metadata.is_dir() {
        return copy_file(source, destination);
    }
    // Listed before the destination is made: it may be inside the source.
    let entries =
        fs::read_dir(source).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(Failure::at(source))?;
    match fs::create_dir(destination) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(Failure::at(destination)(error)),
        _ => {}
    }
    for entry in entries {
        copy_tree(&entry.path(), &destination.join(entry.file_name()))?;
    }
    Ok(())
}

pub(crate) fn mv(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let given = Given::parse(arguments, "fT", &[("force", 'f')])?;
    let mut code = 0;
    for (source, destination) in given.destinations()? {
        code |= for_each("mv", std::slice::from_ref(&source), |source| match fs::rename(source, &destination) {
            // Another filesystem, such as a volume: copy and remove.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                copy_tree(source, &destination)?;
                remove(source, true).map_err(Failure::at(source))
            }
            result => result.map_err(Failure::at(source)),
        });
    }
    Ok(code)
}

pub(crate) fn ln(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut given = Given::parse(arguments, "sfnT", &[("symbolic", 's'), ("force", 'f')])?.some_paths()?;
    if given.paths.len() == 1 {
        given.paths.push(PathBuf::from("."));
    }
    let mut code = 0;
    for (target, link) in given.destinations()? {
        code |= for_each("ln", std::slice::from_ref(&link), |link| {
            if given.has('f') && fs::symlink_metadata(link).is_ok_and(|metadata| !metadata.is_dir()) {
                fs::remove_file(link).map_err(Failure::at(link))?;
            }
            if given.has('s') { symlink(&target, link) } else { fs::hard_link(&target, link) }
                .map_err(Failure::at(link))
        });
    }
    Ok(code)
}

#[expect(deprecated, reason = "the only stable way to make a symbolic link on this target")]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    fs::soft_link(target, link)
}

/// Nothing to do: what is written is with the host at once.
pub(crate) fn sync(_: Vec<OsString>) -> Result<u8, Failure> {
    Ok(0)
}

pub(crate) fn ls(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut given = Given::parse(arguments, "aAl1dFRh", &[("all", 'a'), ("almost-all", 'A'), ("directory", 'd')])?;
    if given.paths.is_empty() {
        given.paths.push(PathBuf::from("."));
    }
    let several = given.paths.len() > 1;
    Ok(for_each("ls", &given.paths, |path| {
        let metadata = fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).map_err(Failure::at(path))?;
        if !metadata.is_dir() || given.has('d') {
            println!("{}", row(&given, path, &path.display().to_string()));
            return Ok(());
        }
        list(&given, path, several || given.has('R'))
    }))
}

fn list(given: &Given, directory: &Path, titled: bool) -> Result<(), Failure> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(Failure::at(directory))?;
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| given.has('a') || given.has('A') || !name.starts_with('.'));
    if given.has('a') {
        names.extend([".".to_owned(), "..".to_owned()]);
    }
    names.sort();
    if titled {
        println!("{}:", directory.display());
    }
    for name in &names {
        println!("{}", row(given, &directory.join(name), name));
    }
    if given.has('R') {
        for name in names.iter().filter(|name| *name != "." && *name != "..") {
            let path = directory.join(name);
            if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                println!();
                list(given, &path, true)?;
            }
        }
    }
    Ok(())
}

/// One entry: its name, and with `-l` its kind, size and link target. WASI shows neither owner nor permissions.
fn row(given: &Given, path: &Path, name: &str) -> String {
    let metadata = fs::symlink_metadata(path).ok();
    let kind = kind(metadata.as_ref());
    let mark = match kind {
        'd' if given.has('F') => "/",
        'l' if given.has('F') && !given.has('l') => "@",
        _ => "",
    };
    if !given.has('l') {
        return format!("{name}{mark}");
    }
    let size = metadata.map_or(0, |metadata| metadata.len());
    let target = fs::read_link(path).map(|target| format!(" -> {}", target.display())).unwrap_or_default();
    format!("{kind} {size:>10} {name}{mark}{target}")
}

fn kind(metadata: Option<&Metadata>) -> char {
    match metadata {
        None => '?',
        Some(metadata) if metadata.is_symlink() => 'l',
        Some(metadata) if metadata.is_dir() => 'd',
        Some(metadata) if metadata.is_file() => '-',
        Some(_) => 'c',
    }
}
