//! Serves on the listening socket preopened as descriptor 4: answers each connection with what it sent, upper-cased,
//! until one sends `quit`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;

const FIRST_LISTENER: i32 = 4;

fn main() -> std::io::Result<()> {
    // SAFETY: the host preopens the first declared port at this number; nothing else in this program uses it.
    let listener = unsafe { TcpListener::from_raw_fd(FIRST_LISTENER) };
    println!("listening");
    loop {
        let (mut connection, _) = listener.accept()?;
        let mut buffer = [0; 4096];
        loop {
            let count = connection.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            connection.write_all(&buffer[..count].to_ascii_uppercase())?;
            if buffer.starts_with(b"quit") {
                return Ok(());
            }
        }
    }
}
