//! The table of applets.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::{archive, awk, basic, cat, condition, dd, files, find, grep, processes, run, system, text, wrapped};

/// One of the tools.
pub(crate) struct Applet {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// How an applet is run.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// One of this program's: its arguments (without `argv[0]`) in, its exit code out.
    Own {
        main: fn(Vec<OsString>) -> Result<u8, Failure>,
        /// What `--help` prints behind `Usage: `.
        usage: &'static str,
        /// The exit code of a failure.
        trouble: u8,
    },
    /// One of uutils': all its arguments in, its exit code out.
    Uutils {
        /// The name its messages are found by.
        locale: &'static str,
        main: fn(Vec<OsString>) -> i32,
    },
}

const fn own(
    name: &'static str,
    main: fn(Vec<OsString>) -> Result<u8, Failure>,
    usage: &'static str,
    trouble: u8,
) -> Applet {
    Applet { name, run: Run::Own { main, usage, trouble } }
}

macro_rules! uutils {
    ($name:literal, $($package:ident)::+, $locale:literal) => {
        Applet { name: $name, run: Run::Uutils { locale: $locale, main: |arguments| $($package)::+::uumain(arguments.into_iter()) } }
    };
    ($name:literal, $($package:ident)::+) => {
        uutils!($name, $($package)::+, $name)
    };
}

/// The applet of a name.
pub(crate) fn find(name: &str) -> Option<&'static Applet> {
    APPLETS.binary_search_by_key(&name, |applet| applet.name).ok().map(|index| &APPLETS[index])
}

/// Every applet, by name.
pub(crate) const APPLETS: &[Applet] = &[
    own("[", condition::bracket, condition::USAGE, 2),
    uutils!("arch", uu_arch),
    own("awk", awk::awk, awk::USAGE, 2),
    uutils!("b2sum", uu_b2sum),
    uutils!("base32", uu_base32),
    uutils!("base64", uu_base64),
    uutils!("basename", uu_basename),
    uutils!("basenc", uu_basenc),
    own("cat", cat::cat, cat::USAGE, 1),
    own("chgrp", files::chgrp, files::CHGRP_USAGE, 1),
    own("chmod", files::chmod, files::CHMOD_USAGE, 1),
    own("chown", files::chown, files::CHOWN_USAGE, 1),
    uutils!("cksum", uu_cksum),
    own("clear", system::clear, system::CLEAR_USAGE, 1),
    own("cmp", text::cmp, text::CMP_USAGE, 2),
    uutils!("comm", uu_comm),
    own("cp", files::cp, files::CP_USAGE, 1),
    uutils!("csplit", uu_csplit),
    uutils!("cut", uu_cut),
    uutils!("date", uu_date),
    own("dd", dd::dd, dd::USAGE, 1),
    own("df", system::df, system::DF_USAGE, 1),
    own("diff", text::diff, text::DIFF_USAGE, 2),
    own("dir", files::dir, files::LS_USAGE, 2),
    uutils!("dircolors", uu_dircolors),
    uutils!("dirname", uu_dirname),
    own("du", system::du, system::DU_USAGE, 1),
    uutils!("echo", uu_echo),
    own("egrep", grep::egrep, grep::USAGE, 2),
    own("env", run::env, run::ENV_USAGE, 125),
    uutils!("expand", uu_expand),
    uutils!("expr", uu_expr),
    uutils!("factor", uu_factor),
    own("false", basic::fail, basic::FALSE, 1),
    own("fgrep", grep::fgrep, grep::USAGE, 2),
    own("find", find::find, find::USAGE, 1),
    uutils!("fmt", uu_fmt),
    uutils!("fold", uu_fold),
    own("free", system::free, system::FREE_USAGE, 1),
    own("getent", system::getent, system::GETENT_USAGE, 1),
    own("grep", grep::grep, grep::USAGE, 2),
    own("groups", system::groups, system::GROUPS_USAGE, 1),
    own("gunzip", archive::gunzip, archive::GZIP_USAGE, 1),
    own("gzip", archive::gzip, archive::GZIP_USAGE, 1),
    uutils!("head", uu_head),
    own("hexdump", text::hexdump, text::HEXDUMP_USAGE, 1),
    own("hostname", system::hostname, system::HOSTNAME_USAGE, 1),
    own("id", system::id, system::ID_USAGE, 1),
    own("install", files::install, files::INSTALL_USAGE, 1),
    uutils!("join", uu_join),
    own("kill", processes::kill, processes::KILL_USAGE, 1),
    own("killall", processes::killall, processes::KILLALL_USAGE, 1),
    own("less", text::more, text::MORE_USAGE, 1),
    uutils!("link", uu_link),
    uutils!("ln", uu_ln),
    own("logger", system::logger, system::LOGGER_USAGE, 1),
    own("ls", files::ls, files::LS_USAGE, 2),
    uutils!("md5sum", uu_md5sum),
    own("mkdir", files::mkdir, files::MKDIR_USAGE, 1),
    uutils!("mktemp", wrapped::mktemp),
    own("more", text::more, text::MORE_USAGE, 1),
    own("mount", system::mount, system::MOUNT_USAGE, 1),
    own("mv", files::mv, files::MV_USAGE, 1),
    own("nice", run::nice, run::NICE_USAGE, 125),
    uutils!("nl", uu_nl),
    own("nohup", run::nohup, run::NOHUP_USAGE, 125),
    uutils!("nproc", uu_nproc),
    uutils!("numfmt", uu_numfmt),
    uutils!("od", uu_od),
    uutils!("paste", uu_paste),
    own("pgrep", processes::pgrep, processes::PGREP_USAGE, 2),
    own("pidof", processes::pidof, processes::PIDOF_USAGE, 1),
    own("pkill", processes::pkill, processes::PKILL_USAGE, 2),
    uutils!("pr", uu_pr),
    uutils!("printenv", uu_printenv),
    uutils!("printf", uu_printf),
    own("ps", processes::ps, processes::PS_USAGE, 1),
    uutils!("ptx", uu_ptx),
    uutils!("pwd", uu_pwd),
    uutils!("readlink", uu_readlink),
    uutils!("realpath", uu_realpath),
    own("reset", system::reset, system::RESET_USAGE, 1),
    own("rev", text::rev, text::REV_USAGE, 1),
    uutils!("rm", uu_rm),
    uutils!("rmdir", uu_rmdir),
    uutils!("sed", wrapped::sed),
    uutils!("seq", uu_seq),
    own("setsid", run::setsid, run::SETSID_USAGE, 1),
    uutils!("sha1sum", uu_sha1sum),
    uutils!("sha224sum", uu_sha224sum),
    uutils!("sha256sum", uu_sha256sum),
    uutils!("sha384sum", uu_sha384sum),
    uutils!("sha512sum", uu_sha512sum),
    uutils!("shred", uu_shred),
    uutils!("shuf", uu_shuf),
    uutils!("sleep", uu_sleep),
    uutils!("sort", uu_sort),
    uutils!("split", uu_split),
    own("stat", files::stat, files::STAT_USAGE, 1),
    own("strings", text::strings, text::STRINGS_USAGE, 1),
    own("stty", system::stty, system::STTY_USAGE, 1),
    uutils!("sum", uu_sum),
    own("sync", system::sync, system::SYNC_USAGE, 1),
    uutils!("tac", uu_tac),
    uutils!("tail", uu_tail),
    own("tar", archive::tar, archive::TAR_USAGE, 2),
    uutils!("tee", uu_tee),
    own("test", condition::test, condition::USAGE, 2),
    own("time", run::time, run::TIME_USAGE, 1),
    own("timeout", run::timeout, run::TIMEOUT_USAGE, 125),
    own("top", processes::top, processes::TOP_USAGE, 1),
    uutils!("touch", uu_touch),
    uutils!("tr", uu_tr),
    own("tree", text::tree, text::TREE_USAGE, 1),
    own("true", basic::succeed, basic::TRUE, 0),
    uutils!("truncate", uu_truncate),
    uutils!("tsort", uu_tsort),
    own("tty", system::tty, system::TTY_USAGE, 1),
    own("umount", system::umount, system::UMOUNT_USAGE, 1),
    uutils!("uname", uu_uname),
    uutils!("unexpand", uu_unexpand),
    uutils!("uniq", uu_uniq),
    uutils!("unlink", uu_unlink),
    own("uptime", system::uptime, system::UPTIME_USAGE, 1),
    own("usleep", system::usleep, system::USLEEP_USAGE, 1),
    own("vdir", files::vdir, files::LS_USAGE, 2),
    own("watch", run::watch, run::WATCH_USAGE, 1),
    uutils!("wc", uu_wc),
    own("which", system::which, system::WHICH_USAGE, 1),
    own("whoami", system::whoami, system::WHOAMI_USAGE, 1),
    own("xargs", run::xargs, run::XARGS_USAGE, 1),
    own("xxd", text::xxd, text::XXD_USAGE, 1),
    uutils!("yes", uu_yes),
    own("zcat", archive::zcat, archive::GZIP_USAGE, 1),
];

const _: () = assert!(lists_applets(include_bytes!("../applets.txt")), "applets.txt is not the table of applets");

/// Whether `list`, which husk's `build.rs` makes links of, has exactly the applets' names, a line each, and these are in
/// order.
const fn lists_applets(list: &[u8]) -> bool {
    let (mut position, mut applet) = (0, 0);
    while applet < APPLETS.len() {
        let name = APPLETS[applet].name.as_bytes();
        let mut index = 0;
        while index <= name.len() {
            let expected = if index < name.len() { name[index] } else { b'\n' };
            if position >= list.len() || list[position] != expected {
                return false;
            }
            position += 1;
            index += 1;
        }
        if applet > 0 && !is_before(APPLETS[applet - 1].name.as_bytes(), name) {
            return false;
        }
        applet += 1;
    }
    position == list.len()
}

const fn is_before(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() {
        if one[index] != other[index] {
            return one[index] < other[index];
        }
        index += 1;
    }
    one.len() < other.len()
}
