//! What the user sees.

use std::process::Command;

use k8s_openapi::api::core::v1::Pod;

use crate::support::{Husk, pod};
use crate::terminal::Terminal;

const TWO: &str = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
    - {name: a, image: busybox, command: [echo, from a]}
    - {name: longer, image: busybox, command: [echo, from longer]}
";

#[test]
fn log_lines_carry_the_containers_name_and_are_plain_when_piped() {
    let husk = Husk::new();
    let outcome = husk.run(TWO, &[]).exits(0).has("a      | from a").has("longer | from longer");
    assert!(!outcome.stdout.contains('\x1b') && !outcome.stderr.contains('\x1b'), "{outcome:?}");
    husk.run(TWO, &["--no-prefix"]).exits(0).has("from a");
    let stamped = husk.run(TWO, &["--timestamps", "--no-prefix"]).ok();
    let line = stamped.lines().find(|line| line.ends_with(" from a")).expect(&stamped);
    let (time, _) = line.split_once(' ').unwrap();
    time.parse::<jiff::Timestamp>().unwrap();
}

#[test]
fn containers_of_several_pods_are_told_apart() {
    let husk = Husk::new();
    let yaml = format!("{TWO}---\n{}", TWO.replace("name: p}", "name: q}"));
    husk.run(&yaml, &[]).exits(0).has("p/a      | from a").has("q/longer | from longer").says("q ");
}

#[test]
fn lifecycle_and_the_final_table_go_to_standard_error() {
    let husk = Husk::new();
    let outcome = husk
        .run(TWO, &[])
        .exits(0)
        .says("p/a: Container started")
        .says("p/a: Container exited with code 0 (Completed)")
        .says("NAME   READY   STATUS      RESTARTS   AGE")
        .says("p      0/2     Completed   0");
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:?}");
    assert_eq!(husk.run(TWO, &["--quiet"]).stderr, "");
}

#[test]
fn events_show_a_pods_life_as_it_happens() {
    let husk = Husk::new();
    let outcome = husk.run(&pod("test/p1/exit", &["3"], ""), &["--events"]).exits(3);
    let lines: Vec<_> =
        outcome.stderr.lines().filter(|line| line.contains(" p: ") || line.contains(" p/c: ")).collect();
    let mut told = Vec::new();
    for line in lines {
        let (time, what) = line.split_once(' ').unwrap();
        time.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{error}: {line}"));
        let cells: Vec<_> = what.split_whitespace().take(3).collect();
        told.push(cells.join(" "));
    }
    let expected = [
        "Normal Scheduled p:",
        "Status Phase p:",
        "Normal Pulled p/c:",
        "Normal Created p/c:",
        "Normal Started p/c:",
        "Status Exited p/c:",
        "Status Phase p:",
    ];
    let mut rest = told.iter();
    assert!(expected.iter().all(|line| rest.any(|told| told == line)), "{told:#?}");
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    outcome
        .says(&format!("Normal  Scheduled    p: Successfully assigned default/p to {host}"))
        .says("Status  Exited       p/c: Container exited with code 3 (Error)")
        .says("Status  Phase        p: Phase is Failed");
}

#[test]
fn repeated_events_show_their_count() {
    let husk = Husk::new();
    let yaml = pod("test/p1/exit", &["3"], "").replace("Never", "Always");
    let mut running = husk.start(&yaml, &["--events"]);
    let line = running.wait_for("Container started (x2 over ");
    assert!(line.contains("Normal  Started      p/c: "), "{line}");
    running.wait_for("Warning BackOff      p/c: Back-off restarting failed container c in pod p_default(");
}

#[test]
fn the_final_objects_are_printed_on_request() {
    let husk = Husk::new();
    let pod = husk.final_pod(TWO);
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("False", Some("PodCompleted")));
    let containers = status.container_statuses.unwrap();
    assert_eq!(containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(), ["a", "longer"]);
    assert!(containers[0].container_id.as_deref().unwrap().starts_with("wasm://"));
    assert!(containers[0].image_id.starts_with("sha256:"), "{}", containers[0].image_id);
    let outcome = husk.run(TWO, &["-o", "yaml"]).exits(0).says("from a");
    let pod: Pod = serde_yaml::from_str(&outcome.stdout).unwrap();
    assert_eq!(pod.metadata.name.as_deref(), Some("p"));
}

#[test]
fn the_exit_code_is_the_failing_containers_and_its_reason_is_told() {
    let husk = Husk::new();
    husk.run(&pod("test/p1/exit", &["42"], ""), &[]).exits(42).says("Error").says("p/c: exited with code 42 (Error)");
    let trapped = husk.run(&pod("test/p1/trap", &[], ""), &[]).exits(134);
    assert!(trapped.stderr.contains("unreachable"), "{trapped:?}");
    husk.run(&pod("test/p1/memory", &[], "resources: {limits: {memory: 16Mi}}"), &["-q"]).exits(137);
    husk.run(&pod("test/p1/memory", &[], "resources: {limits: {memory: 16Mi}}"), &[])
        .exits(137)
        .says("OOMKilled")
        .says("raise resources.limits.memory");
}

#[test]
fn output_without_a_final_newline_is_not_lost() {
    let husk = Husk::new();
    let yaml = pod("busybox", &[], "command: [printf, 'no newline']");
    assert_eq!(husk.run(&yaml, &["--no-prefix"]).ok(), "no newline");
    assert_eq!(husk.run(&yaml, &[]).ok(), "c | no newline\n");
}

#[test]
fn a_reader_that_leaves_ends_the_run() {
    let husk = Husk::new();
    let mut command = husk.run_command(&pod("busybox", &[], "command: ['yes']"), &[]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().code().is_some());
}

/// What a run would have shown on a terminal.
fn on_a_terminal(command: Command) -> String {
    let (code, shown) = Terminal::spawn(command, 24, 100).end();
    assert_eq!(code, 0, "{shown}");
    shown
}

#[test]
fn a_terminal_shows_colours_and_what_is_being_compiled() {
    let husk = Husk::new();
    let cache = husk.dir().join("cache");
    let command = || {
        let mut command = husk.run_command(TWO, &[]);
        command.env("HUSK_CACHE_DIR", &cache);
        command
    };
    let first = on_a_terminal(command());
    assert!(first.contains("compiling "), "{first:?}");
    assert!(first.contains("\x1b[36ma      |\x1b[0m from a"), "{first:?}");
    assert!(first.contains("\x1b[33mlonger |\x1b[0m from longer"), "{first:?}");
    let second = on_a_terminal(command());
    assert!(!second.contains("compiling ") && second.contains("from a"), "{second:?}");
}

/// A person at a terminal: types what follows each prompt, line by line, and sees what a shell shows.
#[test]
fn a_shell_is_worked_in_on_the_terminal_husk_lends_it() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - {name: c, image: busybox, command: [sh], stdin: true, tty: true}
";
    let mut shell = Terminal::spawn(husk.run_command(yaml, &["-q"]), 30, 90);
    // Once the prompt shows, keys are the shell's; before, they are the terminal's.
    shell.see("# ");
    shell.enter("echo $((6*7))-is\r", &["42-is\r", "# "]);
    shell.enter("stty size\r", &["30 90\r", "# "]);
    // Corrected with the left arrow, Backspace and Ctrl-E; then once more by the up arrow.
    shell.enter("ecko\x1b[D\x7fh\x05 sum $((2+2))\r", &["sum 4\r", "# "]);
    shell.enter("\x1b[A\r", &["sum 4\r", "# "]);
    // Ctrl-C ends what runs, from the moment on at which it was started.
    shell.enter("sleep 1000\r", &["sleep 1000\r"]);
    shell.enter("\x03", &["\n\r", "# "]);
    shell.enter("echo code $?\r", &["code 130\r", "# "]);
    // Ctrl-C drops a line, Tab completes commands and files, Ctrl-R finds an earlier line.
    shell.enter("echo never\x03echo after\r", &["\nafter\r", "# "]);
    shell.enter("touch /tmp/a-long-name; echo made\r", &["\nmade\r", "# "]);
    shell.enter("hostn\t; ls /tmp/a-l\t\r", &["\np\r", "\n/tmp/a-long-name\r", "# "]);
    shell.enter("\x12six\x07\x12stty\r", &["30 90\r", "# "]);
    // What is typed ahead is for what reads it first. Ctrl-D ends that, and at an empty line the shell.
    shell.enter("cat > /tmp/typed\rsome text\r\x04", &["cat > /tmp/typed\r", "# "]);
    shell.enter("cat /tmp/typed\r", &["\nsome text\r", "# "]);
    shell.enter("sh\r", &["# ", "# "]);
    shell.enter("\x04", &["# "]);
    shell.enter("echo outer $$\r", &["outer 1\r", "# "]);
    shell.enter("exit 3\r", &[]);
    assert_eq!(shell.end().0, 3);
}
