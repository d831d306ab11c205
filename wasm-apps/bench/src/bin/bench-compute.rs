//! `bench-compute WORKLOAD` computes, see [`bench::compute`].

fn main() {
    bench::compute::run(&std::env::args().nth(1).unwrap_or_default());
}
