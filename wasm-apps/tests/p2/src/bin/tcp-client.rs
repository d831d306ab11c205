//! `tcp-client ADDRESS TEXT`: sends TEXT, half-closes, and prints the answer; retries a refused connection for a while.
//! `tcp-client ADDRESS --once TEXT` does not retry and prints the kind of error.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, once, text) = match arguments.as_slice() {
        [address, once, text] if once == "--once" => (address, true, text),
        [address, text] => (address, false, text),
        _ => return Err(ErrorKind::InvalidInput.into()),
    };
    let mut connection = match connect(address, if once { 1 } else { ATTEMPTS }) {
        Ok(connection) => connection,
        Err(error) => {
            println!("connect: {:?}", error.kind());
            std::process::exit(1);
        }
    };
    connection.write_all(text.as_bytes())?;
    connection.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    println!("answer {answer}");
    Ok(())
}

fn connect(address: &str, attempts: u32) -> std::io::Result<TcpStream> {
    let mut attempt = 1;
    loop {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && attempt < attempts => {
                attempt += 1;
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}
