//! `nslookup NAME`: the addresses of a name, as the pod's own resolver gives them.

use std::ffi::OsString;
use std::net::ToSocketAddrs;

pub(crate) fn main(arguments: Vec<OsString>) -> Result<(), String> {
    let [name] = arguments.as_slice() else { return Err("usage: nslookup NAME".to_owned()) };
    let name = name.to_string_lossy();
    let found = (name.as_ref(), 0).to_socket_addrs().map(|found| found.map(|found| found.ip()).collect::<Vec<_>>());
    match found {
        Ok(mut addresses) if !addresses.is_empty() => {
            addresses.dedup();
            println!("Name:\t{name}");
            for address in addresses {
                println!("Address: {address}");
            }
            Ok(())
        }
        _ => Err(format!("can't resolve '{name}'")),
    }
}
