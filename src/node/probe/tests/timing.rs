//! When checks are made, and what is told of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Scene, lock};
use crate::base::clock::{Clock, Timestamp};
use crate::node::outcomes::Reports;
use crate::node::probe::Prober;
use crate::pod::{Event, ProbeKind, ProbeReport};
use crate::runtime::Signal;
use crate::runtime::fake::{Call, Script};

const PORT: u16 = 80;

/// A container with probes, and what they tell.
struct Probing {
    scene: Scene,
    begun: Instant,
    clock: Clock,
    started_at: Timestamp,
    prober: Option<Prober>,
    events: mpsc::Receiver<Event>,
    sender: Reports,
    told: Vec<String>,
}

impl Probing {
    /// A container that has just started; its probes have not.
    async fn new(fields: &str) -> Self {
        let scene = Scene::new(fields).await;
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let (sender, events) = mpsc::channel(8);
        let begun = Instant::now();
        Self {
            scene,
            begun,
            clock,
            started_at: clock.now(),
            prober: None,
            events,
            sender: Reports::new(sender),
            told: Vec::new(),
        }
    }

    fn start(&mut self) {
        self.prober =
            Some(Prober::start(&self.scene.target, (self.started_at, Duration::ZERO), &self.clock, &self.sender));
    }

    /// One whose probes start with it.
    async fn started(fields: &str, execs: Vec<Script>) -> Self {
        let mut probing = Self::new(fields).await;
        probing.scene.script_execs(execs);
        probing.start();
        probing
    }

    fn prober(&mut self) -> &mut Prober {
        self.prober.as_mut().unwrap()
    }

    /// Lets the clock run until `seconds` after the container's start, and notes what is told meanwhile.
    async fn at(&mut self, seconds: f64) {
        let end = self.begun + Duration::from_secs_f64(seconds);
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event.unwrap(),
                () = sleep_until(end) => return,
            };
            let at = since(self.begun);
            self.told.push(format!("{at} {}", describe(&event)));
        }
    }

    /// The times of all connections to a port, from now on.
    fn connections(&self, port: u16) -> Arc<Mutex<Vec<f64>>> {
        let (listener, begun) = (self.scene.listen(&format!("0.0.0.0:{port}")), self.begun);
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                lock(&seen).push(since(begun));
            }
        });
        times
    }
}

/// Seconds, without the milliseconds by which timers may be late.
fn since(begun: Instant) -> f64 {
    (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0
}

fn describe(event: &Event) -> String {
    let kind = |kind: &ProbeKind| format!("{kind:?}").to_lowercase();
    match event {
        Event::ProbeResult { container, attempt: 2, kind: of, success } if container == "c" => {
            format!("{} settles {}", kind(of), if *success { "success" } else { "failure" })
        }
        Event::ProbeReport { container, attempt: 2, kind: of, report } if container == "c" => match report {
            ProbeReport::Failed(text) => format!("{} failed: {text}", kind(of)),
            ProbeReport::Errored(text) => format!("{} errored: {text}", kind(of)),
            ProbeReport::Warned(text) => format!("{} warned: {text}", kind(of)),
        },
        other => panic!("{other:?}"),
    }
}

fn exits(seconds: f64, code: i32) -> Script {
    Script::exits(Duration::from_secs_f64(seconds), code)
}

/// §7: every period from the container's start, the first check at once if the initial delay allows.
#[tokio::test(start_paused = true)]
async fn checks_are_due_every_period_after_the_initial_delay() {
    for (delay, period, probed_from, expected) in [
        (0, 3, 0.0, vec![0.0, 3.0, 6.0, 9.0]),
        (0, 1, 0.0, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]),
        // The delay is over between two ticks: the later one counts.
        (5, 10, 0.0, vec![10.0]),
        (5, 2, 0.0, vec![6.0, 8.0, 10.0]),
        (1, 4, 0.0, vec![4.0, 8.0]),
        // A tick at its very end counts.
        (4, 4, 0.0, vec![4.0, 8.0]),
        (10, 5, 0.0, vec![10.0]),
        // Probes that start late check at once and then keep the container's time.
        (0, 4, 2.5, vec![2.5, 4.0, 8.0]),
        (2, 4, 2.5, vec![2.5, 4.0, 8.0]),
        (3, 4, 2.5, vec![4.0, 8.0]),
        (11, 1, 0.0, vec![]),
    ] {
        let probe = format!("{{initialDelaySeconds: {delay}, periodSeconds: {period}, tcpSocket: {{port: {PORT}}}}}");
        for kind in ["readinessProbe", "livenessProbe"] {
            let mut probing = Probing::new(&format!("{kind}: {probe}")).await;
            let checks = probing.connections(PORT);
            probing.at(probed_from).await;
            probing.start();
            probing.at(10.5).await;
            assert_eq!(*lock(&checks), expected, "{kind} {delay} {period} {probed_from}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_readiness_check_out_of_turn_restarts_the_periods() {
    for (delay, period, pokes, expected) in [
        (0, 10, vec![4.0], vec![0.0, 4.0, 14.0, 24.0]),
        (0, 10, vec![4.0, 5.0], vec![0.0, 4.0, 5.0, 15.0, 25.0]),
        (0, 10, vec![10.0], vec![0.0, 10.0, 20.0]),
        // During the initial delay it only moves the ticks.
        (5, 3, vec![2.0], vec![5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 23.0]),
        (5, 10, vec![5.0], vec![5.0, 15.0, 25.0]),
    ] {
        let probe = format!("{{initialDelaySeconds: {delay}, periodSeconds: {period}, tcpSocket: {{port: {PORT}}}}}");
        let mut probing = Probing::new(&format!("readinessProbe: {probe}")).await;
        let checks = probing.connections(PORT);
        probing.start();
        for poke in &pokes {
            probing.at(*poke).await;
            probing.prober().probe_readiness_now();
        }
        probing.at(25.5).await;
        let mut times = lock(&checks).clone();
        // One check more where a tick falls on the same time.
        times.dedup();
        assert_eq!(times, expected, "{delay} {period} {pokes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_during_a_check_come_to_one_check_after_it() {
    let probe = "readinessProbe: {periodSeconds: 10, timeoutSeconds: 5, exec: {command: [x]}}";
    let mut probing = Probing::started(probe, vec![exits(3.0, 1).prints("no")]).await;
    probing.at(1.0).await;
    for _ in 0..3 {
        probing.prober().probe_readiness_now();
    }
    probing.at(20.0).await;
    let failed = ["3", "6", "16"].map(|at| format!("{at} readiness failed: no"));
    assert_eq!(probing.told, failed);
}

#[tokio::test(start_paused = true)]
async fn ticks_missed_during_a_long_check_come_to_one() {
    let probe = "readinessProbe: {periodSeconds: 2, timeoutSeconds: 9, exec: {command: [x]}}";
    let mut probing = Probing::started(probe, vec![exits(5.5, 1).prints("slow"), exits(0.0, 1).prints("fast")]).await;
    probing.at(10.5).await;
    let expected = ["5.5 readiness failed: slow", "5.5 readiness failed: fast"].map(str::to_owned).into_iter();
    let expected: Vec<_> = expected.chain(["6", "8", "10"].map(|at| format!("{at} readiness failed: fast"))).collect();
    assert_eq!(probing.told, expected);
}

#[tokio::test(start_paused = true)]
async fn results_settle_at_the_thresholds_and_are_told_after_the_report() {
    let probe = "readinessProbe: {periodSeconds: 1, successThreshold: 2, failureThreshold: 3, exec: {command: [x]}}";
    let (good, bad) = (exits(0.0, 0), exits(0.0, 1).prints("no"));
    let execs = [&bad, &good, &bad, &good, &good, &bad, &bad, &good, &bad, &bad, &bad, &bad, &good];
    let mut probing = Probing::started(probe, execs.into_iter().cloned().collect()).await;
    probing.at(12.5).await;
    assert_eq!(
        probing.told,
        [
            "0 readiness failed: no",
            "2 readiness failed: no",
            "4 readiness settles success",
            "5 readiness failed: no",
            "6 readiness failed: no",
            "8 readiness failed: no",
            "9 readiness failed: no",
            "10 readiness failed: no",
            "10 readiness settles failure",
            "11 readiness failed: no",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn errors_count_neither_way() {
    let probe = "livenessProbe: {periodSeconds: 1, failureThreshold: 2, exec: {command: [x]}}";
    let (bad, broken) = (exits(0.0, 1).prints("no"), Script::runs_forever().fails_to_create("broken"));
    let execs = vec![bad.clone(), broken.clone(), broken.clone(), broken, bad];
    let mut probing = Probing::started(probe, execs).await;
    probing.at(9.0).await;
    let told =
        ["0 liveness failed: no", "1 liveness errored: broken", "2 liveness failed: no", "2 liveness settles failure"];
    assert_eq!(probing.told, told);
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_a_success() {
    let mut probing = Probing::new("readinessProbe: {periodSeconds: 5, httpGet: {port: 80}}").await;
    probing.scene.serve(80, &[&super::response("302 Found", "Location: http://elsewhere/\r\n", "go")]);
    probing.start();
    probing.at(6.0).await;
    let warned = "readiness warned: Probe terminated redirects, Response body: go";
    assert_eq!(probing.told, [format!("0 {warned}"), "0 readiness settles success".to_owned(), format!("5 {warned}")]);
}

#[tokio::test(start_paused = true)]
async fn liveness_that_has_failed_is_on_hold_while_readiness_goes_on() {
    let probes = "livenessProbe: {periodSeconds: 1, failureThreshold: 2, tcpSocket: {port: 81}}, \
                  readinessProbe: {periodSeconds: 2, tcpSocket: {port: 80}}";
    let mut probing = Probing::new(probes).await;
    let readiness = probing.connections(80);
    probing.start();
    probing.at(6.5).await;
    let refused = "liveness failed: dial tcp 10.88.0.2:81: connect: connection refused";
    let expected = [format!("0 {refused}"), format!("1 {refused}"), "1 liveness settles failure".to_owned()];
    probing.told.retain(|told| told.contains("liveness"));
    assert_eq!(probing.told, expected);
    assert_eq!(*lock(&readiness), [0.0, 2.0, 4.0, 6.0]);
}

/// §7: the others wait for the startup probe; liveness follows at its next tick, readiness when it is asked for.
#[tokio::test(start_paused = true)]
async fn liveness_and_readiness_wait_for_the_startup_probe() {
    let probes = "startupProbe: {periodSeconds: 2, failureThreshold: 9, exec: {command: [x]}}, \
                  livenessProbe: {periodSeconds: 3, tcpSocket: {port: 81}}, \
                  readinessProbe: {periodSeconds: 10, tcpSocket: {port: 80}}";
    let mut probing = Probing::new(probes).await;
    let (liveness, readiness) = (probing.connections(81), probing.connections(80));
    let bad = exits(0.0, 1).prints("not yet");
    probing.scene.script_execs(vec![bad.clone(), bad, exits(0.5, 0)]);
    probing.start();
    probing.at(1.0).await;
    probing.at(4.8).await;
    assert_eq!(probing.told, ["0 startup failed: not yet", "2 startup failed: not yet", "4.5 startup settles success"]);
    assert!(lock(&readiness).is_empty());
    probing.prober().probe_readiness_now();
    probing.at(16.0).await;
    assert_eq!(*lock(&liveness), [6.0, 9.0, 12.0, 15.0]);
    assert_eq!(*lock(&readiness), [4.8, 14.8]);
    assert_eq!(probing.told[3..], ["4.8 readiness settles success"]);
    let startup_checks = probing.scene.runtime.calls().iter().filter(|call| matches!(call, Call::Exec(..))).count();
    assert_eq!(startup_checks, 3, "a container that has started is not asked again");
}

#[tokio::test(start_paused = true)]
async fn a_call_before_the_start_is_kept_until_then() {
    let probes = "startupProbe: {periodSeconds: 2, failureThreshold: 9, exec: {command: [x]}}, \
                  readinessProbe: {periodSeconds: 10, tcpSocket: {port: 80}}";
    let mut probing = Probing::new(probes).await;
    let readiness = probing.connections(80);
    probing.scene.script_execs(vec![exits(0.0, 1), exits(0.0, 0)]);
    probing.start();
    probing.prober().probe_readiness_now();
    probing.at(13.0).await;
    assert_eq!(*lock(&readiness), [2.0, 12.0]);
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_that_has_failed_is_on_hold_and_nothing_else_runs() {
    let probes = "startupProbe: {periodSeconds: 1, failureThreshold: 3, exec: {command: [x]}}, \
                  livenessProbe: {periodSeconds: 1, tcpSocket: {port: 81}}";
    let mut probing = Probing::new(probes).await;
    let liveness = probing.connections(81);
    probing.scene.script_execs(vec![exits(0.0, 1)]);
    probing.start();
    probing.at(9.0).await;
    let told = ["0 startup failed: ", "1 startup failed: ", "2 startup failed: ", "2 startup settles failure"];
    assert_eq!(probing.told, told);
    assert!(lock(&liveness).is_empty());
}

#[tokio::test(start_paused = true)]
async fn startup_and_liveness_stop_on_demand() {
    let probes = "startupProbe: {periodSeconds: 1, exec: {command: [x]}}, \
                  livenessProbe: {periodSeconds: 1, tcpSocket: {port: 81}}, \
                  readinessProbe: {periodSeconds: 1, tcpSocket: {port: 80}}";
    let mut probing = Probing::new(probes).await;
    let (liveness, readiness) = (probing.connections(81), probing.connections(80));
    probing.start();
    probing.at(2.5).await;
    probing.prober().stop_startup_and_liveness();
    probing.at(4.5).await;
    assert_eq!(*lock(&liveness), [1.0, 2.0]);
    assert_eq!(*lock(&readiness), [1.0, 2.0, 3.0, 4.0]);
}

#[tokio::test(start_paused = true)]
async fn all_ends_with_the_prober_even_a_program_that_runs() {
    let probes = "livenessProbe: {timeoutSeconds: 60, exec: {command: [x]}}, \
                  readinessProbe: {periodSeconds: 1, tcpSocket: {port: 80}}";
    let mut probing = Probing::new(probes).await;
    let readiness = probing.connections(80);
    probing.scene.script_execs(vec![Script::runs_forever()]);
    probing.start();
    probing.at(1.5).await;
    probing.prober = None;
    probing.at(5.0).await;
    assert_eq!(*lock(&readiness), [0.0, 1.0]);
    assert!(probing.scene.runtime.calls().contains(&Call::Drop("c/exec-0".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_of_a_container_that_has_ended() {
    let probe = "livenessProbe: {periodSeconds: 1, exec: {command: [x]}}";
    let mut probing = Probing::started(probe, vec![exits(0.0, 0)]).await;
    probing.at(0.5).await;
    probing.scene.container.signal(Signal::Kill);
    probing.at(5.0).await;
    assert!(probing.told.is_empty(), "{:?}", probing.told);
}
