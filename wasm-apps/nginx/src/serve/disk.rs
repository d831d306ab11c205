//! The container's files. Each is looked at anew for the requests of every tick; what small ones hold is kept for as
//! long as they look the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use net_tasks::tick;
use nginx::phases::{Disk, DiskError, Kind, Stat};
use wasip2::clocks::wall_clock;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};

/// Largest file that is kept.
const MAX_KEPT: u64 = 64 * 1024;
/// Bytes of all files kept.
const MAX_KEPT_ALL: usize = 16 << 20;
/// Files kept.
const MAX_KEPT_FILES: usize = 4096;
/// Names in a directory that is listed.
const MAX_LISTED: usize = 10_000;
/// A file that was changed less than this many seconds ago may be changed again without looking different.
const SETTLED_SECONDS: u64 = 2;

/// What the host shows of its files.
pub(crate) struct Files {
    root: Option<Descriptor>,
    looked_at: RefCell<LookedAt>,
    kept: RefCell<Kept>,
}

/// What was found in one tick.
#[derive(Default)]
struct LookedAt {
    tick: u64,
    found: HashMap<String, Result<Stat, DiskError>>,
}

#[derive(Default)]
struct Kept {
    files: HashMap<String, (Stat, Rc<[u8]>)>,
    bytes: usize,
}

/// An open file.
pub(crate) struct OpenFile(Descriptor);

impl Files {
    pub(crate) fn new() -> Self {
        let root = get_directories().into_iter().find(|(_, path)| path == "/").map(|(root, _)| root);
        Self { root, looked_at: RefCell::default(), kept: RefCell::default() }
    }

    fn look(&self, path: &str) -> Result<Stat, DiskError> {
        let root = self.root.as_ref().ok_or(DiskError::Failed)?;
        root.stat_at(PathFlags::SYMLINK_FOLLOW, relative(path)).map(|stat| stat_of(&stat)).map_err(error_of)
    }

    /// What a small file holds, if it still looks like `stat`.
    pub(crate) fn contents(&self, path: &str, stat: &Stat) -> Option<Rc<[u8]>> {
        if stat.size > MAX_KEPT {
            return None;
        }
        if let Some((kept, contents)) = self.kept.borrow().files.get(path)
            && kept == stat
        {
            return Some(Rc::clone(contents));
        }
        let file = self.open(path).ok()?;
        let mut contents = Vec::with_capacity(usize::try_from(stat.size).ok()?);
        while contents.len() as u64 <= stat.size {
            match file.read(contents.len() as u64, MAX_KEPT) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => contents.extend_from_slice(&bytes),
                Err(_) => return None,
            }
        }
        // It has changed since it was looked at.
        if contents.len() as u64 != stat.size || file.0.stat().ok().map(|now| stat_of(&now)).as_ref() != Some(stat) {
            return None;
        }
        let contents: Rc<[u8]> = contents.into();
        if stat.modified.0 + SETTLED_SECONDS < wall_clock::now().seconds {
            self.keep(path, *stat, &contents);
        }
        Some(contents)
    }

    fn keep(&self, path: &str, stat: Stat, contents: &Rc<[u8]>) {
        let mut kept = self.kept.borrow_mut();
        if kept.bytes + contents.len() > MAX_KEPT_ALL || kept.files.len() >= MAX_KEPT_FILES {
            *kept = Kept::default();
        }
        kept.bytes += contents.len();
        if let Some((_, former)) = kept.files.insert(path.to_owned(), (stat, Rc::clone(contents))) {
            kept.bytes -= former.len();
        }
    }

    pub(crate) fn open(&self, path: &str) -> Result<OpenFile, DiskError> {
        let root = self.root.as_ref().ok_or(DiskError::Failed)?;
        let opened = root.open_at(PathFlags::SYMLINK_FOLLOW, relative(path), OpenFlags::empty(), DescriptorFlags::READ);
        opened.map(OpenFile).map_err(error_of)
    }

    /// What is in a directory, sorted: names and what they stand for. Hidden ones are left out, and those that are gone
    /// again.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<(String, Stat)>, DiskError> {
        let names = std::fs::read_dir(path).map_err(|_| DiskError::Failed)?;
        let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names = names.filter(|name| !name.starts_with('.')).take(MAX_LISTED);
        let mut found: Vec<_> =
            names.filter_map(|name| self.look(&format!("{path}{name}")).ok().map(|stat| (name, stat))).collect();
        found.sort_by(|(left, left_stat), (right, right_stat)| {
            let order = |stat: &Stat| stat.kind != Kind::Directory;
            order(left_stat).cmp(&order(right_stat)).then_with(|| left.cmp(right))
        });
        Ok(found)
    }
}

impl Disk for Files {
    fn stat(&self, path: &str) -> Result<Stat, DiskError> {
        let mut looked_at = self.looked_at.borrow_mut();
        if looked_at.tick != tick() {
            looked_at.tick = tick();
            looked_at.found.clear();
        }
        if let Some(found) = looked_at.found.get(path) {
            return *found;
        }
        let found = self.look(path);
        looked_at.found.insert(path.to_owned(), found);
        found
    }
}

impl OpenFile {
    /// Up to `length` bytes from `start` on; none at the end.
    pub(crate) fn read(&self, start: u64, length: u64) -> Result<Vec<u8>, DiskError> {
        self.0.read(length, start).map(|(bytes, _end)| bytes).map_err(error_of)
    }
}

fn relative(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        rest => rest,
    }
}

fn stat_of(stat: &DescriptorStat) -> Stat {
    let kind = match stat.type_ {
        DescriptorType::RegularFile => Kind::File,
        DescriptorType::Directory => Kind::Directory,
        _ => Kind::Other,
    };
    let modified = stat.data_modification_timestamp.map_or((0, 0), |time| (time.seconds, time.nanoseconds));
    Stat { kind, size: stat.size, modified }
}

fn error_of(error: ErrorCode) -> DiskError {
    match error {
        ErrorCode::NoEntry | ErrorCode::NotDirectory | ErrorCode::NameTooLong | ErrorCode::IllegalByteSequence => {
            DiskError::NotFound
        }
        ErrorCode::Access | ErrorCode::NotPermitted | ErrorCode::Loop => DiskError::Denied,
        _ => DiskError::Failed,
    }
}
