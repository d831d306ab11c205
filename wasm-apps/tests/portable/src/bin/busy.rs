//! Computes forever without calling the host. `busy N` stops after N million rounds and prints a checksum.

fn main() {
    let rounds = std::env::args().nth(1).and_then(|millions| millions.parse::<u64>().ok()).map(|n| n * 1_000_000);
    println!("busy");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut round = 0_u64;
    while rounds != Some(round) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state = std::hint::black_box(state);
        round += 1;
    }
    println!("{state:016x}");
}
