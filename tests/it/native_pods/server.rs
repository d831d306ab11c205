//! Native containers and the server that runs them: what of them outlives it, who chooses their runtime, and what they may
//! fill.

use super::both_users;
use super::images::Image;
use super::machine::{User, husk};
use super::scene::eventually;
use crate::cluster::Cluster;
use crate::support::{container, guest_file};

const BUSYBOX: &[Image] = &[Image::Busybox];

both_users! {
    native_containers_outlive_a_killed_server
    a_stopped_server_leaves_nothing_that_runs
    a_runtime_class_chooses_and_husk_refuses_what_it_cannot_do
    a_profile_of_the_users_governs_system_calls
    volumes_in_memory_are_shared_by_both_kinds
    a_pod_that_overfills_a_volume_is_evicted
}

/// A native container that counts and serves, one that ends while nobody looks, and one of WebAssembly.
const SURVIVOR: &str = "apiVersion: v1
kind: Pod
metadata: {name: survivor}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, emptyDir: {}}]
  containers:
    - name: counts
      image: busybox
      command: [sh, -c, 'mkdir /www; echo served > /www/index.html; httpd -p 8080 -h /www; i=0; while :; do echo $i; i=$((i+1)); sleep 0.2; done']
      volumeMounts: [{name: v, mountPath: /v}]
      readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
    - name: ends
      image: busybox
      command: [sh, -c, 'test -e /v/once && exec sleep 3600; touch /v/once; until test -e /v/go; do sleep 0.1; done; echo last words > /dev/termination-log; exit 3']
      volumeMounts: [{name: v, mountPath: /v}]
    - {name: wasm, image: builtin/busybox, command: [sleep, '3600']}
";

fn native_containers_outlive_a_killed_server(test: &str, user: User) {
    let Some(husk) = husk(test, user, BUSYBOX) else { return };
    let mut cluster = Cluster::start(&husk);
    cluster.create(SURVIVOR);
    cluster.until_ready("survivor");
    let before = cluster.pod("survivor");
    // It ends a moment later, when there is no server.
    cluster.exec("survivor", &["sh", "-c", "(sleep 1; touch /v/go) >/dev/null 2>&1 &"]).exits(0);
    cluster.kill_and(|| std::thread::park_timeout(std::time::Duration::from_secs(3)));
    cluster.until_container("survivor", "ends", "restarted", |status| status.restart_count == 1);
    cluster.until_container("survivor", "wasm", "restarted", |status| status.restart_count == 1);
    cluster.until_ready("survivor");
    let after = cluster.pod("survivor");
    assert_eq!(container(&after, "counts").container_id, container(&before, "counts").container_id);
    assert_eq!(container(&after, "counts").restart_count, 0);
    let last = container(&after, "ends").last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.message.as_deref()), (3, Some("last words\n")));
    let of_wasm = container(&after, "wasm").last_state.clone().unwrap().terminated.unwrap();
    assert_eq!(of_wasm.reason.as_deref(), Some("ContainerStatusUnknown"));
    let ip = |pod: &k8s_openapi::api::core::v1::Pod| pod.status.as_ref().unwrap().pod_ip.clone().unwrap();
    assert_eq!(ip(&after), ip(&before));
    // It counts on, and nothing of what it said is lost.
    let numbers: Vec<u32> = eventually("later numbers", || {
        let log = husk.husk(["logs", "survivor", "-c", "counts"]).ok();
        let numbers: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
        (numbers.len() > 30).then_some(numbers)
    });
    assert!(numbers.iter().copied().eq(0..u32::try_from(numbers.len()).unwrap()), "{numbers:?}");
    // It is reached as before, by new containers too.
    cluster.exec("survivor", &["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]).exits(0).has("served");
    let from_wasm = ["exec", "survivor", "-c", "wasm", "--", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"];
    husk.husk(from_wasm).exits(0).has("served");
    cluster.delete("survivor");
}

fn a_stopped_server_leaves_nothing_that_runs(test: &str, user: User) {
    let Some(husk) = husk(test, user, BUSYBOX) else { return };
    let cluster = Cluster::start(&husk);
    let marker = format!("{}", 40_000_000 + std::process::id());
    cluster.create(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - {{name: c, image: busybox, command: [sleep, '{marker}']}}\n"
    ));
    cluster.until_ready("p");
    assert_eq!(running(&marker), 1);
    husk.husk(["stop"]).exits(0);
    assert_eq!(running(&marker), 0);
    let directory = husk.dir().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&directory), "{mounts}");
}

/// How many processes have this among their arguments.
fn running(argument: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    arguments.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}

fn a_runtime_class_chooses_and_husk_refuses_what_it_cannot_do(test: &str, user: User) {
    let Some(husk) = husk(test, user, BUSYBOX) else { return };
    let with = |class: &str, image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  runtimeClassName: {class}\n  restartPolicy: Never\n  \
             containers:\n  - {{name: c, image: '{image}', imagePullPolicy: Never, command: [uname, -m]}}\n"
        )
    };
    let native = husk.run(&with("linux", "busybox"), &["--no-prefix"]).exits(0).stdout;
    assert_eq!(native.trim(), std::env::consts::ARCH);
    husk.run(&with("wasm", "builtin/busybox"), &["--no-prefix"]).exits(0).has("wasm32");
    // It is taken for what was asked for, whatever its image says.
    husk.run(&with("wasm", "busybox"), &[]).exits(128).says("a native Linux program");
    husk.write("labelled/Dockerfile", "FROM scratch\nCOPY hello /\nENTRYPOINT [\"/hello\"]\n");
    husk.write("labelled/hello", std::fs::read(guest_file("p2", "hello")).unwrap());
    let context = husk.dir().join("labelled").display().to_string();
    husk.husk(["image", "build", "--platform", "linux/amd64", "-t", "labelled", &context]).exits(0);
    let labelled = with("wasm", "labelled").replace(", command: [uname, -m]", "");
    husk.run(&labelled, &["--no-prefix"]).exits(0).has("hello from wasm");
    // So it is by crun's annotations.
    for annotation in ["run.oci.handler: wasm", "module.wasm.image/variant: compat"] {
        let annotated = labelled
            .replace("  runtimeClassName: wasm\n", "")
            .replace("metadata: {name: p", &format!("metadata: {{annotations: {{{annotation}}}, name: p"));
        husk.run(&annotated, &["--no-prefix"]).exits(0).has("hello from wasm");
    }
    husk.run(&with("linux", "builtin/busybox"), &[]).exits(2).says("builtin/busybox");
    husk.run(&with("other", "busybox"), &[]).exits(2).says("RuntimeClass.node.k8s.io \"other\" not found");
    // A class of one's own, whose handler is husk's or nobody's.
    let cluster = Cluster::start(&husk);
    for (name, handler) in [("mine", "linux"), ("odd", "runc")] {
        cluster.create(&format!(
            "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: {name}}}\nhandler: {handler}\n---\n{}",
            with(name, "busybox").replace("{name: p}", &format!("{{name: {name}}}"))
        ));
    }
    cluster.until_pod("mine", "Succeeded");
    eventually("a refusal", || {
        let told = cluster.told("odd", "FailedCreatePodSandBox");
        told.first().is_some_and(|message| message.contains("no runtime for \"runc\" is configured")).then_some(())
    });
    // What would open the host's own files to a container is not done.
    let unmasked = with("linux", "busybox").replace("spec:", "spec:\n  hostUsers: false").replace(
        "command: [uname, -m]",
        "command: [sh, -c, 'mount | grep -c \"on /proc/sys \"'], securityContext: {procMount: Unmasked}",
    );
    cluster.create(&unmasked.replace("{name: p}", "{name: unmasked}"));
    match user {
        User::Root => eventually("a refusal", || {
            let told = cluster.told("unmasked", "Failed");
            told.first().is_some_and(|message| message.contains("the host's /proc/sys")).then_some(())
        }),
        // It says that there is none.
        User::Ordinary => cluster.until_pod("unmasked", "Failed"),
    }
    // What only native containers can do is for them, in a pod of both kinds, too.
    let both = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: native, image: busybox, \
                securityContext: {capabilities: {add: [NET_ADMIN]}}}\n  - {name: wasm, image: builtin/busybox, \
                securityContext: {capabilities: {add: [NET_ADMIN]}}}\n";
    let refused = husk.run(both, &[]).exits(2).says("spec.containers[1].securityContext.capabilities.add");
    assert!(!refused.stderr.contains("containers[0]"), "{}", refused.stderr);
}

fn a_profile_of_the_users_governs_system_calls(test: &str, user: User) {
    let Some(husk) = husk(test, user, BUSYBOX) else { return };
    let rules = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    let pod = |profile: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  containers:\n  - {{name: c, \
             image: busybox, command: [mkdir, /new], securityContext: {{seccompProfile: {{type: Localhost, \
             localhostProfile: {profile}}}}}}}\n"
        )
    };
    husk.write("data/seccomp/profiles/full.json", rules);
    husk.run(&pod("profiles/full.json"), &[]).exits(1).says("No space left on device");
    let mut waiting = husk.start(&pod("profiles/none.json"), &[]);
    let told = waiting.wait_for("none.json");
    assert!(told.contains("seccomp profile"), "{told}");
}

fn volumes_in_memory_are_shared_by_both_kinds(test: &str, user: User) {
    let Some(husk) = husk(test, user, BUSYBOX) else { return };
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  volumes: [{name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
  containers:
    - name: native
      image: busybox
      command: [sh, -c, 'echo from native > /m/native; until test -e /m/wasm; do sleep 0.1; done; cat /m/wasm; df -m /m | tail -1; dd if=/dev/zero of=/m/large bs=1k count=2000 || echo full']
      volumeMounts: [{name: m, mountPath: /m}]
    - name: wasm
      image: builtin/busybox
      command: [sh, -c, 'until test -e /m/native; do sleep 0.1; done; cat /m/native; echo from wasm > /m/wasm']
      volumeMounts: [{name: m, mountPath: /m}]
";
    let ran = husk.run(yaml, &[]).exits(0);
    let ran = ran.has("wasm   | from native").has("native | from wasm").has("native | full");
    assert!(
        ran.stdout.lines().any(|line| line.starts_with("native | tmpfs") && line.ends_with("/m")),
        "{}",
        ran.stdout
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&husk.dir().display().to_string()), "{mounts}");
}

fn a_pod_that_overfills_a_volume_is_evicted(test: &str, user: User) {
    let Some(husk) = husk(test, user, BUSYBOX) else { return };
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]
  containers:
    - name: c
      image: busybox
      command: [sh, -c, 'dd if=/dev/zero of=/v/large bs=1k count=2000; exec sleep 3600']
      volumeMounts: [{name: v, mountPath: /v}]
";
    let status = husk.final_pod(yaml).status.unwrap();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Evicted")));
    assert_eq!(status.message.as_deref(), Some("Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". "));
}
