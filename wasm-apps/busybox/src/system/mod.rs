//! Applets about the container: who is asking, its filesystems, memory and terminal.

mod filesystems;
mod identity;
mod memory;
mod misc;
mod terminal;

pub(crate) use filesystems::{DF_USAGE, DU_USAGE, MOUNT_USAGE, UMOUNT_USAGE, df, du, human, mount, umount};
pub(crate) use identity::{
    GETENT_USAGE, GROUPS_USAGE, HOSTNAME_USAGE, ID_USAGE, WHOAMI_USAGE, getent, groups, hostname, id, whoami,
};
pub(crate) use memory::{FREE_USAGE, UPTIME_USAGE, free, uptime};
pub(crate) use misc::{LOGGER_USAGE, SYNC_USAGE, USLEEP_USAGE, WHICH_USAGE, logger, sync, usleep, which};
pub(crate) use terminal::{CLEAR_USAGE, RESET_USAGE, STTY_USAGE, TTY_USAGE, clear, reset, stty, tty};
