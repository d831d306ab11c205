//! Applets about files and their attributes: chgrp, chmod, chown, cp, install, ls, mkdir, mv, stat.

mod copy;
mod install;
mod ls;
mod mkdir;
mod permissions;
mod stat;

pub(crate) use copy::{CP_USAGE, MV_USAGE, cp, mv};
pub(crate) use install::{USAGE as INSTALL_USAGE, install};
pub(crate) use ls::{USAGE as LS_USAGE, dir, ls, vdir};
pub(crate) use mkdir::{USAGE as MKDIR_USAGE, mkdir};
pub(crate) use permissions::{CHGRP_USAGE, CHMOD_USAGE, CHOWN_USAGE, chgrp, chmod, chown};
pub(crate) use stat::{USAGE as STAT_USAGE, stat};
