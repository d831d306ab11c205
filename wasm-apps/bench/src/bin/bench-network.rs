//! `bench-network serve|request ADDRESS` is one of the two ends, see [`bench::network`].

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(role), Some(Ok(address))) = (args.next(), args.next().map(|address| address.parse())) else {
        panic!("usage: bench-network serve|request ADDRESS");
    };
    if role == "serve" { bench::network::serve(address) } else { bench::network::request(address) }
}
