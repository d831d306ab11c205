//! Applets about files' attributes: chgrp, chmod, chown, install, ls, stat.

mod install;
mod ls;
mod permissions;
mod stat;

pub(crate) use install::{USAGE as INSTALL_USAGE, install};
pub(crate) use ls::{USAGE as LS_USAGE, dir, ls, vdir};
pub(crate) use permissions::{CHGRP_USAGE, CHMOD_USAGE, CHOWN_USAGE, chgrp, chmod, chown};
pub(crate) use stat::{USAGE as STAT_USAGE, stat};
