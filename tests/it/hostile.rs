//! Programs that take all they can get, or that are broken on purpose: husk survives them, they are told no or end with
//! the right code, and what runs beside them goes on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Husk, Outcome, guest_file, pod};

const IMAGE: &str = "test/p1/hostile";

/// `EMFILE` and `EDQUOT`, as WASI numbers them.
const MFILE: i32 = 33;
const DQUOT: i32 = 19;

/// How often and how many times a test looks for what must come true.
const POLL: Duration = Duration::from_millis(20);
const PATIENCE_POLLS: u32 = 4500;

/// The most memory husk may take while a guest writes, or a peer does not read: far less than what such a guest could
/// produce meanwhile.
const MAX_RESIDENT_KIB: u64 = 512 << 10;

/// Runs a container beside a well-behaved one, `good`, which must end as always.
fn beside(husk: &Husk, hostile: &str) -> Outcome {
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{}}}}, {{name: host, hostPath: {{path: {}}}}}]
  containers:
    - {{name: bad, volumeMounts: [{{name: v, mountPath: /v}}, {{name: host, mountPath: /host}}], {hostile}}}
    - {{name: good, image: test/p2/hello}}
",
        husk.dir().display()
    );
    husk.run(&yaml, &[]).has("good | hello from wasm").says("p/good: Container exited with code 0")
}

#[test]
fn open_files_are_bounded_for_each_container() {
    let husk = Husk::new();
    // In 0.2, the code for "too many open files" is the one for a quota.
    for (level, errno) in [("p1", MFILE), ("p2", DQUOT)] {
        let yaml = format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{}}}}]
  containers:
    - {{name: bad, image: test/{level}/hostile, args: [hold, /v, files], volumeMounts: [{{name: v, mountPath: /v}}]}}
    - {{name: good, image: {IMAGE}, args: [beside, /v], volumeMounts: [{{name: v, mountPath: /v}}]}}
"
        );
        let output = with_few_files(&husk.run_command(&yaml, &[])).output().unwrap();
        let outcome = Outcome::from(output).exits(0).has("good | could work").has("bad  | held on");
        outcome.has(&format!("bad  | refused: Some({errno})"));
    }
}

/// The same command under the limit on open files that many shells set: files of a disk volume are files of husk.
fn with_few_files(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 256 && exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}

#[test]
fn directories_are_bounded_in_depth_and_names_in_number() {
    let husk = Husk::new();
    beside(&husk, &format!("image: {IMAGE}, args: [tree]"))
        .exits(0)
        .has("bad  | refused at depth 256: InvalidFilename");
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}]
  containers: [{{name: c, image: {IMAGE}, args: [names, /v], volumeMounts: [{{name: v, mountPath: /v}}]}}]
"
    );
    let outcome = husk.run(&yaml, &["--no-prefix"]).exits(0);
    assert!(outcome.stdout.contains("StorageFull"), "{outcome:?}");
}

#[test]
fn symlinks_that_lead_around_or_up_lead_nowhere_else() {
    let husk = Husk::new();
    let expected = "loop: Some(FilesystemLoop)\nself: Some(FilesystemLoop)\nup: true true\nlong: true\n";
    for level in ["p1", "p2"] {
        let outcome = husk.run(&pod(&format!("test/{level}/hostile"), &["symlinks"], ""), &["--no-prefix"]);
        assert_eq!(outcome.ok(), expected, "{level}");
    }
}

#[test]
fn endless_recursion_is_a_trap() {
    let husk = Husk::new();
    for level in ["p1", "p2"] {
        let outcome = beside(&husk, &format!("image: test/{level}/hostile, args: [recursion]")).exits(134);
        assert!(outcome.stderr.contains("hostile::recursion"), "{level}: {outcome:?}");
    }
    // Rust's own stack, in linear memory, ends first; a program need not use any.
    let text = "(module (func $f (call $f)) (memory (export \"memory\") 1) (func (export \"_start\") (call $f)))";
    wasm(&husk, &wat::parse_str(text).unwrap(), "64Mi").exits(134).says("call stack exhausted");
}

#[test]
fn a_component_that_hoards_resources_is_ended() {
    let husk = Husk::new();
    let outcome = beside(&husk, "image: test/p2/resources").exits(134);
    assert!(outcome.stderr.contains("resource table has no free keys"), "{outcome:?}");
}

/// Runs a program that is written down here, with a memory limit, beside a well-behaved container; gives the exit code
/// and everything that was said.
fn wasm(husk: &Husk, bytes: &[u8], memory: &str) -> Outcome {
    husk.write("program.wasm", bytes);
    make_executable(&husk.dir().join("program.wasm"));
    beside(husk, &format!("image: busybox, command: [/host/program.wasm], resources: {{limits: {{memory: {memory}}}}}"))
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn modules_that_want_too_much_do_not_start_or_end_by_the_limit() {
    let husk = Husk::new();
    for (module, memory, code, says) in [
        ("(memory 65536)", "64Mi", 137, "OOMKilled"),
        ("(memory i64 1000000)", "64Mi", 128, "memory"),
        ("(memory 1) (table 10000000 funcref)", "64Mi", 128, "table"),
        ("(memory 1) (memory 60000) (memory 60000)", "1Gi", 137, "OOMKilled"),
        ("(memory 1) (func $grow (drop (memory.grow (i32.const 60000)))) (start $grow)", "64Mi", 137, "OOMKilled"),
        (
            "(memory 1) (table 1 funcref) (func $f) (elem declare func $f)
             (func $grow (if (i32.ge_s (table.grow (ref.func $f) (i32.const 1000000000)) (i32.const 0)) (then unreachable)))
             (start $grow)",
            "64Mi",
            0,
            "Completed",
        ),
    ] {
        let text = format!("(module {module} (export \"memory\" (memory 0)) (func (export \"_start\")))");
        let outcome = wasm(&husk, &wat::parse_str(&text).unwrap(), memory);
        assert_eq!(outcome.code, code, "{module}: {outcome:?}");
        outcome.says(says);
    }
}

#[test]
fn broken_programs_are_refused() {
    let husk = Husk::new();
    let hello = std::fs::read(guest_file("p1", "hello")).unwrap();
    let component = std::fs::read(guest_file("p2", "hello")).unwrap();
    let mut flipped = hello.clone();
    for index in (8..flipped.len()).step_by(97) {
        flipped[index] ^= 0x55;
    }
    let garbage: Vec<u8> = b"\0asm\x01\0\0\0"
        .iter()
        .copied()
        .chain((0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8))
        .collect();
    let programs: &[&[u8]] = &[
        b"",
        b"\0asm",
        b"\0asm\x01\0\0\0",
        &hello[..hello.len() / 2],
        &component[..component.len() / 2],
        &flipped,
        &garbage,
    ];
    for (index, program) in programs.iter().enumerate() {
        let outcome = wasm(&husk, program, "64Mi");
        assert_eq!(outcome.code, 128, "program {index}: {outcome:?}");
        outcome.says("/host/program.wasm");
    }
}

#[test]
fn a_line_without_end_that_nobody_reads_stops_only_its_writer() {
    let husk = Husk::new();
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes: [{{name: host, hostPath: {{path: {}}}}}]
  containers:
    - {{name: bad, image: {IMAGE}, args: [output]}}
    - {{name: good, image: busybox, command: [touch, /host/worked], volumeMounts: [{{name: host, mountPath: /host}}]}}
",
        husk.dir().display()
    );
    for args in [&[][..], &["--no-prefix"]] {
        let mut child = husk.run_command(&yaml, args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let worked = husk.dir().join("worked");
        wait_until(|| worked.exists());
        std::fs::remove_file(worked).unwrap();
        #[cfg(target_os = "linux")]
        {
            let peak = peak_kib(&child);
            assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB");
        }
        // What is printed has nowhere to go; asking often enough ends husk all the same.
        wait_until(|| {
            let _gone_already = rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT);
            child.try_wait().unwrap().is_some()
        });
        assert_eq!(child.wait().unwrap().code(), Some(130), "{args:?}");
    }
}

#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..PATIENCE_POLLS {
        if condition() {
            return;
        }
        std::thread::park_timeout(POLL);
    }
    panic!("it never came true");
}

/// The most memory a process has had so far.
#[cfg(target_os = "linux")]
fn peak_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
