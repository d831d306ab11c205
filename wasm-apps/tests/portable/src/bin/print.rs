//! Prints what it was started with, one `key value` line each: arguments, environment, working directory, terminals,
//! and that the clock and the random numbers work.

use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime};

fn main() {
    for (index, argument) in std::env::args().enumerate() {
        println!("arg[{index}] {argument}");
    }
    for (name, value) in std::env::vars() {
        println!("env {name}={value}");
    }
    match std::env::current_dir() {
        Ok(directory) => println!("cwd {}", directory.display()),
        Err(error) => println!("cwd error: {error}"),
    }
    match std::fs::metadata(".").and_then(|_| std::fs::read_dir(".")) {
        Ok(entries) => {
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            println!("here {names:?}");
        }
        Err(error) => println!("here error: {error}"),
    }
    println!("tty {} {}", std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    println!("after-2020 {}", since_epoch > Duration::from_secs(1_577_836_800));
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    println!("slept {}", start.elapsed() >= Duration::from_millis(2));
    let random = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    println!("random {}", random() != random() || random() != random());
}
