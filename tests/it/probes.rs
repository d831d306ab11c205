//! Probes on real guests: what each kind does to a pod, and each handler to a container.

use std::net::TcpListener;
use std::time::Duration;

use crate::network::free_port;
use crate::story::{Story, pods};
use crate::support::{Husk, container, pod, termination};

/// A container for each handler: its name, its image and arguments, a check that passes and one that fails, and what is
/// told of a failure.
const HANDLERS: [(&str, &str, &str, &str, &str); 4] = [
    (
        "exec",
        "image: test/p2/probed, args: [sleep, '3600']",
        "exec: {command: [/probed.wasm, exists, /probed.wasm]}",
        "exec: {command: [/probed.wasm, exists, /nothing]}",
        "/nothing does not exist",
    ),
    (
        "http",
        "image: test/p2/probed, args: [serve, --port, '80'], ports: [{name: web, containerPort: 80}]",
        "httpGet: {port: web, path: '/bytes?count=20000'}",
        "httpGet: {port: 80, path: '/status?code=503'}",
        "HTTP probe failed with statuscode: 503",
    ),
    (
        "tcp",
        "image: test/p2/probed, args: [tcp, --port, '8080'], ports: [{name: any, containerPort: 8080}]",
        "tcpSocket: {port: any}",
        "tcpSocket: {port: 8081}",
        "dial tcp 10.",
    ),
    (
        "grpc",
        "image: grpc-health, args: [--service, db]",
        "grpc: {port: 2379, service: db}",
        "grpc: {port: 2379, service: cache}",
        "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
    ),
];

#[test]
fn timing_fields_one_level_too_deep_are_refused_by_name() {
    let husk = Husk::new();
    let probe = "livenessProbe:
  exec:
    command: [test, -e, /tmp/livenesspod]
    initialDelaySeconds: 1
    periodSeconds: 3";
    husk.run(&pod("busybox:1.32.0", &[], probe), &[])
        .exits(2)
        .says("unknown field \"spec.containers[0].livenessProbe.exec.initialDelaySeconds\"")
        .says("unknown field \"spec.containers[0].livenessProbe.exec.periodSeconds\"");
}

/// A spec with a container for each handler, with these kinds of probe.
fn spec_of_all_handlers(kinds: &[&str], passes: bool) -> String {
    let containers = HANDLERS.iter().map(|(name, fields, passing, failing, _)| {
        let handler = if passes { passing } else { failing };
        let probe = |kind| {
            format!(
                ", {kind}Probe: {{{handler}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 30, \
                 failureThreshold: 1}}"
            )
        };
        format!("    - {{name: {name}, {fields}{}}}\n", kinds.iter().map(probe).collect::<String>())
    });
    let containers: String = containers.collect();
    format!("  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  containers:\n{containers}")
}

#[test]
fn every_handler_passes_and_fails_in_every_kind_of_probe() {
    let husk = Husk::new();
    let kinds = ["startup", "liveness", "readiness"];
    let mut story = Story::start(
        &husk,
        &pods(&[
            ("good", &spec_of_all_handlers(&kinds, true)),
            ("startup", &spec_of_all_handlers(&["startup"], false)),
            ("liveness", &spec_of_all_handlers(&["liveness"], false)),
            ("readiness", &spec_of_all_handlers(&["readiness"], false)),
        ]),
    );
    story.wait_for_all(&["good Ready", "startup Phase: Phase is Failed", "liveness Phase: Phase is Failed"]);
    // By its third failure, the others have been checked again and again.
    story.wait_for("readiness/exec Unhealthy: Readiness probe failed: /nothing does not exist (x3");
    for (name, .., failure) in HANDLERS {
        story.wait_for(&format!("readiness/{name} Unhealthy: Readiness probe failed: {failure}"));
        for (kind, word) in [("startup", "Startup"), ("liveness", "Liveness")] {
            story.tells(&[
                &format!("{kind}/{name} Started"),
                &format!("{kind}/{name} Unhealthy: {word} probe failed: {failure}"),
                &format!("{kind}/{name} Killing: Container {name} failed {kind} probe"),
                &format!("{kind}/{name} Exited"),
            ]);
        }
        story.never_tells(&format!("good/{name} Unhealthy"));
        story.never_tells(&format!("readiness/{name} Killing"));
    }
    assert_eq!(story.stop(), 130);
    assert_eq!(story.row("good"), ["4/4", "Running", "0"]);
    assert_eq!(story.row("readiness"), ["0/4", "Running", "0"]);
    assert_eq!(story.row("startup"), ["0/4", "Error", "0"]);
    assert_eq!(story.row("liveness"), ["0/4", "Error", "0"]);
    assert_eq!(termination(story.pod("liveness"), "exec").0, 143);
    let took = story.time_between("liveness/exec Pulled", "liveness/exec Unhealthy");
    assert!(took >= Duration::from_secs(2), "the initial delay has passed: {took:?}");
}

#[test]
fn readiness_comes_and_goes_and_restarts_nothing() {
    let husk = Husk::new();
    // Someone does something in these containers after a while: the liveness probe.
    let slow = "
  restartPolicy: Never
  containers:
    - name: nginx
      image: test/p2/probed
      args: [serve, --port, '80', --delay, '1']
      ports: [{containerPort: 80}]
      readinessProbe: {httpGet: {path: /index.html, port: 80, scheme: HTTP}, initialDelaySeconds: 2, periodSeconds: 1}
      livenessProbe: {tcpSocket: {port: 80}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 9, failureThreshold: 2}
";
    let page = "
  containers:
    - name: nginx
      image: nginx:1.17.10-alpine
      readinessProbe: {httpGet: {port: 80, path: /index1.html}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 9}
      livenessProbe:
        exec: {command: [touch, /usr/share/nginx/html/index1.html]}
        initialDelaySeconds: 3
        periodSeconds: 1
        timeoutSeconds: 9
";
    let fickle = "
  containers:
    - name: c
      image: test/p2/probed
      args: [serve, --port, '80']
      readinessProbe: {httpGet: {port: 80}, periodSeconds: 1, timeoutSeconds: 9, failureThreshold: 1}
      livenessProbe: {exec: {command: [/probed.wasm, touch, /fail]}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 9}
";
    let mut story = Story::start(&husk, &pods(&[("slow", slow), ("page", page), ("fickle", fickle)]));
    story.wait_for_all(&["slow Ready", "page Ready", "fickle NotReady"]);
    story.tells(&["slow Phase: Phase is Running", "slow Ready: Pod is ready"]);
    story.tells(&[
        "page Phase: Phase is Running",
        "page/nginx Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404",
        "page Ready: Pod is ready",
    ]);
    story.tells(&[
        "fickle Ready: Pod is ready",
        "fickle/c Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 500",
        "fickle NotReady: Pod is not ready: containers with unready status: [c]",
    ]);
    story.never_tells("slow/nginx Unhealthy: Liveness");
    assert!(story.time_between("slow/nginx Pulled", "slow Ready") >= Duration::from_secs(2));
    assert!(story.time_between("page/nginx Pulled", "page Ready") >= Duration::from_secs(3));
    assert_eq!(story.stop(), 130);
    assert_eq!(story.row("slow"), ["1/1", "Running", "0"]);
    assert_eq!(story.row("page"), ["1/1", "Running", "0"]);
    assert_eq!(story.row("fickle"), ["0/1", "Running", "0"]);
}

#[test]
fn a_startup_probe_holds_the_others_back() {
    let husk = Husk::new();
    // A single check by the others before the container has started would fail it, or kill it.
    let startup = "
  restartPolicy: Never
  containers:
    - name: nginx
      image: test/p2/probed
      args: [sleep, '2', --then, touch, /alive, --then, serve, --port, '80']
      ports: [{containerPort: 80}]
      startupProbe: {tcpSocket: {port: 80}, initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 60}
      readinessProbe: {httpGet: {path: /index.html, port: 80, scheme: HTTP}, timeoutSeconds: 9}
      livenessProbe: {exec: {command: [/probed.wasm, exists, /alive]}, periodSeconds: 1, timeoutSeconds: 9, failureThreshold: 1}
";
    let mut story = Story::start(&husk, &pods(&[("p", startup)]));
    story.wait_for("p Ready");
    story.tells(&["p Phase: Phase is Running", "p/nginx Unhealthy: Startup probe failed: dial tcp 10.", "p Ready"]);
    story.never_tells("p/nginx Unhealthy: Liveness");
    story.never_tells("p/nginx Unhealthy: Readiness");
    assert!(story.time_between("p/nginx Pulled", "p Ready") >= Duration::from_secs(2));
    story.stop();
    assert_eq!(story.row("p"), ["1/1", "Running", "0"]);
}

/// Containers whose liveness fails sooner or later, each for another handler.
const UNLIVELY: [(&str, &str); 4] = [
    (
        "exec",
        "
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: test/p2/probed
      args: [live, /tmp/livenesspod, --for, '1']
      livenessProbe:
        exec: {command: [/probed.wasm, exists, /tmp/livenesspod]}
        initialDelaySeconds: 1
        periodSeconds: 1
        timeoutSeconds: 9
        failureThreshold: 2
",
    ),
    // The page is removed once: with it goes the way to remove it.
    (
        "http",
        "
  volumes: [{name: once, emptyDir: {}}]
  initContainers:
    - name: i
      image: busybox
      command: [ln, -s, /usr/share/nginx/html, /once/html]
      volumeMounts: [{name: once, mountPath: /once}]
  containers:
    - name: c
      image: nginx:1.17.10-alpine
      ports: [{containerPort: 80, name: nginxhttpget}]
      lifecycle: {postStart: {exec: {command: [rm, -rf, /once/html/index.html, /once/html]}}}
      livenessProbe: {httpGet: {port: nginxhttpget, path: /index.html}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 9}
      readinessProbe: {httpGet: {port: nginxhttpget, path: /index.html}, timeoutSeconds: 9}
      volumeMounts: [{name: once, mountPath: /once}]
",
    ),
    (
        "tcp",
        "
  containers:
    - name: c
      image: nginx:1.17.10-alpine
      livenessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 2}
",
    ),
    (
        "grpc",
        "
  containers:
    - name: server
      image: grpc-health:1.0
      args: [--not-serving-after, '1']
      ports: [{containerPort: 2379}]
      livenessProbe: {grpc: {port: 2379}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 9, failureThreshold: 1}
",
    ),
];

#[test]
fn failed_liveness_restarts_a_container_at_once_and_then_backs_off() {
    let husk = Husk::new();
    let mut story = Story::start(&husk, &pods(&UNLIVELY));
    let again = "Container started (x2";
    story.wait_for_all(&[&format!("exec/c Started: {again}"), "http Ready", &format!("grpc/server Started: {again}")]);
    story.wait_for("tcp/c BackOff: Back-off restarting failed container c in pod tcp_default(");
    let killed = "Container c failed liveness probe, will be restarted";
    story.tells(&[
        "exec Ready",
        "exec/c Unhealthy: Liveness probe failed: /tmp/livenesspod does not exist",
        "exec/c Unhealthy: Liveness probe failed: /tmp/livenesspod does not exist (x2",
        &format!("exec/c Killing: {killed}"),
        "exec/c Exited: Container exited with code 143 (Error)",
        &format!("exec/c Started: {again}"),
    ]);
    story.tells(&[
        "http/c Started",
        "http/c Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 404 (x3",
        &format!("http/c Killing: {killed}"),
        "http/c Exited: Container exited with code 0 (Completed)",
        &format!("http/c Started: {again}"),
        "http Ready",
    ]);
    story.tells(&[
        "grpc/server Unhealthy: Liveness probe failed: service unhealthy (responded with \"NOT_SERVING\")",
        "grpc/server Killing: Container server failed liveness probe, will be restarted",
        &format!("grpc/server Started: {again}"),
    ]);
    story.tells(&[
        &format!("tcp/c Killing: {killed}"),
        &format!("tcp/c Started: {again}"),
        &format!("tcp/c Killing: {killed} (x2"),
        "tcp/c Started: Container started (x3",
        &format!("tcp/c Killing: {killed} (x3"),
        "tcp/c BackOff",
    ]);
    assert!(story.time_between("tcp/c Pulled", "tcp/c Killing") >= Duration::from_secs(2));
    assert_eq!(story.stop(), 130);
    assert_eq!(story.row("http"), ["1/1", "Running", "1"]);
    assert_eq!(story.row("tcp"), ["0/1", "CrashLoopBackOff", "2"]);
}

#[test]
fn a_liveness_kill_takes_the_probes_own_grace_period_and_spares_no_sidecar() {
    let husk = Husk::new();
    let stubborn = "
  terminationGracePeriodSeconds: 3600
  containers:
    - name: c
      image: test/p2/probed
      args: [trap, --ignore]
      livenessProbe:
        exec: {command: [/probed.wasm, exists, /nothing]}
        initialDelaySeconds: 1
        periodSeconds: 1
        timeoutSeconds: 9
        failureThreshold: 1
        terminationGracePeriodSeconds: 1
";
    let sidecar = "
  restartPolicy: Never
  initContainers:
    - name: side
      image: test/p2/probed
      args: [sleep, '3600']
      restartPolicy: Always
      livenessProbe:
        exec: {command: [/probed.wasm, exists, /nothing]}
        initialDelaySeconds: 1
        periodSeconds: 1
        timeoutSeconds: 9
        failureThreshold: 1
  containers:
    - {name: c, image: test/p2/probed, args: [sleep, '3']}
";
    let mut story = Story::start(&husk, &pods(&[("stubborn", stubborn), ("sidecar", sidecar)]));
    story.wait_for_all(&["stubborn/c Started: Container started (x2", "sidecar Phase: Phase is Succeeded"]);
    story.tells(&[
        "stubborn/c Killing: Container c failed liveness probe, will be restarted",
        "stubborn/c Exited: Container exited with code 137 (Error)",
    ]);
    // However short the grace period, a container has two seconds.
    assert!(story.time_between("stubborn/c Killing", "stubborn/c Exited") >= Duration::from_secs(2));
    story.tells(&[
        "sidecar Ready",
        "sidecar/side Killing: Init container side failed liveness probe",
        "sidecar/side Exited: Container exited with code 143 (Error)",
        "sidecar NotReady: Pod is not ready: containers with unready status: [side]",
        "sidecar/side Started: Container started (x2",
        "sidecar/c Exited: Container exited with code 0 (Completed)",
    ]);
    story.interrupt();
    story.wait_for("stubborn/c Killing: Stopping container c");
    story.interrupt();
    assert_eq!(story.end(), 130);
}

#[test]
fn checks_that_take_too_long_fail_and_their_programs_are_killed() {
    let husk = Husk::new();
    let spec = "
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: exec
      image: test/p2/probed
      args: [sleep, '5', --then, exists, /late]
      readinessProbe: {exec: {command: [/probed.wasm, sleep, '2', --then, touch, /late]}}
    - name: http
      image: test/p2/probed
      args: [serve, --port, '80']
      startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, timeoutSeconds: 9, failureThreshold: 60}
      readinessProbe: {httpGet: {port: 80, path: '/slow?ms=3600000'}}
    - name: grpc
      image: test/p2/probed
      args: [tcp, --port, '8080']
      readinessProbe: {grpc: {port: 8080}}
";
    let mut story = Story::start(&husk, &pods(&[("p", spec)]));
    let late = "context deadline exceeded";
    story.wait_for_all(&[
        "p/exec Unhealthy: Readiness probe failed: command timed out: \
         \"/probed.wasm sleep 2 --then touch /late\" timed out after 1s",
        "p/http Unhealthy: Readiness probe failed: Get \"http://10.",
        "p/grpc Unhealthy: Readiness probe failed: timeout: failed to connect service \"10.",
        "p/exec Exited: Container exited with code 1 (Error)",
    ]);
    for name in ["http", "grpc"] {
        let failures = format!("{:?}", story.told(&format!("p/{name} Unhealthy")));
        assert!(failures.contains(late), "{failures}");
    }
    assert!(story.time_between("p/exec Pulled", "p/exec Unhealthy") >= Duration::from_secs(1));
    story.stop();
    assert_eq!(story.printed("exec | /late does not exist"), 1, "{story:#?}");
}

#[test]
fn http_checks_ask_as_kubernetes_does() {
    let husk = Husk::new();
    let spec = "
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: test/p2/probed
      args: [serve, --port, '81', --print-headers]
      ports: [{name: other, containerPort: 80}, {name: web, containerPort: 81}]
      startupProbe:
        httpGet:
          port: web
          path: headers?a=b
          httpHeaders: [{name: X-A, value: one}, {name: Host, value: example.test}, {name: X-A, value: two}, {name: Accept, value: ''}]
        periodSeconds: 1
        timeoutSeconds: 9
      readinessProbe: {httpGet: {port: 81, path: '/redirect?to=%2Fthere'}, periodSeconds: 1, timeoutSeconds: 9}
      livenessProbe:
        httpGet: {port: 81, path: '/redirect?to=http%3A%2F%2Felsewhere.test%2F'}
        periodSeconds: 1
        timeoutSeconds: 9
";
    let mut story = Story::start(&husk, &pods(&[("p", spec)]));
    story.wait_for_all(&[
        "p Ready",
        "p/web ProbeWarning: Liveness probe warning: Probe terminated redirects, Response body: elsewhere",
    ]);
    story.wait_for_output(&[
        "web | GET /headers?a=b 200",
        "web | X-A: one",
        "web | X-A: two",
        "web | Host: example.test",
        "web | User-Agent: kube-probe/1.36",
        "web | GET /redirect?to=%2Fthere 302",
        "web | GET /there 200",
        "web | Accept: */*",
    ]);
    story.never_tells("p/web Killing");
    story.stop();
    assert_eq!(story.row("p"), ["1/1", "Running", "0"]);
    assert_eq!(container(story.pod("p"), "web").restart_count, 0);
}

#[test]
fn checks_reach_the_pods_address_and_never_this_machine() {
    let husk = Husk::new();
    let machine = TcpListener::bind("127.0.0.1:0").unwrap();
    machine.set_nonblocking(true).unwrap();
    let (open, closed) = (machine.local_addr().unwrap().port(), free_port());
    let spec = format!(
        "
  terminationGracePeriodSeconds: 1
  containers:
    - name: local
      image: test/p2/tcp-server
      args: ['127.0.0.1:7000', '1']
      readinessProbe: {{tcpSocket: {{port: 7000}}, periodSeconds: 1, timeoutSeconds: 9}}
    - name: machine
      image: test/p2/probed
      args: [sleep, '3600']
      readinessProbe: {{tcpSocket: {{host: 127.0.0.1, port: {open}}}, periodSeconds: 1, timeoutSeconds: 9}}
    - name: published
      image: test/p2/probed
      args: [tcp, --port, '80']
      ports: [{{containerPort: 80, hostPort: {closed}}}]
      readinessProbe: {{tcpSocket: {{port: {closed}}}, periodSeconds: 1, timeoutSeconds: 9}}
"
    );
    let mut story = Story::start(&husk, &pods(&[("p", &spec)]));
    for name in ["local", "machine", "published"] {
        story.wait_for(&format!("p/{name} Unhealthy: Readiness probe failed: dial tcp "));
        for (_, failure) in story.told(&format!("p/{name} Unhealthy")) {
            assert!(failure.contains(": connect: connection refused"), "{failure}");
        }
    }
    story.stop();
    assert_eq!(story.row("p"), ["0/3", "Running", "0"]);
    let reached = machine.accept();
    assert_eq!(reached.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
