//! Volumes and files that containers of both kinds share: what one sees, the other sees.

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
