//! What a container's program can be, how it starts, and how it ends.

use crate::support::{Husk, guest_file, pod, termination};

#[test]
fn every_level_of_wasi_runs_as_a_command() {
    let husk = Husk::new();
    for level in ["p1", "p2"] {
        let outcome = husk.run(&pod(&format!("test/{level}/hello"), &["a", "b"], ""), &["--no-prefix"]);
        let outcome = outcome.exits(0).has("hello from wasm").says("2 argument(s)");
        assert!(outcome.stderr.contains("Completed"), "{outcome:?}");
    }
    husk.run(&pod("test/p3/hello", &["a"], ""), &["--no-prefix"]).exits(0).has("hello from wasi 0.3").has("argument a");
}

#[test]
fn a_program_sees_its_arguments_environment_directory_clock_and_random_numbers() {
    let husk = Husk::new();
    let more = "workingDir: /tmp\nenv: [{name: GREETING, value: hi}]";
    for level in ["p1", "p2"] {
        husk.run(&pod(&format!("test/{level}/print"), &["--flag", "ü"], more), &["--no-prefix"])
            .exits(0)
            .has("arg[1] --flag")
            .has("arg[2] ü")
            .has("env GREETING=hi")
            .has("env HOSTNAME=p")
            .has("tty false false")
            .has("after-2020 true")
            .has("slept true")
            .has("random true");
    }
    // Programs learn the working directory from PWD; those of the built-in images go there by themselves.
    husk.run(&pod("test/p2/print", &[], more), &["--no-prefix"]).has("env PWD=/tmp");
    husk.run(&pod("busybox", &[], "workingDir: /tmp\ncommand: [pwd]"), &["--no-prefix"]).exits(0).has("/tmp");
}

#[test]
fn exit_codes_arrive() {
    let husk = Husk::new();
    for code in [0, 1, 42, 126, 200, 255] {
        let code_text = code.to_string();
        husk.run(&pod("test/p1/exit", &[&code_text], ""), &[]).exits(code);
        husk.run(&pod("test/p2/exit-with-code", &[&code_text], ""), &[]).exits(code);
    }
    // What std says in a 0.2 component is success or failure, and no more.
    husk.run(&pod("test/p2/exit", &["42"], ""), &[]).exits(1);
}

#[test]
fn a_trap_ends_with_134_and_a_backtrace_in_the_termination_message() {
    let husk = Husk::new();
    for level in ["p1", "p2"] {
        let pod = husk.final_pod(&pod(&format!("test/{level}/trap"), &[], ""));
        let (code, reason, message) = termination(&pod, "c");
        assert_eq!((code, reason.as_str()), (134, "Error"));
        assert!(message.contains("unreachable"), "{message}");
        assert!(message.contains("inner") && message.contains("outer"), "no backtrace: {message}");
    }
}

#[test]
fn memory_is_limited() {
    let husk = Husk::new();
    for level in ["p1", "p2"] {
        let image = format!("test/{level}/memory");
        let limited = husk.final_pod(&pod(&image, &[], "resources: {limits: {memory: 16Mi}}"));
        let (code, reason, _) = termination(&limited, "c");
        assert_eq!((code, reason.as_str()), (137, "OOMKilled"));
        let enough = husk.final_pod(&pod(&image, &["8"], "resources: {limits: {memory: 32Mi}}"));
        assert_eq!(termination(&enough, "c").0, 0);
    }
}

#[test]
fn a_busy_guest_neither_delays_another_pod_nor_outlives_its_end() {
    let husk = Husk::new();
    let yaml = "
apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  activeDeadlineSeconds: 2
  containers:
    - {name: b1, image: test/p1/busy}
    - {name: b2, image: test/p2/busy}
    - {name: b3, image: test/p1/busy}
    - {name: b4, image: test/p2/busy}
---
apiVersion: v1
kind: Pod
metadata: {name: quick}
spec:
  restartPolicy: Never
  containers: [{name: c, image: test/p2/hello}]
";
    let outcome = husk.run(yaml, &[]);
    let said = outcome.stderr.find("quick/c: Container exited with code 0").expect("quick ended");
    let ended = outcome.stderr.find("busy/b1: Container exited with code 143").expect("busy ended");
    assert!(said < ended, "{outcome:?}");
    outcome.says("DeadlineExceeded");
}

#[test]
fn standard_input_reaches_the_container_that_wants_it() {
    let husk = Husk::new();
    for level in ["p1", "p2"] {
        let mut running = husk.start(&pod(&format!("test/{level}/cat"), &[], "stdin: true"), &["--no-prefix"]);
        running.write_stdin("first\n");
        running.wait_for("first");
        running.write_stdin("second\n");
        running.wait_for("second");
        running.close_stdin();
        let (code, lines) = running.end();
        assert_eq!(code, 0, "{lines:?}");
        assert!(lines.iter().any(|line| line == "13 bytes"), "{lines:?}");
    }
    husk.run(&pod("test/p1/cat", &[], ""), &["--no-prefix"]).exits(0).says("0 bytes");
}

#[test]
fn what_is_no_program_is_refused_with_the_reason() {
    let husk = Husk::new();
    let text = husk.write("notes.wasm", "just some text");
    husk.husk(["run".as_ref(), text.as_os_str()]).exits(2).says("notes.wasm");
    let truncated = std::fs::read(guest_file("p1", "hello")).unwrap()[..1000].to_owned();
    let truncated = husk.write("truncated.wasm", truncated);
    let outcome = husk.husk(["run".as_ref(), truncated.as_os_str()]);
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("truncated"), "{outcome:?}");
}

#[test]
fn a_command_is_looked_up_on_path_in_the_image() {
    let husk = Husk::new();
    let command = |command: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  containers:\n    \
             - {{name: c, image: busybox, command: {command}}}\n"
        )
    };
    husk.run(&command(r#"["echo", "found"]"#), &["--no-prefix"]).exits(0).has("found");
    husk.run(&command(r#"["/bin/echo", "found"]"#), &["--no-prefix"]).exits(0).has("found");
    husk.run(&command(r#"["no-such-program"]"#), &[])
        .exits(128)
        .says(r#"exec: "no-such-program": executable file not found in $PATH"#);
    husk.run(&command(r#"["/no/such"]"#), &[]).exits(128).says("no such file or directory");
    husk.run(&command(r#"["/etc/passwd"]"#), &[]).exits(128).says("permission denied");
}

#[test]
fn a_pod_of_an_image_runs_without_a_manifest() {
    let husk = Husk::new();
    let line = ["run", "--timeout", "120s", "box", "--image", "busybox", "-e", "WHO=you", "--", "sh", "-c"];
    let run = |script: &'static str| husk.husk(line.into_iter().chain([script]));
    run("echo hello $WHO; exit 3").exits(3).has("box | hello you").says("exited with code 3");
    husk.husk(["run", "a", "b", "--image", "busybox"]).exits(2).says("with --image, one argument names the pod");
    husk.husk(["run", "A_b", "--image", "busybox"]).exits(2).says("metadata.name: Invalid value: \"A_b\"");
}

#[test]
fn a_program_runs_without_a_manifest() {
    let husk = Husk::new();
    let mut command = husk.command(["run", "--env", "A=b"]);
    let output = command.arg(guest_file("p2", "print")).args(["--", "x y"]).output().unwrap();
    let outcome = crate::support::Outcome::from(output).exits(0).has("arg[1] x y").has("env A=b");
    assert_eq!(outcome.stderr, "");
    let outcome = husk.husk(["run".as_ref(), guest_file("p1", "exit").as_os_str(), "--".as_ref(), "7".as_ref()]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (7, ""));
}

#[test]
fn a_guest_can_catch_term() {
    let husk = Husk::new();
    for (level, line) in [("p1", "got signal 15"), ("p2", "got Signal::Term")] {
        let mut running = husk.start(&pod(&format!("test/{level}/signals"), &[], ""), &[]);
        running.wait_for("waiting");
        running.signal(rustix::process::Signal::INT);
        let (code, lines) = running.end();
        assert_eq!(code, 130, "{lines:?}");
        assert!(lines.iter().any(|found| found.ends_with(line)), "{lines:?}");
        assert!(lines.iter().any(|found| found.ends_with("Container exited with code 0 (Completed)")), "{lines:?}");
    }
}
