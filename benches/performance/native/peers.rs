//! `crun` and podman, doing what husk does. Both are run in a mount namespace of their own, where control groups are as they
//! like them: on machines with a hybrid hierarchy, `crun` works only if it does not see the unified one.

use std::cell::Cell;
use std::fs;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::programs::{native, numbers, output};

/// What this program, as the peer that measures others, prints.
const SECONDS: &str = "seconds";

/// Runs a program, and prints the seconds that it takes.
pub(crate) fn time(argv: &[&str]) -> anyhow::Result<()> {
    let [program, args @ ..] = argv else { bail!("no program to measure is named") };
    let mut command = Command::new(program);
    // What goes on in the background keeps a pipe open.
    let mut said = tempfile::tempfile()?;
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let begun = crate::workload::now();
    let ended = command.status().with_context(|| format!("cannot start {program}"))?;
    let seconds = begun.elapsed().as_secs_f64();
    if !ended.success() {
        said.rewind()?;
        bail!("{argv:?} failed: {}", std::io::read_to_string(said)?);
    }
    println!("{SECONDS} {seconds}");
    Ok(())
}

/// The seconds that a program takes where the unified hierarchy does not show if there are others.
fn seconds(argv: &[&str]) -> anyhow::Result<f64> {
    let script = "if [ -e /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi; exec \"$@\"";
    let timed = native(["time"].iter().chain(argv))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
    command.arg(timed.get_program()).args(timed.get_args());
    let [seconds] = numbers(&output(&mut command)?, [SECONDS])?;
    Ok(seconds)
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("there is no `{program}` on PATH: husk is measured without this peer");
    }
    found
}

/// A container of a peer's that runs, until this goes.
pub(super) struct Running {
    execute: Vec<String>,
    end: Vec<String>,
}

impl Running {
    /// The seconds that `true` takes in it.
    pub(super) fn execute(&self) -> anyhow::Result<f64> {
        seconds(&self.execute.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = seconds(&self.end.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// `crun`, with a bundle of the same files, as `crun spec` makes it: without a filter of system calls.
pub(super) struct Crun {
    bundle: String,
    state: String,
    runs: Cell<usize>,
}

impl Crun {
    pub(super) fn find(directory: &Path, layer: &Path) -> anyhow::Result<Option<Self>> {
        if !is_there("crun") {
            return Ok(None);
        }
        let bundle = directory.join("crun");
        fs::create_dir_all(&bundle)?;
        let copied = Command::new("cp").arg("-a").arg(layer).arg(bundle.join("rootfs")).status()?;
        anyhow::ensure!(copied.success(), "cannot copy the layer");
        output(Command::new("crun").arg("spec").current_dir(&bundle))?;
        let text = |path: PathBuf| path.to_str().map(str::to_owned).context("the directory's name is not text");
        let crun = Self { state: text(directory.join("crun-state"))?, bundle: text(bundle)?, runs: Cell::new(0) };
        crun.configure(&["true"])?;
        Ok(Some(crun))
    }

    fn configure(&self, argv: &[&str]) -> anyhow::Result<()> {
        let path = Path::new(&self.bundle).join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        config["process"]["args"] = argv.into();
        config["process"]["terminal"] = false.into();
        config["process"]["rlimits"] = serde_json::json!([]);
        Ok(fs::write(&path, serde_json::to_vec(&config)?)?)
    }

    /// The seconds of a container from nothing to nothing.
    pub(super) fn run(&self) -> anyhow::Result<f64> {
        self.runs.set(self.runs.get() + 1);
        let name = format!("husk-bench-{}-{}", std::process::id(), self.runs.get());
        seconds(&["crun", "--root", &self.state, "run", "--bundle", &self.bundle, &name])
    }

    /// A container that goes on.
    pub(super) fn start(&self) -> anyhow::Result<Running> {
        self.configure(&["sleep", "1000"])?;
        let name = format!("husk-bench-{}", std::process::id());
        let crun = |args: &[&str]| {
            let all = ["crun", "--root", &self.state].into_iter().chain(args.iter().copied());
            all.map(str::to_owned).collect::<Vec<_>>()
        };
        let run = crun(&["run", "--detach", "--bundle", &self.bundle, &name]);
        seconds(&run.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Running { execute: crun(&["exec", &name, "true"]), end: crun(&["delete", "--force", &name]) })
    }
}

/// podman, with storage and settings of this run's own.
pub(super) struct Podman {
    command: Vec<String>,
    manifest: String,
}

/// The image that podman has.
const IMAGE: &str = "localhost/husk-bench:latest";

impl Podman {
    pub(super) fn find(directory: &Path, layer: &Path) -> anyhow::Result<Option<Self>> {
        if !is_there("podman") {
            return Ok(None);
        }
        let directory = directory.join("podman");
        fs::create_dir_all(&directory)?;
        let text = |name: &str| {
            let path = directory.join(name);
            path.to_str().map(str::to_owned).context("the directory's name is not text")
        };
        let settings = text("containers.conf")?;
        // No limit is raised, which takes a right that not every root has.
        let settings_text = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\npids_limit = 2048\n\
                             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"crun\"\n";
        fs::write(&settings, settings_text)?;
        let storage = ["podman", "--root", &text("root")?, "--runroot", &text("run")?].map(str::to_owned);
        let command = ["env".to_owned(), format!("CONTAINERS_CONF={settings}")].into_iter().chain(storage).collect();
        let manifest = text("pod.yaml")?;
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: husk-bench}}\nspec:\n  containers:\n  - name: c\n    \
             image: {IMAGE}\n    imagePullPolicy: Never\n    command: [/bin/sleep, '1000']\n"
        );
        fs::write(&manifest, pod)?;
        let podman = Self { command, manifest };
        let archive = text("layer.tar")?;
        output(Command::new("tar").args(["-C"]).arg(layer).args(["-cf", &archive, "."]))?;
        podman.seconds(&["import", &archive, IMAGE])?;
        Ok(Some(podman))
    }

    fn args(&self, args: &[&str]) -> Vec<String> {
        self.command.iter().cloned().chain(args.iter().map(|&arg| arg.to_owned())).collect()
    }

    fn seconds(&self, args: &[&str]) -> anyhow::Result<f64> {
        seconds(&self.args(args).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The seconds of a container from nothing to nothing.
    pub(super) fn run(&self) -> anyhow::Result<f64> {
        self.seconds(&["run", "--rm", "--network=none", IMAGE, "true"])
    }

    /// The seconds until a pod's container runs.
    pub(super) fn play(&self) -> anyhow::Result<f64> {
        let played = self.seconds(&["kube", "play", "--network=none", &self.manifest]);
        self.seconds(&["pod", "rm", "--force", "--time=0", "husk-bench"])?;
        played
    }

    /// A container that goes on.
    pub(super) fn start(&self) -> anyhow::Result<Running> {
        let run = ["run", "--detach", "--rm", "--name=husk-bench-exec", "--network=none", IMAGE, "sleep", "1000"];
        self.seconds(&run)?;
        Ok(Running {
            execute: self.args(&["exec", "husk-bench-exec", "true"]),
            end: self.args(&["rm", "--force", "--time=0", "husk-bench-exec"]),
        })
    }
}
