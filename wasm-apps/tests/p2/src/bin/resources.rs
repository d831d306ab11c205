//! Makes one `wasi:io` resource after the other and drops none.

use wasip2::clocks::monotonic_clock::subscribe_duration;

fn main() {
    println!("hoarding");
    loop {
        std::mem::forget(subscribe_duration(u64::MAX));
    }
}
