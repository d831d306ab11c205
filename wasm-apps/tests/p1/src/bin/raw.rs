//! `raw files`, `raw descriptors` and `raw sockets` call `wasi_snapshot_preview1` directly where std does not reach:
//! cookies, renumbering, allocation, appending, polling several things at once, limits, and pointers that lead nowhere.
//! Prints what differs from what POSIX and the specification say; silent and 0 if nothing does.
//!
//! `raw sockets` needs two declared TCP ports and one client, on the first, that sends `hello` and half-closes.
#![expect(unsafe_op_in_unsafe_fn, reason = "every line of these functions is a raw call")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn fd_readdir(fd: i32, buffer: u32, length: u32, cookie: u64, out: u32) -> i32;
    fn fd_renumber(fd: i32, to: i32) -> i32;
    fn fd_allocate(fd: i32, offset: u64, length: u64) -> i32;
    fn fd_pwrite(fd: i32, list: u32, count: u32, offset: u64, out: u32) -> i32;
    fn fd_pread(fd: i32, list: u32, count: u32, offset: u64, out: u32) -> i32;
    fn fd_read(fd: i32, list: u32, count: u32, out: u32) -> i32;
    fn fd_write(fd: i32, list: u32, count: u32, out: u32) -> i32;
    fn fd_seek(fd: i32, offset: i64, whence: i32, out: u32) -> i32;
    fn fd_tell(fd: i32, out: u32) -> i32;
    fn fd_close(fd: i32) -> i32;
    fn fd_advise(fd: i32, offset: u64, length: u64, advice: i32) -> i32;
    fn fd_sync(fd: i32) -> i32;
    fn fd_datasync(fd: i32) -> i32;
    fn fd_fdstat_get(fd: i32, out: u32) -> i32;
    fn fd_fdstat_set_flags(fd: i32, flags: i32) -> i32;
    fn fd_fdstat_set_rights(fd: i32, base: u64, inheriting: u64) -> i32;
    fn fd_filestat_get(fd: i32, out: u32) -> i32;
    fn fd_prestat_get(fd: i32, out: u32) -> i32;
    fn fd_prestat_dir_name(fd: i32, path: u32, length: u32) -> i32;
    fn path_open(d: i32, l: i32, p: u32, n: u32, o: i32, b: u64, i: u64, f: i32, out: u32) -> i32;
    fn path_filestat_get(d: i32, l: i32, p: u32, n: u32, out: u32) -> i32;
    fn path_readlink(d: i32, p: u32, n: u32, b: u32, l: u32, out: u32) -> i32;
    fn path_symlink(t: u32, tn: u32, d: i32, p: u32, n: u32) -> i32;
    fn poll_oneoff(list: u32, out: u32, count: u32, events: u32) -> i32;
    fn clock_time_get(id: i32, precision: u64, out: u32) -> i32;
    fn clock_res_get(id: i32, out: u32) -> i32;
    fn random_get(buffer: u32, length: u32) -> i32;
    fn args_get(list: u32, text: u32) -> i32;
    fn environ_sizes_get(count: u32, size: u32) -> i32;
    fn sched_yield() -> i32;
    fn sock_accept(fd: i32, flags: i32, out: u32) -> i32;
    fn sock_recv(fd: i32, list: u32, count: u32, flags: i32, length: u32, out: u32) -> i32;
    fn sock_send(fd: i32, list: u32, count: u32, flags: i32, out: u32) -> i32;
    fn sock_shutdown(fd: i32, how: i32) -> i32;
}

const AGAIN: i32 = 6;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const ISDIR: i32 = 31;
const MFILE: i32 = 33;
const NOENT: i32 = 44;
const NOTSOCK: i32 = 57;
const PERM: i32 = 63;
const SPIPE: i32 = 70;
const NOWHERE: u32 = u32::MAX - 2;

static FAILURES: AtomicI32 = AtomicI32::new(0);

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, wanted: T) {
    if seen != wanted {
        println!("{what}: {seen:?}, not {wanted:?}");
        FAILURES.fetch_add(1, Ordering::Relaxed);
    }
}

/// The address of something the host reads.
fn at<T: ?Sized>(value: &T) -> u32 {
    std::ptr::from_ref(value).cast::<u8>().expose_provenance() as u32
}

/// The address of something the host writes.
fn to<T: ?Sized>(value: &mut T) -> u32 {
    std::ptr::from_mut(value).cast::<u8>().expose_provenance() as u32
}

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    // SAFETY: the calls are given addresses of live variables, or, to see them refused, ones outside of memory.
    unsafe {
        match part.as_str() {
            "files" => {
                directories();
                positions();
                paths();
            }
            "descriptors" => {
                numbers();
                polling();
                nowhere();
            }
            "sockets" => sockets(),
            _ => expect("argument", part.as_str(), "files, descriptors or sockets"),
        }
    }
    std::process::exit(FAILURES.load(Ordering::Relaxed));
}

unsafe fn directories() {
    fs::create_dir("/list").unwrap();
    for index in 0..50 {
        File::create(format!("/list/entry-{index:02}")).unwrap();
    }
    let dir = File::open("/list").unwrap();
    let mut names = Vec::new();
    let (mut cookie, mut used) = (0_u64, 0_u32);
    // Small buffers cut entries; removing while reading must skip none.
    loop {
        let mut buffer = [0_u8; 100];
        expect("readdir", fd_readdir(dir.as_raw_fd(), to(&mut buffer), 100, cookie, to(&mut used)), 0);
        let (mut offset, before) = (0, names.len());
        while offset + 24 <= used as usize {
            let word = |from: usize| u32::from_le_bytes(buffer[from..from + 4].try_into().unwrap());
            let (next, length) = (u64::from(word(offset)), word(offset + 16) as usize);
            if offset + 24 + length > used as usize {
                break;
            }
            let name = String::from_utf8(buffer[offset + 24..offset + 24 + length].to_vec()).unwrap();
            if name.starts_with("entry") {
                fs::remove_file(format!("/list/{name}")).unwrap();
            }
            names.push(name);
            cookie = next;
            offset += 24 + length;
        }
        if names.len() == before {
            break;
        }
    }
    expect("names", names.len(), 52);
    expect("dots", names[..2].join(" "), ". ..".to_owned());
    expect("empty again", fs::remove_dir("/list").is_ok(), true);
    expect("readdir of a file", fd_readdir(1, 0, 0, 0, to(&mut used)), 54);
}

unsafe fn positions() {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open("/p").unwrap();
    file.write_all(b"0123456789").unwrap();
    let (fd, mut count, mut place) = (file.as_raw_fd(), 0_u32, 0_u64);
    let text = *b"AB";
    let list = [at(&text), 2];
    expect("pwrite", fd_pwrite(fd, at(&list), 1, 4, to(&mut count)), 0);
    expect("tell", (fd_tell(fd, to(&mut place)), place), (0, 10));
    let mut read = [0_u8; 8];
    let two = [to(&mut read), 3, to(&mut read) + 3, 5];
    expect("pread", (fd_pread(fd, at(&two), 2, 2, to(&mut count)), count), (0, 8));
    expect("content", std::str::from_utf8(&read).unwrap(), "23AB6789");
    expect("seek end", (fd_seek(fd, -3, 2, to(&mut place)), place), (0, 7));
    expect("seek before", fd_seek(fd, -8, 1, to(&mut place)), INVAL);
    expect("allocate", fd_allocate(fd, 10, 10), 0);
    expect("size", fs::metadata("/p").unwrap().len(), 20);
    expect("allocate nothing", fd_allocate(fd, 10, 0), INVAL);
    expect("sync", (fd_sync(fd), fd_datasync(fd), fd_advise(fd, 0, 0, 3), fd_advise(fd, 0, 0, 9)), (0, 0, 0, INVAL));
    expect("append flag", fd_fdstat_set_flags(fd, 1), 0);
    expect("append", fd_write(fd, at(&list), 1, to(&mut count)), 0);
    expect("at the end", (fd_tell(fd, to(&mut place)), place), (0, 22));
    expect("less rights", fd_fdstat_set_rights(fd, 2, 0), 0);
    expect("no more writing", fd_write(fd, at(&list), 1, to(&mut count)), BADF);
    expect("rights never grow", fd_fdstat_set_rights(fd, u64::MAX, 0), 76);
    expect("seek a stream", fd_seek(0, 0, 0, to(&mut place)), SPIPE);
    expect("pread a stream", fd_pread(0, at(&list), 1, 0, to(&mut count)), SPIPE);
    expect("read output", fd_read(1, at(&list), 1, to(&mut count)), BADF);
    expect("write input", fd_write(0, at(&list), 1, to(&mut count)), BADF);
    expect("read a directory", fd_read(3, at(&list), 1, to(&mut count)), ISDIR);
}

unsafe fn numbers() {
    File::create("/p").unwrap();
    let one = File::create("/n1").unwrap().into_raw_fd();
    let two = File::create("/n2").unwrap().into_raw_fd();
    expect("renumber", (fd_renumber(one, two), fd_close(one), fd_close(two)), (0, BADF, 0));
    expect("renumber to a closed one", fd_renumber(3, 999), BADF);
    let mut open = Vec::new();
    let failed = loop {
        match File::open("/p") {
            Ok(file) => open.push(file),
            Err(error) => break error.raw_os_error().unwrap(),
        }
    };
    expect("too many", (failed, open.len()), (MFILE, 1020));
    expect("no file made", (File::create("/never").is_err(), fs::exists("/never").unwrap()), (true, false));
    let mut prestat = [0_u32; 2];
    expect("prestat", (fd_prestat_get(3, to(&mut prestat)), prestat), (0, [0, 1]));
    let mut name = [0_u8; 1];
    expect("preopen", (fd_prestat_dir_name(3, to(&mut name), 1), name[0]), (0, b'/'));
    expect("no second preopen", fd_prestat_get(4, to(&mut prestat)), BADF);
}

unsafe fn polling() {
    let mut list = [[0_u64; 6]; 3];
    // A millisecond on the monotonic clock, a far absolute time on the real one, and a wrong descriptor last.
    list[0] = [1, 0, 1, 1_000_000, 0, 0];
    list[1] = [2, 0, 0, u64::MAX, 0, 1];
    let (mut events, mut count) = ([[0_u64; 4]; 3], 0_u32);
    expect("poll", poll_oneoff(at(&list), to(&mut events), 2, to(&mut count)), 0);
    expect("the near clock", (count, events[0][0], events[0][1]), (1, 1, 0));
    list[2] = [3, 1, 77, 0, 0, 0];
    expect("poll", poll_oneoff(at(&list), to(&mut events), 3, to(&mut count)), 0);
    expect("the wrong one", (count, events[0][0], events[0][1] & 0xffff), (1, 3, BADF as u64));
    expect("no subscription", poll_oneoff(at(&list), to(&mut events), 0, to(&mut count)), INVAL);
    expect("too many", poll_oneoff(at(&list), to(&mut events), 1 << 20, to(&mut count)), INVAL);
    // Output has room: it is ready before the far clock.
    list[0] = [4, 0, 1, u64::MAX / 2, 0, 0];
    list[1] = [5, 2, 1, 0, 0, 0];
    expect("poll", poll_oneoff(at(&list), to(&mut events), 2, to(&mut count)), 0);
    expect("output before the clock", (count, events[0][0], events[0][1] & 0xffff), (1, 5, 0));
    let before = std::time::Instant::now();
    std::thread::sleep(std::time::Duration::from_millis(30));
    expect("slept", before.elapsed().as_millis() >= 30, true);
    expect("yield", sched_yield(), 0);
}

unsafe fn nowhere() {
    let (mut out, list, bad) = (0_u64, [NOWHERE, 16_u32], [0_u32, u32::MAX]);
    let (text, file) = (*b"p", File::open("/p").unwrap());
    expect("args", args_get(NOWHERE, to(&mut out)), FAULT);
    expect("environ", environ_sizes_get(NOWHERE, to(&mut out)), FAULT);
    expect("clock", clock_time_get(0, 0, NOWHERE), FAULT);
    expect("random", random_get(NOWHERE, 100), FAULT);
    expect("random all", random_get(0, u32::MAX), FAULT);
    expect("fdstat", fd_fdstat_get(0, NOWHERE), FAULT);
    expect("filestat", fd_filestat_get(3, NOWHERE), FAULT);
    expect("path", path_filestat_get(3, 0, NOWHERE, 10, to(&mut out)), FAULT);
    expect("symlink", path_symlink(NOWHERE, 10, 3, at(&text), 1), FAULT);
    for list in [list, bad] {
        expect("write", fd_write(1, at(&list), 1, to(&mut out)), FAULT);
        expect("read", fd_pread(file.as_raw_fd(), at(&list), 1, 0, to(&mut out)), FAULT);
    }
    expect("list", fd_write(1, NOWHERE, 1, to(&mut out)), FAULT);
    expect("many buffers", fd_write(1, 0, u32::MAX, to(&mut out)), INVAL);
    expect("poll", poll_oneoff(NOWHERE, to(&mut out), 1, to(&mut out)), FAULT);
    expect("readdir", fd_readdir(3, NOWHERE, 100, 0, to(&mut out)), FAULT);
    expect("cookie", (fd_readdir(3, to(&mut out), 4, u64::MAX, to(&mut out)), out as u32), (0, 0));
    expect("prestat", fd_prestat_get(3, NOWHERE), FAULT);
}

unsafe fn paths() {
    let (mut out, mut stat) = ([0_u64; 1], [0_u64; 8]);
    let mut open =
        |path: &str, oflags, flags| path_open(3, 1, at(path), path.len() as u32, oflags, 2, 0, flags, to(&mut out));
    expect("absolute", open("/etc", 0, 0), PERM);
    expect("empty", open("", 0, 0), NOENT);
    expect("nul", open("a\0b", 0, 0), INVAL);
    expect("long", open(&"a/".repeat(3000), 0, 0), 37);
    expect("directory and create", open("x", 3, 0), INVAL);
    expect("unknown flags", (open("p", 1 << 9, 0), open("p", 0, 1 << 9)), (INVAL, INVAL));
    expect("out of the root", path_filestat_get(3, 1, at("../../.."), 8, to(&mut stat)), 0);
    expect("is a directory", stat[2] & 0xff, 3);
    expect("symlink", path_symlink(at("target"), 6, 3, at("link"), 4), 0);
    let mut buffer = [0_u8; 3];
    expect("cut", (path_readlink(3, at("link"), 4, to(&mut buffer), 3, to(&mut out)), out[0] as u32), (0, 3));
    for clock in 0..4 {
        expect("clock", (clock_time_get(clock, 0, to(&mut out)), clock_res_get(clock, to(&mut stat))), (0, 0));
        expect("runs", out[0] > 0 && stat[0] > 0, true);
    }
    expect("no such clock", clock_time_get(4, 0, to(&mut out)), INVAL);
    expect("accept a file", sock_accept(3, 0, to(&mut out)), NOTSOCK);
    expect("send to output", sock_send(1, 0, 0, 0, to(&mut out)), NOTSOCK);
    let mut random = [0_u8; 32];
    expect("random", random_get(to(&mut random), 32), 0);
    expect("is random", random.iter().any(|byte| *byte != 0), true);
}

/// Its client sends `hello`, then waits for `hello` and the end, then resets.
unsafe fn sockets() {
    let (mut out, mut count, mut flags) = (0_i32, 0_u32, 0_u16);
    expect("nonblock", fd_fdstat_set_flags(5, 4), 0);
    expect("nobody connects to the second port", sock_accept(5, 0, to(&mut out)), AGAIN);
    let mut events = [[0_u64; 4]; 2];
    let both = [[1_u64, 1, 5, 0, 0, 0], [2, 0, 1, 1_000_000, 0, 0]];
    expect("poll", poll_oneoff(at(&both), to(&mut events), 2, to(&mut count)), 0);
    expect("the clock before a client", (count, events[0][0]), (1, 2));
    expect("no third port", sock_accept(6, 0, to(&mut out)), BADF);
    let poll = [1_u64, 1, 4, 0, 0, 0];
    let mut event = [0_u64; 4];
    expect("poll", (poll_oneoff(at(&poll), to(&mut event), 1, to(&mut count)), event[1] & 0xffff), (0, 0));
    expect("accept", sock_accept(4, 4, to(&mut out)), 0);
    let poll = [1_u64, 1, out as u64, 0, 0, 0];
    expect("poll", poll_oneoff(at(&poll), to(&mut event), 1, to(&mut count)), 0);
    let mut buffer = [0_u8; 8];
    let list = [to(&mut buffer), 8];
    expect("peek", sock_recv(out, at(&list), 1, 1, to(&mut count), to(&mut flags)), 0);
    let peeked = count;
    expect("some", peeked > 0, true);
    expect("blocking", fd_fdstat_set_flags(out, 0), 0);
    let five = [to(&mut buffer), 5];
    expect("all", (sock_recv(out, at(&five), 1, 2, to(&mut count), to(&mut flags)), count), (0, 5));
    expect("content", std::str::from_utf8(&buffer[..5]).unwrap(), "hello");
    expect("send", (sock_send(out, at(&five), 1, 0, to(&mut count)), count), (0, 5));
    expect("shut", (sock_shutdown(out, 2), sock_shutdown(out, 0), sock_shutdown(3, 2)), (0, INVAL, NOTSOCK));
    expect("broken", sock_send(out, at(&five), 1, 0, to(&mut count)), 64);
    expect("end", (fd_read(out, at(&list), 1, to(&mut count)), count), (0, 0));
    expect("close", fd_close(out), 0);
}
