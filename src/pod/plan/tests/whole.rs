//! Whole statuses, compared with golden files in `tests/data/pod`; `UPDATE=1` rewrites those.

use std::path::Path;

use super::sim::{Program, Sim};
use super::{ends, serves};

fn check(name: &str, sim: &Sim) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pod").join(format!("{name}.json"));
    let actual = serde_json::to_string_pretty(&*sim.observed.status).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(actual, expected, "{name} differs from {}; UPDATE=1 rewrites it", path.display());
}

const WITH_INIT: &str = "restartPolicy: Never, initContainers: [{name: prepare, image: tools}, {name: proxy, image: tools, restartPolicy: Always}], \
    containers: [{name: web, image: web, resources: {limits: {cpu: 1, memory: 64Mi}, requests: {cpu: 500m, memory: 64Mi}}, \
    volumeMounts: [{name: data, mountPath: /data, readOnly: true}]}, {name: job, image: job}], volumes: [{name: data}]";

fn with_init() -> Sim {
    Sim::new(WITH_INIT)
        .script("prepare", &[ends(1.0, 0)])
        .script("proxy", &[serves()])
        .script("web", &[ends(20.0, 0)])
        .script("job", &[ends(4.0, 3)])
}

#[test]
fn a_running_pod_with_init_container_and_sidecar() {
    let mut sim = with_init();
    sim.run(10.0);
    check("running", &sim);
}

#[test]
fn a_failed_pod_with_init_container_and_sidecar() {
    let mut sim = with_init();
    sim.run(60.0);
    check("failed", &sim);
}

#[test]
fn a_crash_looping_pod() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[ends(1.0, 1)]);
    sim.run(5.0);
    check("crash-loop", &sim);
}

#[test]
fn a_pod_past_its_deadline() {
    let spec = "activeDeadlineSeconds: 5, terminationGracePeriodSeconds: 3, containers: [{name: c, image: i}]";
    let mut sim = Sim::new(spec).script("c", &[Program::Ignores]);
    sim.run(60.0);
    check("deadline-exceeded", &sim);
}
