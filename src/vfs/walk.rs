//! Path resolution: [`Dir`] and every operation that takes a path.
//!
//! A path is walked component by component from a [`Place`], which knows its directory, its mount and how it was
//! reached, so `..` is a step back along the way and cannot leave the container. Symlinks are read, never followed by
//! the filesystems, and their content is walked in turn: relative from where the link lies, absolute from the
//! container's root. One short cut: where no mount lies below, a filesystem may open several components at once.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::node::{Directory, Entered, FileObject, Found};
use super::path::{check_name, check_path, is_finished, is_plain_walk, split_first};
use super::table::{Mount, MountPoint, Source, StandInDirectory};
use super::{
    DirEntry, Errno, File, FileKind, MAX_DEPTH, MAX_PATH, MAX_SYMLINKS, MODE_BITS, MountTable, OpenOptions, Opened,
    SetTime, Stat,
};

/// A directory as reached on a walk.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) mount: Arc<Mount>,
    /// Where `..` leads, and the name of this place there; none at the container's root.
    above: Option<(Arc<Place>, Box<str>)>,
    /// The mounts below, where there are any.
    points: Option<Arc<MountPoint>>,
    /// How far below the container's root.
    depth: usize,
}

pub(super) enum EnteredPlace {
    Place(Arc<Place>),
    Symlink(String),
}

enum OpenedPlace {
    Place(Arc<Place>),
    File(File),
    Symlink(String),
}

impl Place {
    pub(super) fn top(directory: Arc<dyn Directory>, mount: Arc<Mount>, points: Arc<MountPoint>) -> Arc<Self> {
        let points = (!points.children.is_empty()).then_some(points);
        Arc::new(Self { directory, mount, above: None, points, depth: 0 })
    }

    /// What [`Place::top`] made this place of.
    pub(super) fn parts(&self) -> (Arc<dyn Directory>, Arc<Mount>, Arc<MountPoint>) {
        let none = || Arc::new(MountPoint::new(super::node::next_device(), 0));
        (Arc::clone(&self.directory), Arc::clone(&self.mount), self.points.clone().unwrap_or_else(none))
    }

    pub(super) fn is_top(&self) -> bool {
        self.above.is_none()
    }

    /// The names that lead here from the container's root.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut above = &self.above;
        while let Some((place, name)) = above {
            names.push(name.to_string());
            above = &place.above;
        }
        names.reverse();
        names
    }

    /// Where `..` leads; the container's root is its own parent.
    pub(super) fn parent(self: &Arc<Self>) -> Arc<Self> {
        self.above.as_ref().map_or_else(|| Arc::clone(self), |(place, _)| Arc::clone(place))
    }

    fn point(&self, name: &str) -> Option<&Arc<MountPoint>> {
        self.points.as_ref().and_then(|points| points.children.get(name))
    }

    /// The place `name` below this one. A place keeps all above it open, so how deep it may lie is bounded.
    fn below(
        self: &Arc<Self>,
        name: &str,
        directory: Arc<dyn Directory>,
        mount: &Arc<Mount>,
        point: Option<&Arc<MountPoint>>,
    ) -> Result<Arc<Self>, Errno> {
        if self.depth >= MAX_DEPTH {
            return Err(Errno::NameTooLong);
        }
        Ok(Arc::new(Self {
            directory,
            mount: Arc::clone(mount),
            above: Some((Arc::clone(self), name.into())),
            points: point.filter(|point| !point.children.is_empty()).cloned(),
            depth: self.depth + 1,
        }))
    }

    fn stand_in(self: &Arc<Self>, name: &str, point: &Arc<MountPoint>) -> Result<Arc<Self>, Errno> {
        let directory = Arc::new(StandInDirectory(Arc::clone(&point.stand_in)));
        self.below(name, directory, &self.mount, Some(point))
    }

    /// Goes through `name` on the way to another.
    pub(super) fn enter(self: &Arc<Self>, name: &str) -> Result<EnteredPlace, Errno> {
        let point = self.point(name);
        if let Some(mounted) = point.and_then(|point| point.mounted.as_ref()) {
            return match &mounted.source {
                Source::Directory(root) => {
                    Ok(EnteredPlace::Place(self.below(name, Arc::clone(root), &mounted.mount, point)?))
                }
                Source::File(_) => Err(Errno::NotDirectory),
            };
        }
        match (self.directory.enter(name), point) {
            (Ok(Entered::Directory(directory)), _) => {
                Ok(EnteredPlace::Place(self.below(name, directory, &self.mount, point)?))
            }
            (Ok(Entered::Symlink(target)), _) => Ok(EnteredPlace::Symlink(target)),
            (Err(Errno::NotFound), Some(point)) => Ok(EnteredPlace::Place(self.stand_in(name, point)?)),
            (Err(errno), _) => Err(errno),
        }
    }

    fn open(self: &Arc<Self>, name: &str, options: OpenOptions) -> Result<OpenedPlace, Errno> {
        let point = self.point(name);
        if let Some(mounted) = point.and_then(|point| point.mounted.as_ref()) {
            if options.create && options.exclusive {
                return Err(Errno::Exist);
            }
            return match &mounted.source {
                Source::Directory(root) => {
                    Ok(OpenedPlace::Place(self.below(name, Arc::clone(root), &mounted.mount, point)?))
                }
                Source::File(file) => open_mounted_file(file, options, mounted.mount.read_only).map(OpenedPlace::File),
            };
        }
        match (open_on_mount(&*self.directory, name, options, self.mount.read_only), point) {
            (Ok(Found::Directory(directory)), _) => {
                Ok(OpenedPlace::Place(self.below(name, directory, &self.mount, point)?))
            }
            (Ok(Found::File(file)), _) => Ok(OpenedPlace::File(File::new(file, options, self.mount.read_only))),
            (Ok(Found::Symlink(target)), _) => Ok(OpenedPlace::Symlink(target)),
            (Err(Errno::NotFound), Some(point)) => Ok(OpenedPlace::Place(self.stand_in(name, point)?)),
            (Err(errno), _) => Err(errno),
        }
    }

    /// Metadata of `name`, not following it.
    fn stat_name(&self, name: &str) -> Result<Stat, Errno> {
        let point = self.point(name);
        if let Some(mounted) = point.and_then(|point| point.mounted.as_ref()) {
            return match &mounted.source {
                Source::Directory(root) => root.stat(),
                Source::File(file) => file.stat(),
            };
        }
        match (self.directory.stat_child(name), point) {
            (Err(Errno::NotFound), Some(point)) => StandInDirectory(Arc::clone(&point.stand_in)).stat(),
            (result, _) => result,
        }
    }

    fn set_times_of(&self, name: &str, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        if let Some(mounted) = self.point(name).and_then(|point| point.mounted.as_ref()) {
            return match &mounted.source {
                _ if mounted.mount.read_only => Err(Errno::ReadOnly),
                Source::Directory(root) => root.set_times(accessed, modified),
                Source::File(file) => file.set_times(accessed, modified),
            };
        }
        self.check_writable()?;
        self.directory.set_child_times(name, accessed, modified)
    }

    fn set_mode_of(&self, name: &str, mode: u32) -> Result<(), Errno> {
        if let Some(mounted) = self.point(name).and_then(|point| point.mounted.as_ref()) {
            return match &mounted.source {
                _ if mounted.mount.read_only => Err(Errno::ReadOnly),
                Source::Directory(root) => root.set_mode(mode),
                Source::File(file) => file.set_mode(mode),
            };
        }
        self.check_writable()?;
        self.directory.set_child_mode(name, mode)
    }

    fn check_writable(&self) -> Result<(), Errno> {
        if self.mount.read_only { Err(Errno::ReadOnly) } else { Ok(()) }
    }

    /// For what makes a new name: where it exists that is the answer, also on a read-only mount.
    fn check_creatable(&self, name: &str) -> Result<(), Errno> {
        if self.point(name).is_some() || (self.mount.read_only && self.stat_name(name).is_ok()) {
            return Err(Errno::Exist);
        }
        self.check_writable()
    }

    /// For what takes a name away: mount points and what leads to them stay.
    fn check_removable(&self, name: &str) -> Result<(), Errno> {
        if self.point(name).is_some() { Err(Errno::Busy) } else { self.check_writable() }
    }
}

/// Opens `name`; on a read-only mount, everything that would change the filesystem is `ReadOnly` instead, except
/// for devices, whose content is not the filesystem's.
fn open_on_mount(directory: &dyn Directory, name: &str, options: OpenOptions, read_only: bool) -> Result<Found, Errno> {
    let changes = options.write || options.create || options.truncate;
    if !(read_only && changes) {
        return directory.open(name, options);
    }
    let looking = OpenOptions { read: true, write: false, create: false, truncate: false, ..options };
    match directory.open(name, looking) {
        Ok(_) if options.create && options.exclusive => Err(Errno::Exist),
        Ok(Found::File(file)) if (options.write || options.truncate) && !file.is_stream() => Err(Errno::ReadOnly),
        Ok(Found::File(file)) if file.is_stream() => {
            drop(file);
            directory.open(name, OpenOptions { create: false, truncate: false, ..options })
        }
        Err(Errno::NotFound) if options.create => Err(Errno::ReadOnly),
        other => other,
    }
}

fn open_mounted_file(file: &Arc<dyn FileObject>, options: OpenOptions, read_only: bool) -> Result<File, Errno> {
    if read_only && (options.write || options.truncate) && !file.is_stream() {
        return Err(Errno::ReadOnly);
    }
    let for_this = OpenOptions { write: options.write || options.truncate, ..options };
    let file = file.reopened(for_this).unwrap_or_else(|| Ok(Arc::clone(file)))?;
    if options.truncate && !file.is_stream() {
        file.set_size(0)?;
    }
    Ok(File::new(file, options, read_only))
}

/// How a path ends that names no entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing but slashes: the root.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
}

/// Where a path leads, its last component not followed.
enum Target<T> {
    /// A directory itself.
    Itself(Arc<Place>, Ending),
    /// A name, which may be missing, in a directory that is there.
    Name { parent: Arc<Place>, name: String, must_be_directory: bool },
    /// The short cut gave the answer.
    Direct(T),
}

/// A short cut through several components; see [`Directory::open_beneath`].
type ShortCut<'a, T> = &'a dyn Fn(&Place, &str) -> Option<Result<T, Errno>>;

/// One resolution: the root it is confined to, and how many symlinks it went through.
struct Walk<'a> {
    root: &'a Arc<Place>,
    links: u32,
}

impl Walk<'_> {
    fn count_link(&mut self, target: &str) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_SYMLINKS {
            Err(Errno::Loop)
        } else if target.is_empty() {
            Err(Errno::NotFound)
        } else {
            Ok(())
        }
    }

    fn resolve<T>(
        &mut self,
        from: &Arc<Place>,
        path: &str,
        short_cut: Option<ShortCut<'_, T>>,
    ) -> Result<Target<T>, Errno> {
        let mut path = Cow::Borrowed(path);
        let mut position = 0;
        let mut place = Arc::clone(if path.starts_with('/') { self.root } else { from });
        let mut ending = Ending::Root;
        loop {
            let rest = path[position..].trim_start_matches('/');
            if let Some(short_cut) = short_cut
                && place.points.is_none()
                && is_plain_walk(rest)
                && let Some(result) = short_cut(&place, rest)
            {
                return result.map(Target::Direct);
            }
            let (name, after) = split_first(rest);
            let next_position = path.len() - after.len();
            match name {
                "" => return Ok(Target::Itself(place, ending)),
                "." => ending = Ending::Dot,
                ".." => {
                    place = place.parent();
                    ending = Ending::DotDot;
                }
                name => {
                    check_name(name)?;
                    if is_finished(after) {
                        let must_be_directory = !after.is_empty();
                        return Ok(Target::Name { parent: place, name: name.to_owned(), must_be_directory });
                    }
                    match place.enter(name)? {
                        EnteredPlace::Place(next) => place = next,
                        EnteredPlace::Symlink(target) => {
                            self.count_link(&target)?;
                            if target.starts_with('/') {
                                place = Arc::clone(self.root);
                            }
                            path = Cow::Owned(format!("{target}{after}"));
                            position = 0;
                            continue;
                        }
                    }
                }
            }
            position = next_position;
        }
    }

    /// Resolves `path` to something that exists; `follow` says whether a symlink at its end is followed (a path that
    /// ends in a slash always follows).
    fn locate(
        &mut self,
        from: &Arc<Place>,
        path: &str,
        follow: bool,
        short_cut: Option<ShortCut<'_, Stat>>,
    ) -> Result<Located, Errno> {
        let mut from = Arc::clone(from);
        let mut path = Cow::Borrowed(path);
        loop {
            let (parent, name, must_be_directory) = match self.resolve(&from, &path, short_cut)? {
                Target::Itself(place, _) => return Ok(Located::Place(place)),
                Target::Direct(stat) => return Ok(Located::Stat(stat)),
                Target::Name { parent, name, must_be_directory } => (parent, name, must_be_directory),
            };
            let stat = parent.stat_name(&name)?;
            if stat.kind == FileKind::Symlink && (follow || must_be_directory) {
                let target = parent.directory.read_link(&name)?;
                self.count_link(&target)?;
                path = Cow::Owned(if must_be_directory { target + "/" } else { target });
                from = parent;
            } else if must_be_directory && stat.kind != FileKind::Directory {
                return Err(Errno::NotDirectory);
            } else {
                return Ok(Located::Name { parent, name, stat });
            }
        }
    }
}

enum Located {
    Place(Arc<Place>),
    Name { parent: Arc<Place>, name: String, stat: Stat },
    Stat(Stat),
}

/// An open directory of a mount table, the base of relative paths. Clones share it.
#[derive(Clone)]
pub struct Dir {
    table: MountTable,
    place: Arc<Place>,
}

impl fmt::Debug for Dir {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Dir").field("path", &self.path()).finish()
    }
}

impl Dir {
    pub(super) fn new(table: MountTable, place: Arc<Place>) -> Self {
        Self { table, place }
    }

    fn walk(&self) -> Walk<'_> {
        Walk { root: &self.table.root, links: 0 }
    }

    fn resolve(&self, path: &str) -> Result<Target<()>, Errno> {
        check_path(path)?;
        self.walk().resolve(&self.place, path, None)
    }

    /// The absolute path by which this directory was reached, symlinks resolved.
    pub fn path(&self) -> String {
        let names = self.place.names();
        if names.is_empty() { "/".to_owned() } else { names.iter().flat_map(|name| ["/", name]).collect() }
    }

    /// Whether `other` is a directory of the same container.
    pub fn same_table(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table.root, &other.table.root)
    }

    /// Opens `path`, resolved from this directory (an absolute path: from the container's root).
    pub fn open(&self, path: &str, options: OpenOptions) -> Result<Opened, Errno> {
        check_path(path)?;
        if options.create && options.directory {
            return Err(Errno::Invalid);
        }
        let mut walk = self.walk();
        let mut from = Arc::clone(&self.place);
        let mut path = Cow::Borrowed(path);
        loop {
            let short_cut = |place: &Place, rest: &str| open_beneath(place, rest, options);
            let (parent, name, slash) = match walk.resolve(&from, &path, Some(&short_cut))? {
                Target::Direct(file) => return Ok(Opened::File(file)),
                Target::Itself(place, _) => return self.opened_directory(place, options),
                Target::Name { parent, name, must_be_directory } => (parent, name, must_be_directory),
            };
            if slash && options.create {
                return Err(Errno::IsDirectory);
            }
            // Nothing may be made or cut where only a directory will do.
            let only_directory = slash || options.directory;
            let asked = if only_directory {
                OpenOptions { read: true, write: false, create: false, truncate: false, ..options }
            } else {
                options
            };
            match parent.open(&name, asked)? {
                OpenedPlace::Place(place) => return self.opened_directory(place, options),
                OpenedPlace::File(_) if only_directory => return Err(Errno::NotDirectory),
                OpenedPlace::File(file) => return Ok(Opened::File(file)),
                OpenedPlace::Symlink(_) if options.create && options.exclusive => return Err(Errno::Exist),
                OpenedPlace::Symlink(_) if options.directory && !options.follow && !slash => {
                    return Err(Errno::NotDirectory);
                }
                OpenedPlace::Symlink(_) if !options.follow && !slash => return Err(Errno::Loop),
                OpenedPlace::Symlink(target) => {
                    walk.count_link(&target)?;
                    path = Cow::Owned(if slash { target + "/" } else { target });
                    from = parent;
                }
            }
        }
    }

    fn opened_directory(&self, place: Arc<Place>, options: OpenOptions) -> Result<Opened, Errno> {
        if options.create && options.exclusive {
            Err(Errno::Exist)
        } else if options.write || options.create || options.truncate {
            Err(Errno::IsDirectory)
        } else {
            Ok(Opened::Dir(Self::new(self.table.clone(), place)))
        }
    }

    /// Metadata of this directory itself.
    pub fn stat(&self) -> Result<Stat, Errno> {
        self.place.directory.stat()
    }

    /// Metadata of `path`; `follow` says whether a symlink in the last component is followed.
    pub fn stat_at(&self, path: &str, follow: bool) -> Result<Stat, Errno> {
        check_path(path)?;
        let short_cut = |place: &Place, rest: &str| place.directory.stat_beneath(rest, follow);
        match self.walk().locate(&self.place, path, follow, Some(&short_cut))? {
            Located::Place(place) => place.directory.stat(),
            Located::Name { stat, .. } | Located::Stat(stat) => Ok(stat),
        }
    }

    /// Sets times of this directory itself.
    pub fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        self.place.check_writable()?;
        self.place.directory.set_times(accessed, modified)
    }

    /// Sets times of `path`.
    pub fn set_times_at(&self, path: &str, follow: bool, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        check_path(path)?;
        match self.walk().locate(&self.place, path, follow, None)? {
            Located::Place(place) => {
                place.check_writable()?;
                place.directory.set_times(accessed, modified)
            }
            Located::Name { parent, name, .. } => parent.set_times_of(&name, accessed, modified),
            Located::Stat(_) => Ok(()),
        }
    }

    /// Sets the permission bits of this directory itself.
    pub fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        self.place.check_writable()?;
        self.place.directory.set_mode(mode & MODE_BITS)
    }

    /// Sets the permission bits of `path`. Symlinks have none of their own: `Unsupported` where one is not followed.
    pub fn set_mode_at(&self, path: &str, follow: bool, mode: u32) -> Result<(), Errno> {
        check_path(path)?;
        match self.walk().locate(&self.place, path, follow, None)? {
            Located::Place(place) => {
                place.check_writable()?;
                place.directory.set_mode(mode & MODE_BITS)
            }
            Located::Name { parent, name, .. } => parent.set_mode_of(&name, mode & MODE_BITS),
            Located::Stat(_) => Ok(()),
        }
    }

    /// Makes a directory.
    pub fn create_dir(&self, path: &str, mode: u32) -> Result<(), Errno> {
        let Target::Name { parent, name, .. } = self.resolve(path)? else {
            return Err(Errno::Exist);
        };
        parent.check_creatable(&name)?;
        parent.directory.create_dir(&name, mode & MODE_BITS)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        match self.resolve(path)? {
            Target::Itself(_, Ending::Dot) => Err(Errno::Invalid),
            Target::Itself(_, Ending::DotDot) => Err(Errno::NotEmpty),
            Target::Itself(_, Ending::Root) | Target::Direct(()) => Err(Errno::Busy),
            Target::Name { parent, name, .. } => {
                parent.check_removable(&name)?;
                parent.directory.remove_dir(&name)
            }
        }
    }

    /// Removes a name that is not a directory.
    pub fn unlink(&self, path: &str) -> Result<(), Errno> {
        let Target::Name { parent, name, must_be_directory } = self.resolve(path)? else {
            return Err(Errno::IsDirectory);
        };
        if must_be_directory {
            let is_directory = parent.stat_name(&name)?.kind == FileKind::Directory;
            return Err(if is_directory { Errno::IsDirectory } else { Errno::NotDirectory });
        }
        parent.check_removable(&name)?;
        parent.directory.unlink(&name)
    }

    /// Moves `path` to `to_path` under `to`, replacing what POSIX lets it replace.
    pub fn rename(&self, path: &str, to: &Dir, to_path: &str) -> Result<(), Errno> {
        let (source, target) = (self.resolve(path)?, to.resolve(to_path)?);
        let Target::Name { parent, name, must_be_directory } = source else {
            return Err(Errno::Busy);
        };
        let Target::Name { parent: to_parent, name: to_name, must_be_directory: to_must_be_directory } = target else {
            return Err(Errno::Busy);
        };
        if !Arc::ptr_eq(&parent.mount, &to_parent.mount) {
            return Err(Errno::CrossDevice);
        }
        if (must_be_directory || to_must_be_directory) && parent.stat_name(&name)?.kind != FileKind::Directory {
            return Err(Errno::NotDirectory);
        }
        parent.check_removable(&name)?;
        to_parent.check_removable(&to_name)?;
        parent.directory.rename(&name, &*to_parent.directory, &to_name)
    }

    /// Makes `new_path` under `new` another name of `path`.
    pub fn link(&self, path: &str, follow: bool, new: &Dir, new_path: &str) -> Result<(), Errno> {
        check_path(path)?;
        let source = self.walk().locate(&self.place, path, follow, None)?;
        let Target::Name { parent: new_parent, name: new_name, must_be_directory } = new.resolve(new_path)? else {
            return Err(Errno::Exist);
        };
        if must_be_directory {
            return Err(if new_parent.stat_name(&new_name).is_ok() { Errno::Exist } else { Errno::NotFound });
        }
        new_parent.check_creatable(&new_name)?;
        let Located::Name { parent, name, stat } = source else {
            return Err(if new_parent.stat_name(&new_name).is_ok() { Errno::Exist } else { Errno::NotPermitted });
        };
        if parent.point(&name).is_some_and(|point| point.mounted.is_some())
            || !Arc::ptr_eq(&parent.mount, &new_parent.mount)
        {
            return Err(Errno::CrossDevice);
        }
        if stat.kind == FileKind::Directory {
            return Err(if new_parent.stat_name(&new_name).is_ok() { Errno::Exist } else { Errno::NotPermitted });
        }
        parent.directory.link(&name, &*new_parent.directory, &new_name)
    }

    /// Makes a symlink at `path` with the content `target`, kept as it is.
    pub fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        check_path(target)?;
        debug_assert!(target.len() <= MAX_PATH);
        let Target::Name { parent, name, must_be_directory } = self.resolve(path)? else {
            return Err(Errno::Exist);
        };
        if must_be_directory {
            return Err(if parent.stat_name(&name).is_ok() { Errno::Exist } else { Errno::NotFound });
        }
        parent.check_creatable(&name)?;
        parent.directory.symlink(target, &name)
    }

    /// The content of the symlink `path`; `Invalid` where it is something else.
    pub fn read_link(&self, path: &str) -> Result<String, Errno> {
        check_path(path)?;
        match self.walk().locate(&self.place, path, false, None)? {
            Located::Name { parent, name, stat } if stat.kind == FileKind::Symlink => parent.directory.read_link(&name),
            Located::Place(_) | Located::Name { .. } | Located::Stat(_) => Err(Errno::Invalid),
        }
    }

    /// The entries, sorted by name; mount points are among them.
    pub fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = self.place.directory.entries()?;
        if let Some(points) = &self.place.points {
            entries.retain(|entry| points.children.get(&entry.name).is_none_or(|point| point.mounted.is_none()));
            for (name, point) in &points.children {
                if point.mounted.is_some() || !entries.iter().any(|entry| entry.name == *name) {
                    let stat = self.place.stat_name(name)?;
                    entries.push(DirEntry { name: name.clone(), kind: stat.kind, inode: stat.inode });
                }
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
}

/// The short cut of [`Dir::open`]; only files come of it, because a directory must know the way to it.
fn open_beneath(place: &Place, rest: &str, options: OpenOptions) -> Option<Result<File, Errno>> {
    if options.directory || (place.mount.read_only && (options.write || options.create || options.truncate)) {
        return None;
    }
    match place.directory.open_beneath(rest, options)? {
        Ok(Found::File(file)) => Some(Ok(File::new(file, options, place.mount.read_only))),
        Ok(Found::Directory(_) | Found::Symlink(_)) => None,
        Err(errno) => Some(Err(errno)),
    }
}
