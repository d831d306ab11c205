//! Accepts whoever connects to port 80, and lets go at once, for ever.

use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 80))?;
    loop {
        drop(listener.accept()?);
    }
}
