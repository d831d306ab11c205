//! Does one thing with processes, as its first argument says, mostly with copies of itself.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::Duration;

use husk_process::{
    Action, Group, Pid, Signal, SignalSet, Spawn, Status, Target, duplicate, identity, kill, memory_file, pipe,
    set_action, take_signal, try_wait, wait,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["exit", code] => return ExitCode::from(code.parse::<u8>().unwrap()),
        ["sleep"] => std::thread::sleep(Duration::from_secs(3600)),
        ["print", text] => println!("{text}"),
        ["environment"] => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        ["read"] => print!("{}", std::io::read_to_string(std::io::stdin()).unwrap()),
        ["yes"] => loop {
            println!("y");
        },
        ["status", rest @ ..] => println!("{:?}", finished(&spawn(rest))),
        ["program", program, rest @ ..] => println!("{:?}", start(Some(program), rest, &standard()).map(|_| ())),
        ["environment-of-child"] => environment_of_child(),
        ["pipeline"] => pipeline(),
        ["shared-position"] => shared_position(),
        ["descriptors"] => descriptors(),
        ["bomb"] => bomb(),
        ["signals"] => signals(),
        ["leave-a-child"] => drop(start(None, &["sleep"], &[]).unwrap()),
        ["orphan"] => orphan(),
        ["identity"] => println!("{:?}", identity()),
        ["broken-pipe", action] => broken_pipe(action),
        other => panic!("{other:?}"),
    }
    ExitCode::SUCCESS
}

fn standard() -> Vec<(u32, BorrowedFd<'static>)> {
    // SAFETY: the standard streams stay open.
    (0_u32..3).map(|fd| (fd, unsafe { BorrowedFd::borrow_raw(fd.cast_signed()) })).collect()
}

fn start(program: Option<&str>, words: &[&str], descriptors: &[(u32, BorrowedFd<'_>)]) -> std::io::Result<Pid> {
    let argv: Vec<&OsStr> = ["child"].iter().chain(words).map(OsStr::new).collect();
    let env: Vec<OsString> = std::env::vars().map(|(name, value)| format!("{name}={value}").into()).collect();
    let env: Vec<&OsStr> = env.iter().map(OsString::as_os_str).collect();
    let spawn = Spawn {
        program: program.map(OsStr::new),
        argv: &argv,
        env: &env,
        working_directory: OsStr::new("/"),
        descriptors,
        ignored: SignalSet::EMPTY,
        group: Group::Inherit,
    };
    spawn.spawn()
}

fn spawn(words: &[&str]) -> Pid {
    start(None, words, &standard()).unwrap()
}

fn finished(pid: &Pid) -> Status {
    wait(Some(*pid)).unwrap().1
}

fn environment_of_child() {
    let spawn = Spawn {
        program: None,
        argv: &[OsStr::new("child"), OsStr::new("environment")],
        env: &[OsStr::new("A=1"), OsStr::new("B=x=y")],
        working_directory: OsStr::new("/tmp"),
        descriptors: &standard(),
        ignored: SignalSet::EMPTY,
        group: Group::Inherit,
    };
    finished(&spawn.spawn().unwrap());
}

/// `yes | read-a-little`, then `print | read`.
fn pipeline() {
    let (reading, writing) = pipe().unwrap();
    let [_, _, error] = standard().try_into().unwrap();
    let writer = start(None, &["yes"], &[(1, writing.as_fd()), error]).unwrap();
    drop(writing);
    let mut reader = File::from(reading);
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).unwrap();
    drop(reader);
    println!("{bytes:?} {:?}", finished(&writer));

    let (reading, writing) = pipe().unwrap();
    let [_, output, error] = standard().try_into().unwrap();
    let reader = start(None, &["read"], &[(0, reading.as_fd()), output, error]).unwrap();
    let writer = start(None, &["print", "through"], &[(1, writing.as_fd()), error]).unwrap();
    drop((reading, writing));
    println!("{:?} {:?}", finished(&writer), finished(&reader));
}

/// Children write one after the other to the file their parent opened.
fn shared_position() {
    let mut file = File::from(memory_file().unwrap());
    writeln!(file, "parent").unwrap();
    for text in ["first", "second"] {
        finished(&start(None, &["print", text], &[(1, file.as_fd())]).unwrap());
    }
    let copy = duplicate(file.as_fd()).unwrap();
    File::from(copy).rewind().unwrap();
    print!("{}", std::io::read_to_string(file).unwrap());
}

/// A child with descriptor 3 taken still finds its files.
fn descriptors() {
    let (reading, writing) = pipe().unwrap();
    let [input, output, error] = standard().try_into().unwrap();
    let given = [input, output, error, (3, reading.as_fd()), (4, writing.as_fd())];
    let child = start(None, &["environment-of-child"], &given).unwrap();
    println!("{:?}", finished(&child));
    println!("{:?}", start(None, &["exit", "0"], &[]).map(|pid| finished(&pid)));
}

/// Starts processes until there may be no more.
fn bomb() {
    let mut count = 0;
    let error = loop {
        match start(None, &["sleep"], &[]) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    println!("{count} {:?}", error.kind());
    kill(Target::All, Some(Signal::KILL)).unwrap();
    while wait(None).is_ok() {}
    println!("{:?}", finished(&spawn(&["exit", "0"])));
}

fn signals() {
    set_action(Signal::CHLD, Action::Catch).unwrap();
    let child = start(None, &["sleep"], &[]).unwrap();
    println!("{:?}", try_wait(Some(child)).map_err(|error| error.kind()));
    kill(Target::Process(child), Some(Signal::TERM)).unwrap();
    println!("{:?} {:?}", finished(&child), take_signal().map(Signal::name));
    println!("{:?}", kill(Target::Process(child), None).map_err(|error| error.raw_os_error()));

    println!("{:?}", set_action(Signal::USR1, Action::Catch));
    let child = start(None, &["sleep"], &[]).unwrap();
    kill(Target::Process(identity().pid), Some(Signal::USR1)).unwrap();
    println!("{:?}", wait(Some(child)).map_err(|error| error.kind()));
    println!("{:?}", take_signal().map(Signal::name));
    kill(Target::Process(child), Some(Signal::KILL)).unwrap();
    println!("{:?}", finished(&child));
    println!("{:?}", set_action(Signal::KILL, Action::Ignore).map_err(|error| error.kind()));
}

/// A child that outlives its parent has none any more.
fn orphan() {
    let middle = start(None, &["leave-a-child"], &[]).unwrap();
    println!("{:?} {:?}", finished(&middle), wait(None).map_err(|error| error.raw_os_error()));
}

fn broken_pipe(action: &str) {
    if action == "ignore" {
        set_action(Signal::PIPE, Action::Ignore).unwrap();
    }
    let (reading, writing) = pipe().unwrap();
    drop(reading);
    println!("{:?}", File::from(writing).write(b"x").map_err(|error| error.kind()));
}
