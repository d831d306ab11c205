//! The API of a `husk run` that is under way, for verbs of the same user in other terminals: how a run offers it, and how
//! they find it. It is spoken over a socket in the directory of the run's pods, so that it goes with the run:
//!
//! ```text
//! pods/run-20261121T100000.123456Z-4242-0/
//!   api.sock     plain HTTP, for processes of the user's
//!   state.json   who runs what here
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::paths::Paths;
use super::serve::private;
use crate::cli::output::table;
use crate::node::RunDirectory;

/// The socket.
pub(super) const SOCKET: &str = "api.sock";
/// What a run says of itself.
const STATE: &str = "state.json";
/// Files of a run that are named in a list.
const FILES_SHOWN: usize = 3;

/// A run under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunUnderWay {
    /// Its process.
    pub(super) pid: u32,
    /// Since when it runs.
    pub(super) since: Timestamp,
    /// What it was told to run.
    pub(super) files: Vec<String>,
    /// The namespace of objects that name none.
    pub(super) namespace: String,
    /// Where it is reached.
    #[serde(skip)]
    pub(super) socket: PathBuf,
}

impl RunUnderWay {
    /// Says in the directory of a run what it is, once it can be reached.
    pub(super) fn announce(&self, directory: &Path) {
        if let Err(error) = self.write(directory) {
            // The pods run all the same.
            warn!(%error, "other commands will not find these pods");
        }
    }

    /// It need not outlive the machine, and so does not wait for the disk.
    fn write(&self, directory: &Path) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.persist(directory.join(STATE))?;
        Ok(())
    }

    /// Those of a data directory, the oldest first.
    fn all(paths: &Paths) -> Vec<Self> {
        let read = |directory: PathBuf| {
            // One that is only about to start, or to end, has nothing to say.
            let said = private::read_text(&directory.join(STATE)).ok()??;
            let run: Self = serde_json::from_str(&said).ok()?;
            Some(Self { socket: directory.join(SOCKET), ..run })
        };
        RunDirectory::in_use(&paths.pods).into_iter().filter_map(read).collect()
    }

    fn row(&self) -> Vec<String> {
        let since = self.since.round(jiff::Unit::Second).unwrap_or(self.since).to_string();
        let mut files = self.files.iter().take(FILES_SHOWN).cloned().collect::<Vec<_>>().join(" ");
        if self.files.len() > FILES_SHOWN {
            files.push_str(" …");
        }
        vec![self.pid.to_string(), since, files]
    }
}

/// The one run under way; `None` if there is none.
///
/// # Errors
/// There are several, and it says how to choose.
pub(super) fn only(paths: &Paths) -> anyhow::Result<Option<RunUnderWay>> {
    let mut runs = RunUnderWay::all(paths);
    match runs.len() {
        0 | 1 => Ok(runs.pop()),
        _ => Err(several(&runs)),
    }
}

/// The run that `--run` names by its process; the only one if it names none.
///
/// # Errors
/// There is none, or there are several.
pub(super) fn find(paths: &Paths, pid: Option<u32>) -> anyhow::Result<RunUnderWay> {
    let data = paths.data.display();
    let Some(pid) = pid else {
        return only(paths)?.with_context(|| format!("no `husk run` is under way on {data}"));
    };
    let runs = RunUnderWay::all(paths);
    if let Some(run) = runs.iter().find(|run| run.pid == pid) {
        return Ok(run.clone());
    }
    match runs.is_empty() {
        true => bail!("no `husk run` is under way on {data}"),
        false => bail!("no `husk run` under way on {data} is process {pid}:\n{}", list(&runs)),
    }
}

fn several(runs: &[RunUnderWay]) -> anyhow::Error {
    anyhow!("several `husk run` are under way: choose one with --run=PID\n{}", list(runs))
}

fn list(runs: &[RunUnderWay]) -> String {
    let rows: Vec<_> = runs.iter().map(RunUnderWay::row).collect();
    table::render(&["PID", "SINCE", "FILES"], &rows).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Global, Switch};

    fn run(pid: u32) -> RunUnderWay {
        let (files, namespace) = (vec!["pod.yaml".to_owned()], "default".to_owned());
        RunUnderWay { pid, since: Timestamp::UNIX_EPOCH, files, namespace, socket: PathBuf::new() }
    }

    /// A data directory, and a place in it where a run has its pods for as long as it is held.
    fn paths(root: &Path) -> Paths {
        let (data_dir, cache_dir) = (Some(root.to_owned()), Some(root.to_owned()));
        Paths::new(&Global { data_dir, cache_dir, registries: None, image_aliases: Switch::On, image_limit: None })
            .unwrap()
    }

    fn begin(paths: &Paths, pid: u32, at: i64) -> RunDirectory {
        let directory = RunDirectory::create(&paths.pods, Timestamp::from_second(at).unwrap()).unwrap();
        run(pid).announce(directory.path());
        directory
    }

    #[test]
    fn the_one_run_is_found_and_of_several_one_is_chosen() {
        let root = tempfile::tempdir().unwrap();
        let paths = paths(root.path());
        assert_eq!(only(&paths).unwrap(), None);
        assert!(find(&paths, None).unwrap_err().to_string().starts_with("no `husk run` is under way on "));
        let first = begin(&paths, 41, 1);
        // It has not said anything yet.
        let _starting = RunDirectory::create(&paths.pods, Timestamp::from_second(2).unwrap()).unwrap();
        let found = only(&paths).unwrap().unwrap();
        assert_eq!((found.pid, found.socket), (41, first.path().join("api.sock")));
        let second = begin(&paths, 42, 3);
        let error = only(&paths).unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines[0], "several `husk run` are under way: choose one with --run=PID");
        assert!(lines[2].starts_with("41 ") && lines[3].ends_with("pod.yaml"), "{error}");
        assert_eq!(find(&paths, Some(42)).unwrap().socket, second.path().join("api.sock"));
        assert!(find(&paths, Some(43)).unwrap_err().to_string().contains("is process 43"));
        // What a killed one has left does not count.
        drop(first);
        assert_eq!(only(&paths).unwrap().unwrap().pid, 42);
    }
}
