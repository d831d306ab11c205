//! What somebody does with native containers from a terminal: logs, exec, attach, cp, against a server and a run.

use std::fs;

use super::both_users;
use super::images::Image;
use super::machine::{User, husk};
use super::scene::eventually;
use crate::kubectl::use_shell;
use crate::support::{Husk, Running};
use crate::terminal::Terminal;

const MANIFEST: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: talker, image: busybox, command: [sh, -c, 'echo hello; echo trouble >&2; exec sleep 3600']}
  - {name: beside, image: builtin/busybox, command: [sh, -c, 'echo hello from wasm; sleep 3600']}
";

/// Containers that read what is typed.
const READERS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: readers}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: cat, image: busybox, command: [cat], stdin: true}
  - {name: shell, image: busybox, command: [sh], stdin: true, tty: true}
";

both_users! {
    a_server_has_verbs_for_native_containers
    a_run_has_verbs_for_native_containers
    a_shell_runs_on_this_terminal
}

fn a_server_has_verbs_for_native_containers(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    husk.husk(["serve", "--detach", "--port", "0"]).ok();
    let _server = Stop(&husk);
    for (name, yaml) in [("box", MANIFEST), ("readers", READERS)] {
        husk.write(&format!("{name}.yaml"), yaml);
        husk.husk(["apply", "-f", &format!("{name}.yaml")]).exits(0);
        husk.husk(["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]).exits(0);
    }
    use_verbs(&husk);
    let mut cat = Running::spawn(&mut husk.command(["attach", "-i", "readers", "-c", "cat"]));
    cat.write_stdin("typed to the first process\n");
    cat.wait_for("typed to the first process");
    let mut shell = Terminal::spawn(husk.command(["attach", "-it", "readers", "-c", "shell"]), 30, 90);
    shell.see("If you don't see a command prompt, try pressing enter.");
    shell.enter("\r", &["# "]);
    use_shell(&mut shell);
    let mut run = Terminal::spawn(husk.command(["exec", "-it", "box", "-c", "talker", "--", "sh"]), 30, 90);
    run.see("# ");
    use_shell(&mut run);
    run.enter("exit 3\r", &["command terminated with exit code 3"]);
    assert_eq!(run.end().0, 3);
}

/// A server, which ends with the test.
struct Stop<'h>(&'h Husk);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.husk(["stop", "--timeout", "10s"]);
    }
}

fn a_run_has_verbs_for_native_containers(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let mut run = husk.start(MANIFEST, &[]);
    run.wait_for("hello");
    run.wait_for("trouble");
    husk.husk(["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]).exits(0);
    use_verbs(&husk);
    let mut shell = Terminal::spawn(husk.command(["exec", "-it", "box", "-c", "talker", "--", "sh"]), 30, 90);
    shell.see("# ");
    use_shell(&mut shell);
    shell.enter("exit 3\r", &["command terminated with exit code 3"]);
    assert_eq!(shell.end().0, 3);
    husk.husk(["delete", "pod", "box"]).exits(0);
    run.end();
}

/// What works alike, whatever runs the pod.
fn use_verbs(husk: &Husk) {
    let on = |words: &str| husk.husk(words.split(' '));
    // Whatever was said last may be a moment on its way.
    eventually("all that was said", || on("logs box -c talker").ok().contains("trouble").then_some(()));
    on("logs box -c talker").exits(0).has("hello").has("trouble");
    assert_eq!(on("logs box -c talker --tail=1").ok().lines().count(), 1);
    let all = on("logs -l app=box --all-containers --prefix").exits(0);
    all.has("[pod/box/talker] hello").has("[pod/box/beside] hello from wasm");
    let spoken =
        husk.husk(["exec", "box", "-c", "talker", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).exits(7);
    assert_eq!(spoken.stdout, "out\n");
    assert!(spoken.stderr.starts_with("err\n"), "{spoken:?}");
    assert!(spoken.stderr.contains("command terminated with exit code 7"), "{spoken:?}");
    on("exec box -c talker -- nothing-such")
        .exits(1)
        .says("exec: \"nothing-such\": executable file not found in $PATH");
    let mut cat = Running::spawn(&mut husk.command(["exec", "-i", "box", "-c", "talker", "--", "cat"]));
    cat.write_stdin("typed\n");
    cat.wait_for("typed");
    cat.close_stdin();
    assert_eq!(cat.end().0, 0);
    let content = (0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    husk.write("there/data", &content);
    for container in ["talker", "beside"] {
        husk.husk(["cp", "there", "box:/tmp/copy", "-c", container]).ok();
        let back = format!("back-{container}");
        husk.husk(["cp", "box:/tmp/copy", &back, "-c", container]).ok();
        assert!(fs::read(husk.dir().join(back).join("data")).unwrap() == content, "what comes back is what went there");
    }
    let sum = on("exec box -c talker -- sha256sum /tmp/copy/data").ok();
    assert_eq!(sum, on("exec box -c beside -- sha256sum /tmp/copy/data").ok());
}

fn a_shell_runs_on_this_terminal(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let mut shell = Terminal::spawn(husk.command(["run", "box", "--image", "busybox", "-it"]), 30, 90);
    shell.see("# ");
    use_shell(&mut shell);
    shell.enter("exit 5\r", &[]);
    assert_eq!(shell.end().0, 5);
}
