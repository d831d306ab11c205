//! `exit CODE`: ends with that code. (As a 0.2 component, std can say no more than success or failure.)

fn main() {
    let code = std::env::args().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    std::process::exit(code);
}
