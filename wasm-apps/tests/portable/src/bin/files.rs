//! `files COMMAND ARGUMENT…`: one filesystem operation per command, several separated by `,`; prints each result.
//! A failure prints the kind of error and goes on; the exit code is the number of failures.
//!
//! read F · write F TEXT · append F TEXT · mkdir D · mkdirs D · list D · remove F · rmdir D · rmtree D · rename A B ·
//! link A B · symlink TARGET LINK · readlink L · stat F · lstat F · truncate F N · copy A B ·
//! seek F OFFSET N · exists F · wait (until it is ended)

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut failures = 0;
    for command in arguments.split(|argument| argument == ",") {
        match run(&command.iter().map(String::as_str).collect::<Vec<_>>()) {
            Ok(output) => println!("{}: {output}", command.join(" ")),
            Err(error) => {
                println!("{}: error {:?}", command.join(" "), error.kind());
                failures += 1;
            }
        }
    }
    std::process::exit(failures);
}

fn run(command: &[&str]) -> io::Result<String> {
    let done = |result: io::Result<()>| result.map(|()| "ok".to_owned());
    match *command {
        ["read", file] => fs::read_to_string(file).map(|text| format!("{text:?}")),
        ["write", file, text] => done(fs::write(file, text)),
        ["append", file, text] => done(append(file, text)),
        ["mkdir", directory] => done(fs::create_dir(directory)),
        ["mkdirs", directory] => done(fs::create_dir_all(directory)),
        ["list", directory] => list(directory),
        ["remove", file] => done(fs::remove_file(file)),
        ["rmdir", directory] => done(fs::remove_dir(directory)),
        ["rmtree", directory] => done(fs::remove_dir_all(directory)),
        ["rename", from, to] => done(fs::rename(from, to)),
        ["link", from, to] => done(fs::hard_link(from, to)),
        ["symlink", target, link] => done(symlink(target, link)),
        ["readlink", link] => fs::read_link(link).map(|target| target.display().to_string()),
        ["stat", file] => fs::metadata(file).map(|metadata| describe(&metadata)),
        ["lstat", file] => fs::symlink_metadata(file).map(|metadata| describe(&metadata)),
        ["truncate", file, size] => done(truncate(file, number(size)?)),
        ["copy", from, to] => fs::copy(from, to).map(|count| format!("{count} bytes")),
        ["seek", file, offset, count] => seek(file, number(offset)?, number(count)?),
        ["exists", file] => fs::exists(file).map(|found| found.to_string()),
        ["wait"] => loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        },
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn append(file: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(file)?.write_all(text.as_bytes())
}

fn truncate(file: &str, size: u64) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.set_len(size)
}

fn list(directory: &str) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let mark = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push(format!("{}{mark}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    Ok(names.join(" "))
}

fn seek(file: &str, offset: u64, count: u64) -> io::Result<String> {
    let mut file = fs::File::open(file)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut text = String::new();
    file.take(count).read_to_string(&mut text)?;
    Ok(format!("{text:?}"))
}

fn describe(metadata: &fs::Metadata) -> String {
    let kind = match metadata.file_type() {
        kind if kind.is_symlink() => "symlink",
        kind if kind.is_dir() => "directory",
        kind if kind.is_file() => "file",
        _ => "other",
    };
    format!("{kind} {} bytes", metadata.len())
}

#[expect(deprecated, reason = "the only stable way to make a symbolic link here")]
fn symlink(target: &str, link: &str) -> io::Result<()> {
    fs::soft_link(target, link)
}
