//! What husk reads, and how it refuses.

use crate::support::{Husk, pod};

#[test]
fn unknown_and_duplicate_fields_are_named_with_their_place_and_nothing_runs() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  colour: red
  containers:
    - name: c
      image: busybox
      comand: [echo, hello]
      image: nginx
";
    let outcome = husk
        .run(yaml, &[])
        .exits(2)
        .says(r#"unknown field "spec.colour""#)
        .says(r#"unknown field "spec.containers[0].comand""#)
        .says("image")
        .says("pod.yaml:6");
    assert!(outcome.stderr.contains("duplicate") || outcome.stderr.contains("already set"), "{outcome:?}");
    assert_eq!(outcome.stdout, "");
}

#[test]
fn all_validation_errors_come_at_once_in_kubernetes_words() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: Not_A_Name}
spec:
  restartPolicy: Sometimes
  containers:
    - name: a
      image: busybox
      ports: [{containerPort: 70000}]
    - name: a
      image: busybox
      volumeMounts: [{name: x, mountPath: /x}]
";
    husk.run(yaml, &[])
        .exits(2)
        .says("metadata.name: Invalid value: \"Not_A_Name\"")
        .says("spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"")
        .says("spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive")
        .says("spec.containers[1].name: Duplicate value: \"a\"")
        .says("spec.containers[1].volumeMounts[0].name: Not found: \"x\"")
        .says("pod.yaml:");
}

#[test]
fn what_wasm_cannot_honour_is_refused_and_what_is_ignored_is_warned_of() {
    let husk = Husk::new();
    husk.run(&pod("busybox", &["true"], "securityContext: {privileged: true}"), &[])
        .exits(2)
        .says("spec.containers[0].securityContext.privileged");
    let yaml = pod("busybox", &["true"], "command: [echo]\nsecurityContext: {runAsUser: 1000}");
    let yaml = format!("{yaml}  nodeSelector: {{disk: ssd}}\n");
    husk.run(&yaml, &[]).exits(0).says("warning: ").says("runAsUser").says("nodeSelector");
}

#[test]
fn several_documents_files_and_folders_are_understood_together() {
    let husk = Husk::new();
    husk.write("all/1-config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {GREETING: hi}\n");
    husk.write(
        "all/2-pods.yml",
        "apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [echo, $(GREETING) one], envFrom: [{configMapRef: {name: cm}}]}]
---
---
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [echo, $(GREETING) two], envFrom: [{configMapRef: {name: cm}}]}]
",
    );
    husk.write(
        "three.json",
        r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "three"},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox", "command": ["echo", "three"]}]}}]}"#,
    );
    husk.husk(["run", "--no-prefix", "all", "three.json"]).exits(0).has("hi one").has("hi two").has("three");
}

#[test]
fn manifests_come_from_standard_input_too() {
    let husk = Husk::new();
    let mut command = husk.command(["run", "--no-prefix", "-"]);
    let file = husk.write("in.yaml", pod("busybox", &["echo", "from stdin"], "").replace("args:", "command:"));
    command.stdin(std::fs::File::open(file).unwrap());
    crate::support::Outcome::from(command.output().unwrap()).exits(0).has("from stdin");
}

#[test]
fn every_kind_of_object_is_accepted() {
    let husk = Husk::new();
    let yaml = format!(
        "{}---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: db}}
subsets: [{{addresses: [{{ip: 192.0.2.1}}], ports: [{{port: 5432}}]}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: cache-1, labels: {{kubernetes.io/service-name: cache}}}}
addressType: IPv4
endpoints: [{{addresses: [192.0.2.1]}}]
ports: [{{port: 6379}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: robot}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: default}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
",
        pod("busybox", &["echo", "ok"], "").replace("args:", "command:")
    );
    let outcome = husk.run(&yaml, &["--no-prefix"]).exits(0).has("ok");
    outcome.says("spec.selector: no pod of this run has these labels");
}

#[test]
fn bad_input_names_the_thing_and_the_remedy() {
    let husk = Husk::new();
    husk.husk(["run", "no/such/file.yaml"]).exits(2).says("cannot read no/such/file.yaml");
    husk.write("config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n");
    husk.husk(["run", "config.yaml"]).exits(2).says("no Pod in config.yaml");
    husk.write("broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: [\n");
    husk.husk(["run", "broken.yaml"]).exits(2).says("broken.yaml:");
    husk.write("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {}\n");
    husk.husk(["run", "deployment.yaml"]).exits(2).says("Deployment").says("Pod");
    let twice = pod("busybox", &["true"], "");
    husk.write("twice.yaml", format!("{twice}---\n{twice}"));
    husk.husk(["run", "twice.yaml"]).exits(2).says("Pod \"p\" is already defined at twice.yaml:");
    let bomb: String = (0..40).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
    husk.write("bomb.yaml", bomb.replacen("*a-1,", "x,", 9));
    husk.husk(["run", "bomb.yaml"]).exits(2).says("bomb.yaml");
    husk.husk(["run", "--timeout", "soon", "config.yaml"]).exits(2).says("--timeout");
    husk.husk(["run"]).exits(2);
}

#[test]
fn the_namespace_of_objects_that_name_none_can_be_chosen() {
    let husk = Husk::new();
    let yaml = pod("test/p1/print", &[], "env: [{name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]");
    husk.run(&yaml, &["--no-prefix", "-n", "team"]).exits(0).has("env NS=team");
    husk.run(&yaml, &["--no-prefix"]).exits(0).has("env NS=default");
}

/// A manifest as people write it.
fn manifest(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifests").join(format!("{name}.yaml"))
}

#[test]
fn manifest_08_waits_for_its_services() {
    let husk = Husk::new();
    let file = manifest("08-init-containers");
    let run = |files: &[std::path::PathBuf], limit: &str| {
        let mut command = husk.command(["run", "--timeout", limit]);
        crate::support::Outcome::from(command.args(files).output().unwrap())
    };
    let first = run(&[file.clone(), manifest("08a-myservice")], "4s").exits(124).says("Init:1/2");
    first.has("init-mydb       | waiting for mydb");
    let both = [file, manifest("08a-myservice"), manifest("08b-mydb")];
    let outcome = run(&both, "10s").exits(124).says("myapp-pod/init-mydb: Container exited with code 0");
    outcome.has("myapp-container | The app is running!");
}

#[test]
fn manifests_that_cannot_be_honoured_are_refused_with_the_reason() {
    let husk = Husk::new();
    let run = |name: &str| husk.husk(["run".as_ref(), manifest(name).as_os_str()]).exits(2);
    run("10-strict-error")
        .says(r#"unknown field "spec.containers[0].livenessProbe.exec.initialDelaySeconds""#)
        .says(r#"unknown field "spec.containers[0].livenessProbe.exec.periodSeconds""#);
    run("17-privileged").says("securityContext.privileged");
}
