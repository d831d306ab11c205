//! A component that starts copies of itself.

use std::io::{Read, Write};

use husk_process::processes::{
    Child, ExitStatus, Input, Output, PipeReader, PipeWriter, SpawnOptions, kill, pid, pipe, spawn,
};
use husk_process::signals::Signal;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["print", text] => println!("{text}"),
        ["read"] => print!("{}", std::io::read_to_string(std::io::stdin()).unwrap()),
        ["yes"] => loop {
            println!("y");
        },
        ["fail"] => std::process::exit(1),
        ["sleep"] => std::thread::sleep(std::time::Duration::from_secs(3600)),
        _ => tell(),
    }
}

fn options(words: &[&str], stdin: Input, stdout: Output) -> SpawnOptions {
    SpawnOptions {
        program: "app".to_owned(),
        argv: std::iter::once("app").chain(words.iter().copied()).map(str::to_owned).collect(),
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        working_directory: "/tmp".to_owned(),
        stdin,
        stdout,
        stderr: Output::Inherit,
        ignored: Vec::new(),
        new_group: false,
    }
}

fn start(words: &[&str], stdin: Input, stdout: Output) -> Child {
    spawn(options(words, stdin, stdout)).unwrap()
}

fn finished(child: &Child) -> ExitStatus {
    child.subscribe().block();
    child.try_wait().unwrap()
}

fn tell() {
    println!("pid {}", pid());
    println!("{:?}", finished(&start(&["print", "inherited"], Input::Null, Output::Inherit)));
    println!("{:?}", finished(&start(&["fail"], Input::Null, Output::Inherit)));

    let (reader, writer) = pipe();
    let printing = start(&["print", "piped"], Input::Null, Output::Piped(writer));
    let reading = start(&["read"], Input::Piped(reader), Output::Inherit);
    println!("{:?} {:?}", finished(&printing), finished(&reading));

    let (reader, writer) = pipe();
    let endless = start(&["yes"], Input::Null, Output::Piped(writer));
    let stream = PipeReader::into_stream(reader);
    println!("{:?}", stream.blocking_read(2));
    drop(stream);
    println!("{:?}", finished(&endless));

    let (reader, writer) = pipe();
    let reading = start(&["read"], Input::Piped(reader), Output::Inherit);
    let stream = PipeWriter::into_stream(writer);
    stream.blocking_write_and_flush(b"from the parent\n").unwrap();
    drop(stream);
    println!("{:?}", finished(&reading));

    files();
    let sleeping = start(&["sleep"], Input::Null, Output::Inherit);
    println!("{:?}", sleeping.try_wait());
    kill(sleeping.pid(), Signal::Term).unwrap();
    println!("{:?} {}", finished(&sleeping), sleeping.kill(Signal::Kill).unwrap_err().name());

    let missing = SpawnOptions { program: "/nothing".to_owned(), ..options(&[], Input::Null, Output::Null) };
    let no_input = options(&[], Input::File("gone".to_owned()), Output::Null);
    let merged = SpawnOptions { stdout: Output::ToStdout, ..options(&[], Input::Null, Output::Null) };
    for refused in [missing, no_input, merged] {
        println!("{}", spawn(refused).unwrap_err().name());
    }
}

/// Children write to files by name, relative to their directory, and read them.
fn files() {
    std::fs::create_dir_all("/tmp").unwrap();
    for output in [Output::Truncate("out".to_owned()), Output::Append("out".to_owned())] {
        finished(&start(&["print", "line"], Input::Null, output));
    }
    let mut text = String::new();
    std::fs::File::open("/tmp/out").unwrap().read_to_string(&mut text).unwrap();
    println!("{text:?}");
    finished(&start(&["read"], Input::File("out".to_owned()), Output::Inherit));
    std::io::stdout().flush().unwrap();
}
