//! The pod's filesystem, as guests see it.

use crate::support::{Husk, Outcome, pod, termination};

/// Runs `files` commands in a pod with `volumes` (YAML in flow style), mounted as `mounts` say.
fn files(husk: &Husk, level: &str, volumes: &str, mounts: &str, objects: &str, commands: &[&str]) -> Outcome {
    let args = serde_json::to_string(&commands.join(" , ").split(' ').collect::<Vec<_>>()).unwrap();
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p, labels: {{app: web, tier: front}}, annotations: {{note: 'say \"hi\"'}}}}
spec:
  restartPolicy: Never
  volumes: {volumes}
  containers:
    - name: c
      image: test/{level}/files
      args: {args}
      volumeMounts: {mounts}
      resources: {{limits: {{cpu: 1500m, memory: 64Mi}}}}
{objects}"
    );
    husk.run(&yaml, &["--no-prefix", "--quiet"])
}

const LEVELS: [&str; 2] = ["p1", "p2"];

#[test]
fn a_path_into_a_volume_resolves_the_same_however_it_is_walked() {
    let husk = Husk::new();
    for level in LEVELS {
        let outcome = files(
            &husk,
            level,
            "[{name: v, emptyDir: {}}]",
            "[{name: v, mountPath: /data/deep}]",
            "",
            &[
                "write /data/deep/x hello",
                "read /data/deep/x",
                "read data/deep/x",
                "read /etc/../data/deep/x",
                "read /./data//deep/./x",
                "read /data/deep/../deep/x",
                "symlink /data/deep /tmp/abs",
                "read /tmp/abs/x",
                "symlink ../data /tmp/rel",
                "read /tmp/rel/deep/x",
                "symlink /etc/../tmp/abs/x /data/deep/around",
                "read /data/deep/around",
                "read /../../data/deep/x",
                "list /data",
            ],
        );
        let outcome = outcome.exits(0).has("list /data: deep/");
        assert_eq!(outcome.stdout.matches(": \"hello\"").count(), 9, "{outcome:?}");
    }
}

#[test]
fn no_path_leaves_the_container() {
    let husk = Husk::new();
    let outside = husk.write("outside/secret", "secret");
    let shared = husk.dir().join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    std::os::unix::fs::symlink(&outside, shared.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../outside/secret", shared.join("relative")).unwrap();
    std::os::unix::fs::symlink("../outside", shared.join("folder")).unwrap();
    let volumes = format!("[{{name: v, hostPath: {{path: {}, type: Directory}}}}]", shared.display());
    for level in LEVELS {
        let outcome = files(
            &husk,
            level,
            &volumes,
            "[{name: v, mountPath: /shared}]",
            "",
            &[
                "read /shared/absolute",
                "read /shared/relative",
                "read /shared/folder/secret",
                "read /shared/../../../outside/secret",
                &format!("read {}", outside.display()),
            ],
        );
        // A 0.2 program of Rust's std says failure, not how many.
        let outcome = outcome.exits(if level == "p1" { 5 } else { 1 });
        assert_eq!(outcome.stdout.matches("error NotFound").count(), 5, "{outcome:?}");
    }
}

#[test]
fn changes_to_the_image_are_the_containers_own_and_gone_with_it() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  initContainers:
    - {name: one, image: busybox, command: [rm, /etc/passwd]}
    - {name: two, image: busybox, command: [touch, /new]}
  containers:
    - {name: c, image: busybox, command: [ls, /etc/passwd, /]}
";
    let outcome = husk.run(yaml, &["--no-prefix"]).exits(0).has("/etc/passwd");
    assert!(!outcome.stdout.lines().any(|line| line == "new"), "{outcome:?}");
}

#[test]
fn a_memory_volume_is_full_at_its_size_limit() {
    let husk = Husk::new();
    for level in LEVELS {
        files(
            &husk,
            level,
            "[{name: v, emptyDir: {medium: Memory, sizeLimit: 64Ki}}]",
            "[{name: v, mountPath: /m}]",
            "",
            &["write /m/a x", "truncate /m/a 10", "copy /etc/hosts /m/b", "write /m/c y", "stat /m/a"],
        )
        .exits(0)
        .has("stat /m/a: file 10 bytes");
        let more = "volumeMounts: [{name: v, mountPath: /m}]";
        let yaml = pod("test/p1/files", &["copy", "/files.wasm", "/m/x"], more);
        let yaml = format!("{yaml}  volumes: [{{name: v, emptyDir: {{medium: Memory, sizeLimit: 64Ki}}}}]\n");
        husk.run(&yaml, &["--no-prefix", "--quiet"]).exits(1).has("copy /files.wasm /m/x: error StorageFull");
    }
}

#[test]
fn config_maps_and_secrets_show_as_files() {
    let husk = Husk::new();
    let objects = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {a: alpha, b: beta}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {password: hunter2}
";
    let volumes = "[{name: all, configMap: {name: cm}}, {name: some, configMap: {name: cm, items: [{key: b, path: sub/b.txt}]}}, \
                   {name: s, secret: {secretName: s}}, {name: none, configMap: {name: absent, optional: true}}, \
                   {name: pr, projected: {sources: [{configMap: {name: cm}}, {secret: {name: s}}, \
                   {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}}]";
    let mounts = "[{name: all, mountPath: /all}, {name: some, mountPath: /some}, {name: s, mountPath: /s}, \
                  {name: none, mountPath: /none}, {name: pr, mountPath: /pr}, \
                  {name: all, mountPath: /one/a.txt, subPath: a}]";
    for level in LEVELS {
        files(
            &husk,
            level,
            volumes,
            mounts,
            objects,
            &[
                "read /all/a",
                "read /some/sub/b.txt",
                "exists /some/a",
                "read /s/password",
                "list /none",
                "list /pr",
                "read /pr/labels",
                "read /one/a.txt",
                "readlink /all/a",
            ],
        )
        .exits(0)
        .has("read /all/a: \"alpha\"")
        .has("read /some/sub/b.txt: \"beta\"")
        .has("exists /some/a: false")
        .has("read /s/password: \"hunter2\"")
        .has("read /one/a.txt: \"alpha\"")
        .has("readlink /all/a: ..data/a")
        .has(r#"read /pr/labels: "app=\"web\"\ntier=\"front\"""#);
        files(&husk, level, volumes, mounts, objects, &["write /all/new x"])
            .exits(1)
            .has("write /all/new x: error ReadOnlyFilesystem");
    }
}

#[test]
fn downward_volumes_show_fields_and_resources() {
    let husk = Husk::new();
    let volumes = "[{name: d, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}, \
                   {path: note, fieldRef: {fieldPath: \"metadata.annotations['note']\"}}, \
                   {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu}}, \
                   {path: mem, resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}}]}}]";
    files(
        &husk,
        "p2",
        volumes,
        "[{name: d, mountPath: /d}]",
        "",
        &["read /d/name", "read /d/note", "read /d/cpu", "read /d/mem"],
    )
    .exits(0)
    .has(r#"read /d/name: "p""#)
    .has(r#"read /d/note: "say \"hi\"""#)
    .has(r#"read /d/cpu: "2""#)
    .has(r#"read /d/mem: "64""#);
}

#[test]
fn host_paths_are_checked_by_type_and_shared_with_the_host() {
    let husk = Husk::new();
    husk.write("host/file", "from the host");
    let path = husk.dir().join("host");
    let volume = |path: &str, kind: &str| format!("[{{name: v, hostPath: {{path: {path}, type: '{kind}'}}}}]");
    let mounts = "[{name: v, mountPath: /h}]";
    for level in LEVELS {
        let volumes = volume(path.to_str().unwrap(), "Directory");
        files(&husk, level, &volumes, mounts, "", &["read /h/file", "write /h/back from-the-guest"])
            .exits(0)
            .has("read /h/file: \"from the host\"");
        assert_eq!(std::fs::read_to_string(path.join("back")).unwrap(), "from-the-guest");
    }
    let made = path.join("made");
    files(&husk, "p1", &volume(made.to_str().unwrap(), "DirectoryOrCreate"), mounts, "", &["write /h/x y"]).exits(0);
    assert!(made.join("x").exists());
    let read_only = "[{name: v, mountPath: /h, readOnly: true}]";
    files(&husk, "p1", &volume(path.to_str().unwrap(), ""), read_only, "", &["write /h/x y"])
        .exits(1)
        .has("write /h/x y: error ReadOnlyFilesystem");
    let wrong = volume(path.join("file").to_str().unwrap(), "Directory");
    let yaml = format!(
        "{}  volumes: {wrong}\n  activeDeadlineSeconds: 2\n",
        pod("test/p1/hello", &[], "volumeMounts: [{name: v, mountPath: /h}]")
    );
    husk.run(&yaml, &[]).says("FailedMount").says("hostPath type check failed").says("is not a directory");
}

#[test]
fn claims_keep_their_content_from_run_to_run() {
    let husk = Husk::new();
    let claim = "---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";
    let volumes = "[{name: v, persistentVolumeClaim: {claimName: data}}]";
    let mounts = "[{name: v, mountPath: /d}]";
    files(&husk, "p1", volumes, mounts, claim, &["write /d/kept yes"]).exits(0);
    files(&husk, "p2", volumes, mounts, claim, &["read /d/kept"]).exits(0).has("read /d/kept: \"yes\"");
}

#[test]
fn sub_paths_stay_in_their_volume_and_may_hold_variables() {
    let husk = Husk::new();
    let yaml = pod(
        "test/p1/files",
        &["write", "/d/x", "y", ",", "list", "/all"],
        "env: [{name: NAME, value: folder}]
volumeMounts: [{name: v, mountPath: /d, subPathExpr: 'of-$(NAME)'}, {name: v, mountPath: /all}]",
    );
    let yaml = format!("{yaml}  volumes: [{{name: v, emptyDir: {{}}}}]\n");
    husk.run(&yaml, &["--no-prefix"]).exits(0).has("list /all: of-folder/");
}

#[test]
fn the_kubelets_files_are_there() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  hostname: box
  subdomain: sub
  hostAliases: [{ip: 10.1.2.3, hostnames: [db, db.local]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [example.test], options: [{name: ndots, value: '2'}]}
  containers: [{name: c, image: busybox, command: [cat, /etc/hostname, /etc/hosts, /etc/resolv.conf]}]
";
    husk.run(yaml, &["--no-prefix"])
        .exits(0)
        .has("box")
        .has("# Kubernetes-managed hosts file.")
        .has("127.0.0.1\tlocalhost")
        .has("10.1.2.3\tdb\tdb.local")
        .has("nameserver 192.0.2.53")
        .has("search example.test")
        .has("options ndots:2");
}

#[test]
fn the_termination_message_is_what_the_program_wrote() {
    let husk = Husk::new();
    let written = husk.final_pod(&pod("test/p1/files", &["write", "/dev/termination-log", "farewell"], ""));
    assert_eq!(termination(&written, "c"), (0, "Completed".into(), "farewell".into()));
    let elsewhere =
        husk.final_pod(&pod("test/p2/files", &["write", "/tmp/msg", "bye"], "terminationMessagePath: /tmp/msg"));
    assert_eq!(termination(&elsewhere, "c").2, "bye");
    let fallback = pod("test/p1/files", &["read", "/none"], "terminationMessagePolicy: FallbackToLogsOnError");
    assert_eq!(termination(&husk.final_pod(&fallback), "c").2, "read /none: error NotFound\n");
}

#[test]
fn a_read_only_root_filesystem_still_has_writable_volumes() {
    let husk = Husk::new();
    let yaml = pod(
        "test/p1/files",
        &["write", "/x", "y", ",", "write", "/v/x", "y"],
        "securityContext: {readOnlyRootFilesystem: true}\nvolumeMounts: [{name: v, mountPath: /v}]",
    );
    let yaml = format!("{yaml}  volumes: [{{name: v, emptyDir: {{}}}}]\n");
    husk.run(&yaml, &["--no-prefix"]).exits(1).has("write /x y: error ReadOnlyFilesystem").has("write /v/x y: ok");
}
