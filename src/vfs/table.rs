//! [`MountTable`]: the root filesystem of a container and what is mounted over it.
//!
//! Mounts hang on a tree of names that starts at the container's root. A walk carries its place in that tree along
//! with the directory it is in, so that a mount is found by looking one name up, and a walk in a directory without
//! mounts below it costs nothing extra. The tree never changes once the table is built: mount points, and the
//! directories that lead to them, can be neither removed nor renamed.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::node::{Directory, Entered, FileObject, Found, next_device};
use super::path::{check_name, check_path, is_finished, split_first};
use super::walk::{Dir, Place};
use super::{DirEntry, Errno, FileKind, MAX_DEPTH, MAX_SYMLINKS, OpenOptions, SetTime, Stat};

/// The most mounts one container may have.
const MAX_MOUNTS: usize = 1024;

/// Permission bits of mount points that had to be made.
const MOUNT_POINT_MODE: u32 = 0o755;

/// Something that can be mounted: a directory with all below it, or a single file.
#[derive(Debug, Clone)]
pub struct MountSource(pub(super) Source);

#[derive(Debug, Clone)]
pub(super) enum Source {
    Directory(Arc<dyn Directory>),
    File(Arc<dyn FileObject>),
}

impl MountSource {
    pub(super) fn directory(directory: impl Directory) -> Self {
        Self(Source::Directory(Arc::new(directory)))
    }

    pub(super) fn file(file: Arc<dyn FileObject>) -> Self {
        Self(Source::File(file))
    }

    /// Whether it is a single file.
    pub fn is_file(&self) -> bool {
        matches!(self.0, Source::File(_))
    }
}

/// Why a mount table could not be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount at {path:?}")]
pub struct MountError {
    /// The mount path as given.
    pub path: String,
    /// What stood in the way.
    #[source]
    pub errno: Errno,
}

/// What one container sees as `/`: a root filesystem and what is mounted over it. Clones share it.
#[derive(Clone)]
pub struct MountTable {
    pub(super) root: Arc<Place>,
}

impl fmt::Debug for MountTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MountTable").finish_non_exhaustive()
    }
}

impl MountTable {
    /// Starts a table whose `/` is `root`.
    pub fn builder(root: impl Into<MountSource>) -> MountTableBuilder {
        MountTableBuilder { root: root.into(), root_read_only: false, mounts: Vec::new() }
    }

    /// This table with `source` mounted read-only at `path` besides, unless something is mounted there.
    ///
    /// # Errors
    ///
    /// As for [`MountTableBuilder::build`].
    pub fn with(&self, path: &str, source: impl Into<MountSource>) -> Result<Self, MountError> {
        let MountSource(source) = source.into();
        let failed = |errno| MountError { path: path.to_owned(), errno };
        let names = prepare(&self.root, path, matches!(source, Source::File(_))).map_err(failed)?;
        let (root, mount, points) = self.root.parts();
        if points.at(&names).is_some_and(|point| point.mounted.is_some()) {
            return Ok(self.clone());
        }
        let mounted = Mounted { source, mount: Arc::new(Mount { read_only: true }) };
        let device = next_device();
        let points = points.with(&names, mounted, device, &mut 1);
        Ok(Self { root: Place::top(root, mount, points) })
    }

    /// The directory `/`.
    pub fn root(&self) -> Dir {
        Dir::new(self.clone(), Arc::clone(&self.root))
    }
}

/// Collects mounts for a [`MountTable`].
#[derive(Debug)]
pub struct MountTableBuilder {
    root: MountSource,
    root_read_only: bool,
    mounts: Vec<(String, MountSource, bool)>,
}

impl MountTableBuilder {
    /// Makes the root filesystem read-only (`securityContext.readOnlyRootFilesystem`). Mount points are still made
    /// in it when the table is built.
    #[must_use]
    pub fn root_read_only(mut self, read_only: bool) -> Self {
        self.root_read_only = read_only;
        self
    }

    /// Mounts `source` at the absolute `path`. Mounts may be given in any order and lie below each other; of two at
    /// the same place the later one shows.
    #[must_use]
    pub fn mount(mut self, path: &str, source: impl Into<MountSource>, read_only: bool) -> Self {
        self.mounts.push((path.to_owned(), source.into(), read_only));
        self
    }

    /// Builds the table. Symlinks in mount paths are resolved within the container. Mount points that are missing
    /// from the root filesystem are made there; those missing from a volume are shown without touching the volume.
    pub fn build(self) -> Result<MountTable, MountError> {
        let Source::Directory(root) = self.root.0 else {
            return Err(MountError { path: "/".to_owned(), errno: Errno::NotDirectory });
        };
        let device = next_device();
        let building = Arc::new(Mount { read_only: false });
        let mut points = Arc::new(MountPoint::new(device, 0));
        let mut mounts = self.mounts;
        if mounts.len() > MAX_MOUNTS {
            return Err(MountError { path: mounts[MAX_MOUNTS].0.clone(), errno: Errno::NoSpace });
        }
        // Parents before what lies below them, otherwise in the order given (as containerd sorts mounts).
        mounts.sort_by_key(|(path, ..)| path.split('/').filter(|name| !name.is_empty()).count());
        let mut next_inode = 1;
        for (path, source, read_only) in mounts {
            let top = Place::top(Arc::clone(&root), Arc::clone(&building), Arc::clone(&points));
            let at = match prepare(&top, &path, source.is_file()) {
                Ok(names) if names.len() > MAX_DEPTH => Err(Errno::NameTooLong),
                other => other,
            };
            let at = at.map_err(|errno| MountError { path, errno })?;
            let mounted = Mounted { source: source.0, mount: Arc::new(Mount { read_only }) };
            points = points.with(&at, mounted, device, &mut next_inode);
        }
        let mount = Arc::new(Mount { read_only: self.root_read_only });
        Ok(MountTable { root: Place::top(root, mount, points) })
    }
}

/// One act of mounting; two names are on the same mount when they share this.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) read_only: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Mounted {
    pub(super) source: Source,
    pub(super) mount: Arc<Mount>,
}

/// A name on the way to a mount, or a mount itself.
#[derive(Debug, Clone)]
pub(super) struct MountPoint {
    pub(super) children: BTreeMap<String, Arc<MountPoint>>,
    pub(super) mounted: Option<Mounted>,
    /// Stands where the filesystem below has no directory of this name.
    pub(super) stand_in: Arc<StandIn>,
}

impl MountPoint {
    pub(super) fn new(device: u64, inode: u64) -> Self {
        let stand_in = Arc::new(StandIn { device, inode, made: super::now() });
        Self { children: BTreeMap::new(), mounted: None, stand_in }
    }

    /// What hangs at the end of these names.
    fn at(&self, names: &[String]) -> Option<&Self> {
        names.iter().try_fold(self, |point, name| point.children.get(name).map(|child| &**child))
    }

    /// A copy of this tree in which `mounted` hangs at `path`; what hung there or below it is covered.
    fn with(&self, path: &[String], mounted: Mounted, device: u64, next_inode: &mut u64) -> Arc<Self> {
        let mut copy = self.clone();
        match path.split_first() {
            None => {
                copy.children.clear();
                copy.mounted = Some(mounted);
            }
            Some((name, rest)) => {
                let child = copy.children.get(name).cloned().unwrap_or_else(|| {
                    *next_inode += 1;
                    Arc::new(Self::new(device, *next_inode))
                });
                copy.children.insert(name.clone(), child.with(rest, mounted, device, next_inode));
            }
        }
        Arc::new(copy)
    }
}

/// Resolves a mount path to the names that lead there without symlinks, and makes what is missing in the root.
fn prepare(top: &Arc<Place>, path: &str, is_file: bool) -> Result<Vec<String>, Errno> {
    check_path(path)?;
    let mut place = Arc::clone(top);
    let mut rest = path.to_owned();
    let mut links = 0;
    loop {
        let (name, after) = split_first(&rest);
        let after = after.to_owned();
        match name {
            "" => return if place.is_top() { Err(Errno::Busy) } else { Ok(place.names()) },
            "." => rest = after,
            ".." => {
                place = place.parent();
                rest = after;
            }
            name => {
                check_name(name)?;
                let last = is_finished(&after);
                match step(&place, top, name, last && is_file)? {
                    Step::Into(_) if last && is_file => return Err(Errno::IsDirectory),
                    Step::Into(next) => {
                        place = next;
                        rest = after;
                    }
                    Step::Symlink(target) => {
                        links += 1;
                        if links > MAX_SYMLINKS {
                            return Err(Errno::Loop);
                        }
                        if target.starts_with('/') {
                            place = Arc::clone(top);
                        }
                        rest = format!("{target}{after}");
                    }
                    Step::File => {
                        let mut names = place.names();
                        names.push(name.to_owned());
                        return Ok(names);
                    }
                    Step::Absent => return Ok(unmade(&place, &rest)),
                }
            }
        }
    }
}

enum Step {
    Into(Arc<Place>),
    Symlink(String),
    /// A file where one is to be.
    File,
    /// Not there, and not to be made.
    Absent,
}

fn step(place: &Arc<Place>, top: &Arc<Place>, name: &str, file_wanted: bool) -> Result<Step, Errno> {
    match place.enter(name) {
        Ok(super::walk::EnteredPlace::Place(next)) => return Ok(Step::Into(next)),
        Ok(super::walk::EnteredPlace::Symlink(target)) => return Ok(Step::Symlink(target)),
        Err(Errno::NotDirectory) if file_wanted => return Ok(Step::File),
        Err(Errno::NotFound) => {}
        Err(errno) => return Err(errno),
    }
    if !Arc::ptr_eq(&place.mount, &top.mount) {
        return Ok(Step::Absent);
    }
    let made = if file_wanted {
        let options =
            OpenOptions { write: true, create: true, exclusive: true, mode: MOUNT_POINT_MODE, ..Default::default() };
        place.directory.open(name, options).map(|_| Step::File)
    } else {
        place.directory.create_dir(name, MOUNT_POINT_MODE).and_then(|()| match place.enter(name)? {
            super::walk::EnteredPlace::Place(next) => Ok(Step::Into(next)),
            super::walk::EnteredPlace::Symlink(_) => Err(Errno::Io),
        })
    };
    match made {
        Err(Errno::ReadOnly | Errno::Access | Errno::NotPermitted) => Ok(Step::Absent),
        other => other,
    }
}

/// The names of `rest` below `place` where nothing of it exists.
fn unmade(place: &Arc<Place>, rest: &str) -> Vec<String> {
    let mut names = place.names();
    for name in rest.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name.to_owned()),
        }
    }
    names
}

/// An empty read-only directory that stands where a mount point is missing below.
#[derive(Debug)]
pub(super) struct StandIn {
    device: u64,
    inode: u64,
    made: SystemTime,
}

#[derive(Debug)]
pub(super) struct StandInDirectory(pub(super) Arc<StandIn>);

impl Directory for StandInDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn enter(&self, _name: &str) -> Result<Entered, Errno> {
        Err(Errno::NotFound)
    }
    fn open(&self, _name: &str, options: OpenOptions) -> Result<Found, Errno> {
        Err(if options.create { Errno::ReadOnly } else { Errno::NotFound })
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(Stat {
            kind: FileKind::Directory,
            device: self.0.device,
            inode: self.0.inode,
            links: 1,
            size: 0,
            mode: 0o555,
            accessed: self.0.made,
            modified: self.0.made,
            changed: self.0.made,
        })
    }
    fn stat_child(&self, _name: &str) -> Result<Stat, Errno> {
        Err(Errno::NotFound)
    }
    fn set_times(&self, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }
    fn set_child_times(&self, _name: &str, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Err(Errno::NotFound)
    }
    fn set_mode(&self, _mode: u32) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }
    fn set_child_mode(&self, _name: &str, _mode: u32) -> Result<(), Errno> {
        Err(Errno::NotFound)
    }
    fn create_dir(&self, _name: &str, _mode: u32) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }
    fn remove_dir(&self, _name: &str) -> Result<(), Errno> {
        Err(Errno::NotFound)
    }
    fn unlink(&self, _name: &str) -> Result<(), Errno> {
        Err(Errno::NotFound)
    }
    fn rename(&self, _name: &str, _to: &dyn Directory, _to_name: &str) -> Result<(), Errno> {
        Err(Errno::NotFound)
    }
    fn link(&self, _name: &str, _new: &dyn Directory, _new_name: &str) -> Result<(), Errno> {
        Err(Errno::NotFound)
    }
    fn symlink(&self, _target: &str, _name: &str) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }
    fn read_link(&self, _name: &str) -> Result<String, Errno> {
        Err(Errno::NotFound)
    }
    fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        Ok(Vec::new())
    }
}
