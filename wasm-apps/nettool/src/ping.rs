//! `ping`: says why there is none. WebAssembly programs have TCP, UDP and names, and no ICMP.

use std::ffi::OsString;

use crate::Failure;

pub(crate) fn main(_: Vec<OsString>) -> Result<(), Failure> {
    let message = "permission denied: WebAssembly programs have no ICMP; try a port instead: nc -zv HOST PORT";
    Err(Failure { code: 2, message: message.to_owned() })
}
