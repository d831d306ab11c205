//! Computing without calling the host: arithmetic in registers, loops over memory, and calls.

use std::hint::black_box;

use super::now;

/// Rounds of the arithmetic loop; about a second.
const ARITHMETIC_ROUNDS: u64 = 400_000_000;

/// Numbers sieved, and how often.
const SIEVE_SIZE: usize = 1 << 20;
const SIEVE_ROUNDS: u32 = 120;

/// Which Fibonacci number is computed by recursion.
const FIBONACCI_INDEX: u32 = 40;

/// Runs the workload of this name and prints `elapsed-ns`.
pub fn run(workload: &str) {
    let begun = now();
    let result = match workload {
        "arithmetic" => arithmetic(),
        "sieve" => sieve(),
        "calls" => fibonacci(black_box(FIBONACCI_INDEX)),
        other => panic!("no workload is called {other:?}"),
    };
    println!("elapsed-ns {}", begun.elapsed().as_nanos());
    println!("checksum {result}");
}

fn arithmetic() -> u64 {
    let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..ARITHMETIC_ROUNDS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

fn sieve() -> u64 {
    let mut primes = 0;
    for _ in 0..SIEVE_ROUNDS {
        let mut composite = black_box(vec![false; SIEVE_SIZE]);
        for number in 2..SIEVE_SIZE {
            if composite[number] {
                continue;
            }
            primes += 1;
            let mut multiple = number * 2;
            while multiple < SIEVE_SIZE {
                composite[multiple] = true;
                multiple += number;
            }
        }
    }
    primes
}

fn fibonacci(index: u32) -> u64 {
    if index < 2 { u64::from(index) } else { fibonacci(index - 1) + fibonacci(index - 2) }
}
