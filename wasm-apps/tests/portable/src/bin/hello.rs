//! Greets on standard output, and says on standard error how it was started.

fn main() {
    println!("hello from wasm");
    eprintln!("{} argument(s)", std::env::args().count() - 1);
}
