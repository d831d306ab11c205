//! `hostile WHAT`: takes all it can get of one thing until it is refused, and says how much that was.
//!
//! files DIRECTORY · names DIRECTORY · tree · recursion · output · symlinks; `hold DIRECTORY files` keeps what it took, tells by the file
//! `full` in DIRECTORY, and ends when there is `done`; `beside DIRECTORY` waits for `full`, works, and makes `done`.

use std::fs::{self, File};
use std::io::{Error, Write};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(5);
/// What no test means to reach.
const PLENTY: usize = 2_000_000;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["files", directory] => drop(files(directory)),
        ["names", directory] => names(directory),
        ["tree"] => tree(),
        ["recursion"] => println!("{}", recursion(1)),
        ["output"] => output()?,
        ["symlinks"] => symlinks()?,
        ["hold", directory, "files"] => {
            let taken = files(directory);
            hold(directory, taken)?;
        }
        ["beside", directory] => beside(directory)?,
        _ => std::process::exit(2),
    }
    Ok(())
}

fn files(directory: &str) -> Vec<File> {
    let mut open = Vec::new();
    loop {
        match File::create(format!("{directory}/one")) {
            Ok(file) if open.len() < PLENTY => open.push(file),
            Ok(_) => break,
            Err(error) => {
                println!("refused: {:?}", error.raw_os_error());
                break;
            }
        }
    }
    println!("{} files", open.len());
    open
}

fn names(directory: &str) {
    for count in 0..PLENTY {
        if let Err(error) = fs::create_dir(format!("{directory}/{count}")) {
            println!("refused after {count}: {:?}", error.kind());
            return;
        }
    }
}

/// Directories in directories.
fn tree() {
    let mut path = String::from("/tmp");
    for depth in 0..PLENTY {
        path.push_str("/d");
        if let Err(error) = fs::create_dir(&path) {
            println!("refused at depth {depth}: {:?}", error.kind());
            return;
        }
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn recursion(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 16]);
    recursion(frame[0] + 1) + std::hint::black_box(frame)[1]
}

/// One line without end.
fn output() -> Result<(), Error> {
    let block = [b'x'; 64 * 1024];
    loop {
        std::io::stdout().write_all(&block)?;
    }
}

#[expect(deprecated, reason = "the only stable way to make a symbolic link here")]
fn symlinks() -> Result<(), Error> {
    fs::soft_link("b", "/tmp/a")?;
    fs::soft_link("a", "/tmp/b")?;
    fs::soft_link(".", "/tmp/self")?;
    fs::soft_link("../../../../../../../..", "/tmp/up")?;
    println!("loop: {:?}", File::open("/tmp/a").map_err(|error| error.kind()).err());
    println!("self: {:?}", fs::metadata(format!("/tmp/{}", "self/".repeat(100))).map_err(|error| error.kind()).err());
    let above = |path: &str| fs::symlink_metadata(format!("{path}/tmp/self")).is_ok();
    println!("up: {} {}", above("/tmp/up"), above(&format!("/tmp{}", "/..".repeat(1000))));
    println!("long: {}", fs::metadata("/..".repeat(100_000)).is_err());
    Ok(())
}

fn hold<T>(directory: &str, taken: Vec<T>) -> Result<(), Error> {
    // Descriptors are what there is none of any more.
    let spare = taken.len().saturating_sub(8);
    let mut taken = taken;
    drop(taken.drain(spare..).collect::<Vec<_>>());
    File::create(format!("{directory}/full"))?;
    while !fs::exists(format!("{directory}/done"))? {
        std::thread::sleep(POLL);
    }
    println!("held {}", if taken.is_empty() { "nothing" } else { "on" });
    Ok(())
}

fn beside(directory: &str) -> Result<(), Error> {
    while !fs::exists(format!("{directory}/full"))? {
        std::thread::sleep(POLL);
    }
    fs::write("/tmp/work", "work")?;
    println!("could {}", fs::read_to_string("/tmp/work")?);
    File::create(format!("{directory}/done"))?;
    Ok(())
}
