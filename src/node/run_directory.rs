//! The directory in which one agent keeps what its pods need on disk, for as long as it runs: the pods' own directories,
//! by UID, and the journal. A lock that the system takes back when the agent ends, however it ends, tells a directory in
//! use from one that was left behind.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{journal, logs};
use crate::base::clock::Timestamp;
use crate::base::files::{is_at, private, private_directory};
use crate::volume::PodVolumes;

/// The file whose lock says that the directory is in use.
const LOCK: &str = "lock";
/// Times that another name is tried for a new directory.
const ATTEMPTS: u32 = 16;
/// Names of run directories: when they were made, and by which process. They sort by time.
const NAME_FORMAT: &str = "run-%Y%m%dT%H%M%S.%6fZ";

/// A run directory that this process has the lock of.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    /// Held open for its lock.
    _lock: File,
}

impl RunDirectory {
    /// A new directory among the others in `parent`, which is made if it is missing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(parent: &Path, now: Timestamp) -> io::Result<Self> {
        private_directory(DirBuilder::new().recursive(true)).create(parent)?;
        for attempt in 0..ATTEMPTS {
            let time = now.strftime(NAME_FORMAT);
            let path = parent.join(format!("{time}-{}-{attempt}", std::process::id()));
            match private_directory(&mut DirBuilder::new()).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            }
            // Before it is locked it looks like one that was left behind, and somebody may be removing it already.
            match Self::lock(path) {
                Ok(Some(directory)) => return Ok(directory),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
        Err(io::Error::other("other processes keep removing it"))
    }

    /// The directory at `path`, made if it is missing, for an agent that always has the same one; `None` if another process
    /// has it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn at(path: PathBuf) -> io::Result<Option<Self>> {
        private_directory(DirBuilder::new().recursive(true)).create(&path)?;
        Self::lock(path)
    }

    /// Those that were left behind, the newest first. Nobody else has them until they are dropped.
    pub fn left_behind(parent: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
        let is_run = |name: &str| name.starts_with("run-");
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| is_run(name)).collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        // One that cannot be locked is another's to see to.
        names.into_iter().filter_map(|name| Self::lock(parent.join(name)).ok().flatten()).collect()
    }

    /// Where those are that other processes have, the oldest first.
    pub fn in_use(parent: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut paths: Vec<_> = names.filter(|name| name.starts_with("run-")).map(|name| parent.join(name)).collect();
        paths.sort_unstable();
        let is_locked = |path: &PathBuf| {
            let lock = File::open(path.join(LOCK));
            lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
        };
        paths.retain(is_locked);
        paths
    }

    /// `None` if another process has it.
    fn lock(path: PathBuf) -> io::Result<Option<Self>> {
        if !fs::symlink_metadata(&path)?.is_dir() {
            return Ok(None);
        }
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false)).open(path.join(LOCK))?;
        match lock.try_lock() {
            // Whoever had it until now may have removed it.
            Ok(()) if is_at(&lock, &path.join(LOCK)) => Ok(Some(Self { path, _lock: lock })),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the pod with this UID has files here.
    pub fn has(&self, uid: &str) -> bool {
        fs::symlink_metadata(self.path.join(uid)).is_ok_and(|metadata| metadata.is_dir())
    }

    /// The UIDs of all pods that have files here.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn pods(&self) -> io::Result<Vec<String>> {
        let mut pods = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(uid) = entry.file_name().into_string()
            {
                pods.push(uid);
            }
        }
        Ok(pods)
    }

    /// Takes over what a pod has in another directory.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn take(&self, uid: &str, from: &Self) -> io::Result<()> {
        fs::rename(from.path.join(uid), self.path.join(uid))
    }

    /// Removes what a pod has here; directories of the host and of claims stay.
    ///
    /// # Errors
    /// When something could not be removed.
    pub fn remove_pod(&self, uid: &str) -> io::Result<()> {
        remove_pod(&self.path.join(uid))
    }

    /// Removes everything, after which it is of no use. Without the journal, which goes first, nobody will take the pods up
    /// again.
    ///
    /// # Errors
    /// When something could not be removed; the rest is gone.
    pub fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for name in [journal::FILE, journal::NEW_FILE] {
            result = result.and(unless_missing(fs::remove_file(self.path.join(name))));
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                result = result.and(remove_pod(&entry.path()));
            } else if entry.file_name() != LOCK {
                result = result.and(unless_missing(fs::remove_file(entry.path())));
            }
        }
        result?;
        unless_missing(fs::remove_file(self.path.join(LOCK)))?;
        match fs::remove_dir(&self.path) {
            // Its name was taken again at once.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => unless_missing(other),
        }
    }
}

/// Where the containers of a pod keep what they change of their images.
pub(super) fn roots(pod_directory: &Path) -> PathBuf {
    pod_directory.join("containers")
}

/// Where a native container has the files that the kubelet writes, beside its root.
pub(super) fn managed_files(root: &Path) -> PathBuf {
    root.with_extension("files")
}

/// Removes what containers of a pod had changed of their images, but for those with these IDs: the others are dead.
pub(super) fn remove_roots(pod_directory: &Path, alive: &HashSet<String>) -> io::Result<()> {
    let roots = roots(pod_directory);
    if alive.is_empty() {
        return unless_missing(fs::remove_dir_all(roots));
    }
    for entry in fs::read_dir(roots)? {
        let path = entry?.path();
        let is_alive = path.file_stem().and_then(OsStr::to_str).is_some_and(|id| alive.contains(id));
        if !is_alive {
            unless_missing(fs::remove_dir_all(path))?;
        }
    }
    Ok(())
}

/// Unmounts what was mounted for a pod.
pub(super) fn unmount(directory: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    crate::runtime::linux::unmount_below(directory)?;
    #[cfg(not(target_os = "linux"))]
    let _ = directory;
    Ok(())
}

/// Removes all that is left of a pod on disk.
pub(super) fn remove_pod(directory: &Path) -> io::Result<()> {
    unmount(directory)?;
    PodVolumes::tear_down_leftovers(directory)?;
    unless_missing(fs::remove_dir_all(directory))
}

/// Removes all that a pod needed to run, and leaves its logs, which may be read until nobody knows the pod any more.
pub(super) fn remove_all_but_logs(directory: &Path) -> io::Result<()> {
    unmount(directory)?;
    PodVolumes::tear_down_leftovers(directory)?;
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == logs::FOLDER {
            continue;
        }
        let path = entry.path();
        let removed = if entry.file_type()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        unless_missing(removed)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => unless_missing(other),
    }
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn what_is_in_use_is_not_left_behind() {
        let pods = tempfile::tempdir().unwrap();
        let parent = pods.path().join("pods");
        assert!(RunDirectory::left_behind(&parent).is_empty());
        let first = RunDirectory::create(&parent, now()).unwrap();
        let second = RunDirectory::create(&parent, now()).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(RunDirectory::left_behind(&parent).is_empty());
        let path = first.path().to_owned();
        drop(first);
        let left = RunDirectory::left_behind(&parent);
        assert_eq!(left.iter().map(RunDirectory::path).collect::<Vec<_>>(), [path]);
        assert!(RunDirectory::left_behind(&parent).is_empty(), "another has it now");
    }

    #[test]
    fn the_newest_comes_first() {
        let pods = tempfile::tempdir().unwrap();
        let made = [3, 1, 2].map(|seconds| {
            let time = now() + jiff::SignedDuration::from_millis(seconds * 1001);
            RunDirectory::create(pods.path(), time).unwrap().path().to_owned()
        });
        let left = RunDirectory::left_behind(pods.path());
        assert_eq!(left.iter().map(RunDirectory::path).collect::<Vec<_>>(), [&made[0], &made[2], &made[1]]);
    }

    #[test]
    fn everything_goes_and_nothing_else() {
        let pods = tempfile::tempdir().unwrap();
        let (precious, parent) = (pods.path().join("precious"), pods.path().join("pods"));
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "data").unwrap();
        let directory = RunDirectory::create(&parent, now()).unwrap();
        let volume = directory.path().join("uid/volumes/kubernetes.io~empty-dir/v");
        fs::create_dir_all(volume.join("a/b/c")).unwrap();
        fs::create_dir_all(directory.path().join("uid/containers/id")).unwrap();
        for name in [journal::FILE, journal::NEW_FILE, "uid/containers/id/0"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt, symlink};
            symlink(&precious, volume.join("link")).unwrap();
            symlink(&precious, directory.path().join("link")).unwrap();
            symlink(&precious, parent.join("run-link")).unwrap();
            fs::set_permissions(volume.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
            assert_eq!(directory.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        drop(directory);
        for left in RunDirectory::left_behind(&parent) {
            left.remove().unwrap();
        }
        let rest = fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(rest.into_iter().all(|name| name == "run-link"));
        assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "data");
        assert_eq!(fs::read_dir(&precious).unwrap().count(), 1, "no lock either");
    }

    #[test]
    fn files_of_a_pod_are_moved() {
        let pods = tempfile::tempdir().unwrap();
        let [one, other] = [0, 1].map(|_| RunDirectory::create(pods.path(), now()).unwrap());
        fs::create_dir_all(one.path().join("uid/volumes")).unwrap();
        assert!(one.has("uid") && !other.has("uid"));
        other.take("uid", &one).unwrap();
        assert!(!one.has("uid") && other.has("uid"));
        other.remove_pod("uid").unwrap();
        assert!(!other.has("uid"));
    }

    /// Many at once that make directories, find those of others not left behind, and remove what is.
    #[test]
    fn nobody_loses_a_directory_to_a_tidier() {
        let pods = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let parent = pods.path();
                scope.spawn(move || {
                    for round in 0..50 {
                        let time = now() + jiff::SignedDuration::from_micros(number * 1000 + round);
                        let directory = RunDirectory::create(parent, time).unwrap();
                        fs::write(directory.path().join("mine"), "").unwrap();
                        RunDirectory::left_behind(parent).into_iter().for_each(|left| left.remove().unwrap());
                        assert!(directory.path().join("mine").exists());
                        if round % 2 == 0 {
                            directory.remove().unwrap();
                        }
                    }
                });
            }
        });
        RunDirectory::left_behind(pods.path()).into_iter().for_each(|left| left.remove().unwrap());
        assert_eq!(fs::read_dir(pods.path()).unwrap().count(), 0);
    }
}
