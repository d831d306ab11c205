//! Applets about processes: kill, killall, pgrep, pidof, pkill, ps, top.

mod kill;
mod pgrep;
mod ps;
mod top;

pub(crate) use kill::{KILL_USAGE, KILLALL_USAGE, kill, killall};
pub(crate) use pgrep::{PGREP_USAGE, PIDOF_USAGE, PKILL_USAGE, pgrep, pidof, pkill};
pub(crate) use ps::{USAGE as PS_USAGE, ps};
pub(crate) use top::{USAGE as TOP_USAGE, top};
