//! Volumes and files that containers of both kinds share: what one sees, the other sees.

use std::os::unix::fs::MetadataExt;

use super::both_users;
use super::images::Image;
use super::machine::{User, husk};
use super::scene::eventually;
use crate::cluster::Cluster;

both_users! {
    volumes_of_every_kind_look_the_same
    what_one_writes_the_other_reads
    changes_of_a_config_map_reach_both
    a_program_that_is_mounted_alone_can_be_written_and_executed
    a_token_is_read_by_the_user_whose_it_is
    users_write_to_what_their_group_has
    a_claim_becomes_the_next_pods_group
    mounts_that_cannot_be_are_refused_alike
    places_of_mounts_are_taken_as_they_are_written
}

const OBJECTS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, shape: round}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: hunter2}
---
";

/// A pod with a container of each kind, both of which have every volume mounted and run `script`.
fn both(script: &str, host: &std::path::Path) -> String {
    let mut yaml = format!(
        "{OBJECTS}apiVersion: v1
kind: Pod
metadata: {{name: p, labels: {{app: x}}, annotations: {{note: kept}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes:
    - {{name: empty, emptyDir: {{}}}}
    - {{name: memory, emptyDir: {{medium: Memory, sizeLimit: 16Mi}}}}
    - {{name: config, configMap: {{name: settings, defaultMode: 288}}}}
    - {{name: secret, secret: {{secretName: secret, items: [{{key: password, path: deep/word, mode: 256}}]}}}}
    - {{name: host, hostPath: {{path: {}}}}}
    - name: down
      downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}
    - name: all
      projected:
        sources:
          - {{configMap: {{name: settings, items: [{{key: shape, path: form}}]}}}}
          - {{secret: {{name: secret}}}}
          - {{downwardAPI: {{items: [{{path: note, fieldRef: {{fieldPath: \"metadata.annotations['note']\"}}}}]}}}}
  containers:
",
        host.display()
    );
    for (name, image) in [("native", "busybox"), ("wasm", "builtin/busybox")] {
        yaml += &format!(
            "    - name: {name}
      image: {image}
      command: [sh, -c, {}]
      volumeMounts:
        - {{name: empty, mountPath: /v/empty}}
        - {{name: memory, mountPath: /v/memory}}
        - {{name: config, mountPath: /v/config}}
        - {{name: config, mountPath: /etc/app/colour, subPath: colour}}
        - {{name: secret, mountPath: /v/secret}}
        - {{name: host, mountPath: /v/host, readOnly: true}}
        - {{name: host, mountPath: /v/part, subPath: inner/part}}
        - {{name: down, mountPath: /v/down}}
        - {{name: all, mountPath: /v/all}}
",
            serde_json::to_string(script).unwrap()
        );
    }
    yaml
}

fn volumes_of_every_kind_look_the_same(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let host = husk.dir().join("host");
    std::fs::create_dir_all(host.join("inner/part")).unwrap();
    std::fs::write(host.join("inner/part/file"), "on the host\n").unwrap();
    std::fs::write(host.join("top"), "at the top\n").unwrap();
    let script = "cd /v
for file in config/colour config/shape secret/deep/word host/top part/file down/labels all/form all/password all/note; do
  echo $file: $(cat $file)
done
cat /etc/app/colour; echo
ls config secret secret/deep host part down all
stat -c '%a %n' config/..data/colour secret/..data/deep/word all/..data/form
touch empty/$HOSTNAME memory/x && echo written
touch host/no config/no down/no all/no
";
    let outcome = husk.run(&both(script, &host), &[]).exits(1);
    let said = |name: &str| -> Vec<&str> {
        let lines = outcome.stdout.lines().filter_map(|line| line.split_once(" | "));
        lines.filter(|(by, _)| by.trim() == name).map(|(_, said)| said).collect()
    };
    let native = said("native");
    assert_eq!(native, said("wasm"));
    for line in
        ["secret/deep/word: hunter2", "part/file: on the host", "all/note: kept", "440 config/..data/colour", "written"]
    {
        assert!(native.contains(&line), "{line}: {native:#?}");
    }
    let refused = outcome.stderr.lines().filter(|line| line.contains("Read-only file system"));
    assert_eq!(refused.count(), 8, "{outcome:?}");
}

fn what_one_writes_the_other_reads(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let cluster = Cluster::start(&husk);
    let host = husk.dir().join("host");
    std::fs::create_dir_all(host.join("inner/part")).unwrap();
    if user == User::Ordinary {
        // It is the user's own.
        let whose = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(husk.dir()).unwrap());
        std::os::unix::fs::chown(host.join("inner/part"), Some(whose), Some(whose)).unwrap();
    }
    cluster.create(&both("sleep 3600", &host));
    cluster.until_ready("p");
    let run = |container: &str, script: &str| husk.husk(["exec", "p", "-c", container, "--", "sh", "-c", script]).ok();
    for (writer, reader) in [("native", "wasm"), ("wasm", "native")] {
        for volume in ["empty", "memory", "part"] {
            let at = format!("/v/{volume}/{writer}");
            let made = "mkdir -p deep/down && head -c 3000001 /dev/urandom > deep/down/large && echo one > file && echo two >> \
                        file && mv file moved && ln -s moved link && chmod 640 moved && rm -f nothing && touch -d @1000000000 \
                        moved && sha256sum deep/down/large";
            let sum = run(writer, &format!("mkdir {at} && cd {at} && {made}"));
            assert_eq!(run(reader, &format!("cd {at} && sha256sum deep/down/large")), sum, "{writer} in {volume}");
            let seen = run(reader, &format!("cd {at} && ls && cat link && readlink link && stat -c '%a %s %Y' moved"));
            assert_eq!(seen, "deep\nlink\nmoved\none\ntwo\nmoved\n640 8 1000000000\n", "{writer} in {volume}");
            // Both write to one file, each behind the other.
            run(reader, &format!("echo three >> {at}/moved"));
            assert_eq!(run(writer, &format!("cat {at}/moved && rm -r {at}")), "one\ntwo\nthree\n");
            assert_eq!(run(reader, &format!("ls /v/{volume}")), "", "{writer} in {volume}");
        }
    }
}

fn changes_of_a_config_map_reach_both(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let cluster = Cluster::start(&husk);
    let host = husk.dir().join("host");
    std::fs::create_dir_all(host.join("inner/part")).unwrap();
    cluster.create(&both("sleep 3600", &host));
    cluster.until_ready("p");
    husk.write("changed.yaml", OBJECTS.split("---").next().unwrap().replace("blue", "green"));
    husk.husk(["apply", "--force-conflicts", "-f", "changed.yaml"]).exits(0);
    for container in ["native", "wasm"] {
        eventually("the change", || {
            let colour = husk.husk(["exec", "p", "-c", container, "--", "cat", "/v/config/colour"]).ok();
            (colour == "green").then_some(())
        });
        // What is mounted by subPath stays as it was.
        assert_eq!(husk.husk(["exec", "p", "-c", container, "--", "cat", "/etc/app/colour"]).ok(), "blue");
    }
}

fn a_program_that_is_mounted_alone_can_be_written_and_executed(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let host = husk.dir().join("host");
    let whose = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(husk.dir()).unwrap());
    std::fs::create_dir(&host).unwrap();
    for name in ["busybox", "sh"] {
        let program = host.join(name);
        std::fs::copy(super::images::BUSYBOX, &program).unwrap();
        std::os::unix::fs::chown(&program, Some(whose), Some(whose)).unwrap();
    }
    let mounts =
        "volumeMounts: [{name: file, mountPath: /p/busybox}, {name: directory, mountPath: /p/sh, subPath: sh}]";
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes:
    - {{name: file, hostPath: {{path: {host}/busybox, type: File}}}}
    - {{name: directory, hostPath: {{path: {host}}}}}
  initContainers:
    - {{name: writer, image: builtin/busybox, command: [sh, -c, 'echo x >> /p/busybox && echo x >> /p/sh'], {mounts}}}
    - {{name: holder, image: builtin/busybox, restartPolicy: Always, command: [sleep, '3600'], {mounts}}}
  containers:
    - {{name: native, image: busybox, command: [/p/busybox, sh, -c, '/p/sh -c \"echo executed\"'], {mounts}}}
  terminationGracePeriodSeconds: 0
",
        host = host.display()
    );
    husk.run(&yaml, &["--no-prefix"]).exits(0).has("executed");
    for name in ["busybox", "sh"] {
        assert!(std::fs::read(host.join(name)).unwrap().ends_with(b"x\n"), "{name}");
    }
}

fn a_token_is_read_by_the_user_whose_it_is(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let cluster = Cluster::start(&husk);
    for (name, of_pod, of_containers) in
        [("pod", "securityContext: {runAsUser: 1000}", ""), ("containers", "", "securityContext: {runAsUser: 1000}, ")]
    {
        cluster.create(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  {of_pod}
  containers:
    - {{name: native, {of_containers}image: busybox, command: [sleep, '3600']}}
    - {{name: wasm, {of_containers}image: builtin/busybox, command: [sleep, '3600']}}
"
        ));
        cluster.until_ready(name);
        let directory = "/var/run/secrets/kubernetes.io/serviceaccount";
        let read = format!("cd {directory} && cat token && echo && stat -L -c '%a %u' token && stat -L -c %a ca.crt");
        let said = cluster.exec(name, &["sh", "-c", &read]).ok();
        // An ordinary user without subordinate IDs cannot give the token away, but is the container's user too.
        let modes: &[_] = if user == User::Root { &["600"] } else { &["600", "644"] };
        assert!(said.starts_with("eyJ"), "{said}");
        assert!(modes.iter().any(|mode| said.ends_with(&format!("\n{mode} 1000\n644\n"))), "{said}");
        let path = format!("{directory}/token");
        assert!(husk.husk(["exec", name, "-c", "wasm", "--", "cat", &path]).ok().starts_with("eyJ"));
    }
}

fn users_write_to_what_their_group_has(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let host = husk.dir().join("host");
    std::fs::create_dir(&host).unwrap();
    let before = std::fs::metadata(&host).unwrap();
    let mut yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  securityContext: {{runAsUser: 1000, fsGroup: 2000}}
  volumes: [{{name: v, emptyDir: {{}}}}, {{name: host, hostPath: {{path: {}}}}}]
  containers:
",
        host.display()
    );
    for (name, image) in [("native", "busybox"), ("wasm", "builtin/busybox")] {
        let script = format!("touch /v/{name} /one/{name} && stat -c '%a' /v /one && test -d /v/sub/one");
        let mounts =
            "[{name: v, mountPath: /v}, {name: v, mountPath: /one, subPath: sub/one}, {name: host, mountPath: /h}]";
        yaml += &format!(
            "    - {{name: {name}, image: {image}, command: [sh, -c, \"{script}\"], volumeMounts: {mounts}}}\n"
        );
    }
    let ran = husk.run(&yaml, &[]).exits(0);
    for name in ["native", "wasm  "] {
        let lines = ran.stdout.lines().filter(|line| *line == format!("{name} | 2777"));
        assert_eq!(lines.count(), 2, "{ran:?}");
    }
    let after = std::fs::metadata(&host).unwrap();
    let of = |found: &std::fs::Metadata| (found.gid(), found.mode());
    assert_eq!(of(&after), of(&before), "what is the host's stays as it is");
    // Without a group, everybody may write.
    husk.run(&yaml.replace(", fsGroup: 2000", "").replace("/v /one", "/one"), &[]).exits(0).has("native | 777");
}

fn a_claim_becomes_the_next_pods_group(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let pod = |security: &str, script: &str| {
        format!(
            "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  securityContext: {{{security}}}
  volumes: [{{name: d, persistentVolumeClaim: {{claimName: data}}}}]
  containers:
    - name: c
      image: busybox
      command: [sh, -c, '{script}']
      volumeMounts: [{{name: d, mountPath: /d}}]
"
        )
    };
    let write = "mkdir -m 750 /d/sub && echo one > /d/sub/f && chmod 600 /d/sub/f && ln -s /etc/passwd /d/sub/link";
    husk.run(&pod("runAsUser: 0", write), &[]).exits(0);
    let append = "echo two >> /d/sub/f && touch /d/sub/new && cat /d/sub/f && stat -c \"%a %g\" /d/sub /d/sub/f";
    let ran = husk.run(&pod("runAsUser: 1000, fsGroup: 2000", append), &["--no-prefix"]).exits(0);
    // An ordinary user without subordinate IDs has no such group, but is the container's user both times.
    let (given, kept) = ("one\ntwo\n2770 2000\n660 2000\n", "one\ntwo\n750 0\n600 0\n");
    assert!(ran.stdout == given || user == User::Ordinary && ran.stdout == kept, "{ran:?}");
}

/// Each is refused to a container of each kind, with the same words.
fn mounts_that_cannot_be_are_refused_alike(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let host = husk.dir().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("file"), "").unwrap();
    for (target, link) in [("/etc", "link"), ("/", "whole"), ("../..", "up")] {
        std::os::unix::fs::symlink(target, host.join(link)).unwrap();
    }
    let outside = "path leads outside of the volume";
    let cases = [
        (
            "root",
            "mountPath: /",
            "volume \"v\" cannot be mounted at \"/\": a container's root filesystem is its image's",
        ),
        ("link", "mountPath: /m, subPath: link", outside),
        ("whole", "mountPath: /m, subPath: whole", outside),
        ("up", "mountPath: /m, subPath: up/etc", outside),
        ("file", "mountPath: /m, subPath: file/x", "not a directory"),
    ];
    let mut yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes: [{{name: v, hostPath: {{path: {}}}}}]
  containers:
",
        host.display()
    );
    let kinds = [("native", "busybox"), ("wasm", "builtin/busybox")];
    for (case, mount, _) in cases {
        for (kind, image) in kinds {
            yaml += &format!(
                "    - {{name: {case}-{kind}, image: {image}, command: ['true'], volumeMounts: [{{name: v, {mount}}}]}}\n"
            );
        }
    }
    let cluster = Cluster::start(&husk);
    cluster.create(&yaml);
    for (case, _, expected) in cases {
        for (kind, _) in kinds {
            let name = format!("{case}-{kind}");
            let why = format!("refused: {expected}");
            cluster.until_container("p", &name, &why, |status| {
                let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
                waiting.is_some_and(|waiting| {
                    waiting.reason.as_deref() == Some("CreateContainerConfigError")
                        && waiting.message.as_ref().is_some_and(|message| message.ends_with(expected))
                })
            });
        }
    }
    assert_eq!(std::fs::read_dir(&host).unwrap().count(), 4, "nothing was made");
}

fn places_of_mounts_are_taken_as_they_are_written(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::Busybox]) else { return };
    let mut yaml = format!(
        "{OBJECTS}apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes: [{{name: v, configMap: {{name: settings}}}}]
  containers:
"
    );
    for (name, image) in [("native", "busybox"), ("wasm", "builtin/busybox")] {
        let mounts = "[{name: v, mountPath: /tmp/../../x}, {name: v, mountPath: /etc//./hosts, subPath: shape}]";
        let script = "cat /x/colour; echo; cat /etc/hosts; echo";
        yaml += &format!(
            "    - {{name: {name}, image: {image}, command: [sh, -c, \"{script}\"], volumeMounts: {mounts}}}\n"
        );
    }
    let ran = husk.run(&yaml, &[]).exits(0);
    ran.has("native | blue").has("wasm   | blue").has("native | round").has("wasm   | round");
}
