//! Traps three calls deep, so that a backtrace has something to show.

#[inline(never)]
fn outer(depth: u32) -> u32 {
    std::hint::black_box(middle(std::hint::black_box(depth))) + 1
}

#[inline(never)]
fn middle(depth: u32) -> u32 {
    std::hint::black_box(inner(std::hint::black_box(depth))) + 1
}

#[inline(never)]
fn inner(depth: u32) -> u32 {
    if std::hint::black_box(depth) < 10 {
        core::arch::wasm32::unreachable();
    }
    depth
}

fn main() {
    println!("about to trap");
    println!("not reached: {}", outer(1));
}
