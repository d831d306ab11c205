//! Catches TERM through `husk:process/signals`, prints a line, and ends with 0 when it arrives.
//! `signals ignore` catches TERM and goes on, so that only KILL ends it.

use husk_process::signals::{Signal, catch, subscribe, take};

fn main() {
    catch(&[Signal::Term]);
    let arrived = subscribe();
    let ignore = std::env::args().nth(1).is_some_and(|argument| argument == "ignore");
    println!("waiting");
    loop {
        arrived.block();
        while let Some(signal) = take() {
            println!("got {signal:?}");
            if !ignore {
                return;
            }
        }
    }
}
