//! What only a program of one WASI level can do or see: raw 0.1 calls, the 0.3 interfaces, signals, standard input.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::{Husk, pod, termination};

/// What `calls files` prints.
const FILES_0_3: &str = r#"preopen / of 1
300003 bytes, "xxABx"
tail "end"
DescriptorType::RegularFile 3 bytes
link to /d/f
2 names
modified Some((1000000000, 7))
flags DescriptorFlags(READ | WRITE)
same true
read only Err(ErrorCode::BadDescriptor)
list ["g"]
list of a file Err(ErrorCode::NotDirectory)
read a directory Err(ErrorCode::IsDirectory)
absolute Err(ErrorCode::NotPermitted)
above Ok(())
full Err(ErrorCode::NotEmpty)
gone Err(ErrorCode::NoEntry)
Ok(())
"#;

/// What `calls sockets` prints.
const SOCKETS_0_3: &str = r#"taken Err(ErrorCode::AddressInUse)
nobody Err(ErrorCode::ConnectionRefused)
echoed 5
echoed 3000000
echoed over IPv6 6
ping pong
too long Err(ErrorCode::DatagramTooLarge)
localhost Ok([IpAddress::Ipv4((127, 0, 0, 1)), IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1))])
myhost Ok([IpAddress::Ipv4((10, 88, 0, 2))])
127.0.0.9 Ok([IpAddress::Ipv4((127, 0, 0, 9))])
nobody.invalid Err(ErrorCode::NameUnresolvable)
not a name Err(ErrorCode::InvalidArgument)
reset Dropped Err(ErrorCode::ConnectionReset)
unsent 1 Err(ErrorCode::ConnectionReset)
Ok(())
"#;

#[test]
fn raw_0_1_calls_do_what_posix_and_the_specification_say() {
    let husk = Husk::new();
    for part in ["files", "descriptors"] {
        let outcome = husk.run(&pod("test/p1/raw", &[part], ""), &["--no-prefix"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
    }
}

#[test]
fn raw_0_1_sockets_poll_peek_wait_for_all_and_shut_down() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
    - {name: raw, image: test/p1/raw, args: [sockets], ports: [{containerPort: 7000}, {containerPort: 7001}]}
    - {name: client, image: test/p2/tcp-client, args: ['localhost:7000', hello]}
";
    assert_eq!(husk.run(yaml, &["--no-prefix"]).ok(), "answer hello\n");
}

#[test]
fn a_0_3_program_goes_through_the_filesystem_interface() {
    let husk = Husk::new();
    assert_eq!(husk.run(&pod("test/p3/calls", &["files"], ""), &["--no-prefix"]).ok(), FILES_0_3);
}

#[test]
fn a_0_3_program_goes_through_the_sockets_interface() {
    let husk = Husk::new();
    let yaml = format!("{}  hostname: myhost\n", pod("test/p3/calls", &["sockets"], ""));
    assert_eq!(husk.run(&yaml, &["--no-prefix", "--egress", "deny"]).ok(), SOCKETS_0_3);
}

#[test]
fn a_0_3_program_serves_a_0_2_client() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
    - {name: server, image: test/p3/calls, args: [serve, '7000']}
    - {name: client, image: test/p2/tcp-client, args: ['localhost:7000', hello]}
";
    husk.run(yaml, &["--no-prefix"]).exits(0).has("answer hello");
}

#[test]
fn term_ends_a_program_that_does_not_catch_it_with_143() {
    let husk = Husk::new();
    for (image, args, sign) in [
        ("test/p1/busy", "[]", "busy"),
        ("test/p2/busy", "[]", "busy"),
        ("test/p3/calls", "[wait]", "waiting"),
        ("test/p2/tcp-server", "['0.0.0.0:7000']", "listening"),
    ] {
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: c, image: {image}, args: {args}}}]\n"
        );
        let mut running = husk.start(&yaml, &[]);
        running.wait_for(sign);
        running.signal(Signal::INT);
        running.wait_for("p/c: Container exited with code 143 (Error)");
        assert_eq!(running.end().0, 130, "{image}");
    }
}

#[test]
fn kill_ends_a_program_that_catches_term_when_the_grace_period_is_over() {
    let husk = Husk::new();
    let more = "  terminationGracePeriodSeconds: 1\n";
    for level in ["p1", "p2"] {
        let mut running = husk.start(&format!("{}{more}", pod(&format!("test/{level}/signals"), &["ignore"], "")), &[]);
        running.wait_for("waiting");
        running.signal(Signal::INT);
        running.wait_for("got ");
        running.wait_for("p/c: Container exited with code 137");
        assert_eq!(running.end().0, 130, "{level}");
    }
}

#[test]
fn term_ends_an_http_service_with_0() {
    let husk = Husk::new();
    for level in ["p2", "p3"] {
        let yaml = format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  initContainers: [{{name: web, restartPolicy: Always, image: test/{level}/http}}]
  containers: [{{name: c, image: busybox, command: [wget, -q, -O, '-', 'http://localhost/']}}]
"
        );
        let pod = husk.final_pod(&yaml);
        assert_eq!(termination(&pod, "c").0, 0, "{level}");
        assert_eq!(termination(&pod, "web"), (0, "Completed".to_owned(), String::new()), "{level}");
    }
}

#[test]
fn standard_input_goes_to_the_first_container_that_wants_it() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
    - {name: none, image: test/p1/cat}
    - {name: first, image: test/p2/cat, stdin: true}
    - {name: second, image: test/p1/cat, stdin: true}
";
    let mut running = husk.start(yaml, &[]);
    running.write_stdin("for one\n");
    running.wait_for("first  | for one");
    running.close_stdin();
    let (code, lines) = running.end();
    assert_eq!(code, 0, "{lines:?}");
    for line in ["none   | 0 bytes", "first  | 8 bytes", "second | 0 bytes"] {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:?}");
    }
}

#[test]
fn bytes_pass_through_unchanged_without_prefixes() {
    let husk = Husk::new();
    let bytes: Vec<u8> = (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert!(std::str::from_utf8(&bytes).is_err());
    for level in ["p1", "p2"] {
        let mut command = husk.run_command(&pod(&format!("test/{level}/cat"), &[], "stdin: true"), &["--no-prefix"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = bytes.clone();
        let writing = std::thread::spawn(move || stdin.write_all(&input).unwrap());
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // The guest's own last words go to the other stream.
        assert!(String::from_utf8_lossy(&output.stderr).contains("200000 bytes"));
        assert!(output.stdout == bytes, "{} bytes came back changed", output.stdout.len());
    }
}
