//! Running husk, wasmtime and native peers, in a directory of the run's own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use jiff::Timestamp;

use crate::PEER;
use crate::workload::now;

/// The programs that are measured and what they need.
pub(crate) struct Programs {
    directory: tempfile::TempDir,
    /// What `wasmtime --version` says, if there is one.
    wasmtime: Option<String>,
}

/// How wasmtime is called in the table.
pub(crate) const WASMTIME: &str = "wasmtime run";

impl Programs {
    /// Looks for wasmtime, and makes the directory.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let version = Command::new("wasmtime").arg("--version").output();
        let wasmtime = version.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        if wasmtime.is_none() {
            eprintln!("there is no `wasmtime` on PATH: husk is measured without its peer");
        }
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        Ok(Self { directory, wasmtime })
    }

    /// A line that says what was measured where and when.
    pub(crate) fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let os = std::env::consts::OS;
        let arch = std::env::consts::ARCH;
        let date = Timestamp::now().strftime("%F").to_string();
        let wasmtime = self.wasmtime.as_deref().unwrap_or("no wasmtime to compare with");
        format!("Measured {date} on {os} ({arch}, {cores} cores): husk {}, {wasmtime}.", env!("CARGO_PKG_VERSION"))
    }

    /// Where files can be put.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, contents: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory().join(name);
        fs::write(&path, contents)?;
        Ok(path)
    }

    /// husk, with images and a code cache of this run.
    pub(crate) fn husk(&self) -> Command {
        self.husk_with_cache(&self.directory().join("husk-cache"))
    }

    /// husk, with its code cache in this directory.
    pub(crate) fn husk_with_cache(&self, cache: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_husk"));
        command.env("HUSK_DATA_DIR", self.directory().join("husk-data")).env("HUSK_CACHE_DIR", cache);
        command.env_remove("HUSK_LOG").current_dir(self.directory());
        command
    }

    /// Makes an image of a program.
    pub(crate) fn import(&self, program: &Path, name: &str) -> anyhow::Result<()> {
        output(self.husk().args(["image", "import"]).arg(program).arg(name)).map(drop)
    }

    /// `wasmtime`, with a cache of this run; `None` where there is none.
    pub(crate) fn wasmtime(&self) -> Option<Command> {
        self.wasmtime.as_ref()?;
        let mut command = Command::new("wasmtime");
        command.env("XDG_CACHE_HOME", self.directory().join("wasmtime-cache")).current_dir(self.directory());
        Some(command)
    }
}

/// This program, as the native peer that `args` say.
pub(crate) fn native(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(PEER).args(args);
    Ok(command)
}

/// The file of a guest, as the build made it.
pub(crate) fn guest(level: &str, name: &str) -> PathBuf {
    Path::new(env!("HUSK_GUESTS_DIR")).join(level).join(format!("{name}.wasm"))
}

/// A pod that is not restarted, with these containers: name, image, arguments.
pub(crate) fn pod(containers: &[(&str, &str, &[&str])]) -> String {
    let head = "apiVersion: v1\nkind: Pod\nmetadata: {name: bench}\nspec:\n  restartPolicy: Never\n  containers:\n";
    let containers = containers
        .iter()
        .map(|(name, image, args)| format!("  - name: {name}\n    image: {image}\n    args: {args:?}\n"));
    head.to_owned() + &containers.collect::<String>()
}

/// Runs a program to its end, which must be a success, and gives what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    finished(start(command)?, command)
}

/// Starts a program whose output is read.
pub(crate) fn start(command: &mut Command) -> anyhow::Result<Child> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    started.with_context(|| format!("cannot start {command:?}"))
}

/// Waits for the end of a program, which must be a success, and gives what it printed.
pub(crate) fn finished(child: Child, command: &Command) -> anyhow::Result<String> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The seconds a program takes from its start to its end.
pub(crate) fn seconds(command: &mut Command) -> anyhow::Result<[f64; 1]> {
    let begun = now();
    output(command)?;
    Ok([begun.elapsed().as_secs_f64()])
}

/// Runs a program and gives the numbers it prints as lines of `name value`.
pub(crate) fn printed<const N: usize>(command: &mut Command, names: [&str; N]) -> anyhow::Result<[f64; N]> {
    numbers(&output(command)?, names)
}

/// The numbers of these names in a program's output.
pub(crate) fn numbers<const N: usize>(output: &str, names: [&str; N]) -> anyhow::Result<[f64; N]> {
    let mut numbers = [0.0; N];
    for (number, name) in numbers.iter_mut().zip(names) {
        let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        *number = found.with_context(|| format!("the output has no {name:?}: {output:?}"))?;
    }
    Ok(numbers)
}
