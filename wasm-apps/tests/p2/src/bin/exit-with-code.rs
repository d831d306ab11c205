//! `exit-with-code CODE`: ends with that code through `wasi:cli/exit.exit-with-code`, which std does not use.

fn main() {
    let code = std::env::args().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    wasip2::cli::exit::exit_with_code(code);
}
