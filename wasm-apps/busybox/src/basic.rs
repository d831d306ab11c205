//! `true` and `false`.

use std::ffi::OsString;

use crate::failure::Failure;

pub(crate) const TRUE: &str = "true

Exit with code 0";
pub(crate) const FALSE: &str = "false

Exit with code 1";

pub(crate) fn succeed(_: Vec<OsString>) -> Result<u8, Failure> {
    Ok(0)
}

pub(crate) fn fail(_: Vec<OsString>) -> Result<u8, Failure> {
    Ok(1)
}
