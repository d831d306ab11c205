//! The built-in `/bin/sh`: a corpus of scripts, and what only a running pod shows.
//!
//! `tests/data/shell/` has the scripts, and what they print and exit with as `dash` has it. Where `dash` is installed, it
//! is asked again; scripts that begin with `# beyond POSIX` are about what it does not know.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::Husk;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/shell")
}

/// Names of all scripts, without `.sh`.
fn scripts() -> Vec<String> {
    let entries = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter_map(|name| name.strip_suffix(".sh").map(str::to_owned)).collect();
    names.sort();
    names
}

fn expected(name: &str) -> String {
    let file = corpus().join(format!("{name}.out"));
    String::from_utf8_lossy(&fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))).into_owned()
}

/// Panics with all that differ: name, what was expected, and what came.
#[track_caller]
fn assert_none(differing: &[(String, String, String)]) {
    let shown =
        differing.iter().map(|(name, expected, found)| format!("{name}\n--- expected\n{expected}--- found\n{found}"));
    assert!(differing.is_empty(), "{} scripts differ\n{}", differing.len(), shown.collect::<Vec<_>>().join("\n"));
}

/// A pod whose shell runs `command`, with the corpus at `/scripts` and a writable directory at `/out`.
fn pod(husk: &Husk, command: &str) -> String {
    let out = husk.dir().join("out");
    fs::create_dir_all(&out).unwrap();
    let command = serde_json::to_string(&["sh", "-c", command]).unwrap();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  containers:\n  \
         - name: c\n    image: busybox\n    command: {command}\n    volumeMounts:\n    \
         - {{name: scripts, mountPath: /scripts}}\n    - {{name: out, mountPath: /out}}\n  volumes:\n  \
         - {{name: scripts, hostPath: {{path: {}}}}}\n  - {{name: out, hostPath: {{path: {}}}}}\n",
        corpus().display(),
        out.display(),
    )
}

#[test]
fn the_shell_does_what_the_corpus_says() {
    let husk = Husk::new();
    husk.run(&pod(&husk, "exec sh /scripts/driver"), &[]).exits(0);
    let found = |name: &str| {
        let read = |kind: &str| fs::read(husk.dir().join(format!("out/{name}.{kind}"))).unwrap_or_default();
        (String::from_utf8_lossy(&read("out")).into_owned(), String::from_utf8_lossy(&read("err")).into_owned())
    };
    let mut differing = Vec::new();
    for name in scripts() {
        let (output, errors) = found(&name);
        if output != expected(&name) {
            let errors = if errors.is_empty() { String::new() } else { format!("--- standard error\n{errors}") };
            differing.push((name.clone(), expected(&name), output + &errors));
        }
    }
    assert_none(&differing);
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that cannot run here says so")]
fn dash_does_what_the_corpus_says() {
    let dash = Path::new("/usr/bin/dash");
    if !dash.exists() {
        println!("not run here: dash_does_what_the_corpus_says: there is no {}", dash.display());
        return;
    }
    let husk = Husk::new();
    let bin = husk.dir().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(dash, bin.join("sh")).unwrap();
    let mut differing = Vec::new();
    for name in scripts() {
        let script = corpus().join(format!("{name}.sh"));
        if fs::read(&script).unwrap().starts_with(b"# beyond POSIX") {
            continue;
        }
        let directory = husk.dir().join("w").join(&name);
        fs::create_dir_all(&directory).unwrap();
        let output = Command::new(bin.join("sh"))
            .arg(&script)
            .current_dir(&directory)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("PWD", &directory)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let status = output.status.code().unwrap_or(-1);
        let found = format!("{}status {status}\n", String::from_utf8_lossy(&output.stdout));
        if found != expected(&name) {
            differing.push((name.clone(), expected(&name), found));
        }
    }
    assert_none(&differing);
}

#[test]
fn every_script_says_what_it_prints() {
    let names = scripts();
    assert!(names.len() >= 220, "{} scripts", names.len());
    for name in &names {
        assert!(expected(name).lines().last().is_some_and(|line| line.starts_with("status ")), "{name}");
    }
}

#[test]
fn what_goes_wrong_is_said() {
    let husk = Husk::new();
    let script =
        "sh -c foo; echo $?; sh -c 'if'; echo $?; sh -c 'echo ${x?gone}'; sh -c 'echo x >/no/dir'; sh -c /tmp; echo $?";
    husk.run(&pod(&husk, &format!("({script}) 2>&1")), &["-q", "--no-prefix"])
        .exits(0)
        .has("sh: foo: not found")
        .has("127")
        .has("sh: -c: line 1: syntax error: unexpected end of file")
        .has("2")
        .has("sh: x: gone")
        .has("sh: cannot create /no/dir: Directory nonexistent")
        .has("sh: /tmp: Permission denied")
        .has("126");
}

#[test]
fn what_nests_without_end_is_an_error() {
    let husk = Husk::new();
    let script = "f() { f; }; (f); g() { (g); }; (g); h() { x=$(h); }; (h); i() { eval i; }; (i); a='b+1' b='a+1'; (echo $((a)))\n\
                  x=; n=0; while [ $n -lt 500 ]; do x=\"$x(\"; n=$((n+1)); done; (eval \"$x :\"); echo alive";
    let outcome = husk.run(&pod(&husk, &format!("({script}) 2>&1")), &["-q", "--no-prefix"]).exits(0).has("alive");
    assert!(outcome.stdout.matches("levels deep").count() >= 4, "{outcome:?}");
    assert!(!outcome.stdout.contains("wasm"), "{outcome:?}");
}

#[test]
fn a_script_finishes_on_term() {
    let husk = Husk::new();
    let script = "trap 'echo got TERM; exit 0' TERM; echo listening; while true; do sleep 1; done";
    let mut running = husk.start(&pod(&husk, script), &[]);
    // Not "started", which husk says of the container before its script has set the trap.
    running.wait_for("listening");
    running.signal(rustix::process::Signal::TERM);
    running.wait_for("got TERM");
    running.wait_for("exited with code 0");
    running.end();
}

#[test]
fn exec_hands_signals_and_status_on() {
    let husk = Husk::new();
    let script = "exec sh -c 'trap \"echo inner; exit 7\" TERM; echo listening; while :; do sleep 1; done'";
    let mut running = husk.start(&pod(&husk, script), &[]);
    running.wait_for("listening");
    running.signal(rustix::process::Signal::TERM);
    running.wait_for("inner");
    running.wait_for("exited with code 7");
    running.end();
    husk.run(&pod(&husk, "exec sh -c 'exit 9'"), &["-q"]).exits(9);
}
