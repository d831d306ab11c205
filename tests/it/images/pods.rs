//! Images of pods: policies, what is said of failures, by events and statuses, and that secrets are in none of it. With a
//! real registry behind TLS that wants a password.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStateWaiting, Event, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;

use super::registry::{TestRegistry, Wanted};
use crate::support::{Husk, guest_file};

/// How long something may take that must come.
const LIMIT: Duration = Duration::from_secs(120);
/// What the password is, and what it is not.
const RIGHT: &str = "correct-horse";
const WRONG: &str = "wrong-horse-battery";

/// A server whose user says what there is to say about a registry.
struct Scene<'h> {
    husk: &'h Husk,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
}

impl<'h> Scene<'h> {
    fn start(husk: &'h Husk, registry: &TestRegistry) -> Self {
        let text = format!("[[registry]]\nlocation = \"{}\"\nca = \"{}\"\n", registry.address, registry.ca().display());
        husk.write("registries.toml", text);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome: crate::support::Outcome =
            configured(husk, &["serve", "--detach", "--port", "0"]).output().unwrap().into();
        let config = Kubeconfig::read_from(outcome.ok().trim_end()).unwrap();
        let client = runtime.block_on(async {
            let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
            kube::Client::try_from(config).unwrap()
        });
        Self { husk, runtime, client }
    }

    fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    fn secret(&self, name: &str, registry: &str, password: &str) {
        let config = serde_json::json!({ "auths": { registry: { "username": "husk", "password": password } } });
        let secret = serde_json::json!({
            "metadata": { "name": name }, "type": "kubernetes.io/dockerconfigjson",
            "stringData": { ".dockerconfigjson": config.to_string() },
        });
        let secret: Secret = serde_json::from_value(secret).unwrap();
        let api: Api<Secret> = Api::default_namespaced(self.client.clone());
        self.runtime.block_on(api.create(&PostParams::default(), &secret)).unwrap();
    }

    /// Creates a pod that runs an image once.
    fn create(&self, name: &str, image: &str, policy: &str, secrets: &[&str]) {
        let secrets: Vec<_> = secrets.iter().map(|name| serde_json::json!({ "name": name })).collect();
        let pod = serde_json::json!({
            "metadata": { "name": name },
            "spec": {
                "restartPolicy": "Never", "imagePullSecrets": secrets,
                "containers": [{ "name": "c", "image": image, "imagePullPolicy": policy }],
            },
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.runtime.block_on(self.pods().create(&PostParams::default(), &pod)).unwrap();
    }

    #[track_caller]
    fn until(&self, name: &str, what: &str, is_so: impl Fn(&Pod) -> bool) -> Pod {
        let is_so = |pod: Option<&Pod>| pod.is_some_and(&is_so);
        let reached = self
            .runtime
            .block_on(async { tokio::time::timeout(LIMIT, await_condition(self.pods(), name, is_so)).await });
        match reached {
            Ok(Ok(Some(pod))) => pod,
            _ => panic!("{name} is never {what}: {:#?}", self.runtime.block_on(self.pods().get_opt(name))),
        }
    }

    /// Creates a pod that is to end well, and gives its events.
    #[track_caller]
    fn runs(&self, name: &str, image: &str, policy: &str, secrets: &[&str]) -> Vec<(String, String)> {
        self.create(name, image, policy, secrets);
        let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        self.until(name, "Succeeded", |pod| phase(pod) == "Succeeded");
        self.events(name)
    }

    /// Creates a pod that waits for these reasons, one after the other; the messages it gives.
    #[track_caller]
    fn waits<const N: usize>(
        &self,
        name: &str,
        image: &str,
        policy: &str,
        secrets: &[&str],
        reasons: [&str; N],
    ) -> [String; N] {
        self.create(name, image, policy, secrets);
        reasons.map(|reason| {
            let pod = self
                .until(name, reason, |pod| waiting(pod).is_some_and(|found| found.reason.as_deref() == Some(reason)));
            waiting(&pod).unwrap().message.clone().unwrap_or_default()
        })
    }

    /// Reasons and messages of a pod's events.
    fn events(&self, name: &str) -> Vec<(String, String)> {
        let api: Api<Event> = Api::default_namespaced(self.client.clone());
        let params = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events = self.runtime.block_on(api.list(&params)).unwrap();
        events.into_iter().map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default())).collect()
    }

    /// Everything that anybody could read.
    fn all_that_is_said(&self) -> String {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let pods = self.runtime.block_on(self.pods().list(&ListParams::default())).unwrap();
        let events = self.runtime.block_on(events.list(&ListParams::default())).unwrap();
        let log = std::fs::read_to_string(self.husk.dir().join("data/server/log")).unwrap_or_default();
        format!("{}{}{log}", serde_json::to_string(&pods).unwrap(), serde_json::to_string(&events).unwrap())
    }

    fn delete(&self, name: &str) {
        self.runtime.block_on(self.pods().delete(name, &DeleteParams::default())).unwrap();
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.husk.husk(["stop", "--timeout", "10s"]);
    }
}

/// A command of a user without any credentials of their own.
fn configured(husk: &Husk, args: &[&str]) -> std::process::Command {
    let mut command = husk.command(args);
    command.env("HUSK_REGISTRIES", husk.dir().join("registries.toml")).env("HOME", husk.dir());
    for variable in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    command
}

/// Gives a registry an image that says `text`.
fn publish(husk: &Husk, image: &str, text: &str) {
    let login =
        serde_json::json!({ "auths": { image.split('/').next().unwrap(): { "username": "husk", "password": RIGHT } } });
    husk.write("login/config.json", login.to_string());
    let program = std::fs::read(guest_file("p1", "print")).unwrap();
    husk.write("context/print.wasm", program);
    husk.write(
        "context/Dockerfile",
        format!("FROM scratch\nCOPY print.wasm /\nENTRYPOINT [\"/print.wasm\", \"{text}\"]\n"),
    );
    let context = husk.dir().join("context").display().to_string();
    let done = |args: &[&str]| {
        let output = configured(husk, args).env("DOCKER_CONFIG", husk.dir().join("login")).output().unwrap();
        crate::support::Outcome::from(output).exits(0);
    };
    done(&["image", "build", "-t", "local/print", &context]);
    done(&["image", "push", "-q", "local/print", image]);
    done(&["image", "rm", "local/print"]);
}

fn waiting(pod: &Pod) -> Option<&ContainerStateWaiting> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()?.waiting.as_ref()
}

#[track_caller]
fn has(events: &[(String, String)], reason: &str, message: &str) {
    let found = events.iter().any(|(found, said)| found == reason && said.contains(message));
    assert!(found, "no {reason} {message:?} in {events:#?}");
}

#[test]
fn policies_credentials_and_failures_are_kubernetes() {
    let Some(mut registry) = TestRegistry::start(Wanted { tls: true, password: true }) else { return };
    let husk = Husk::new();
    let scene = Scene::start(&husk, &registry);
    let address = registry.address.clone();
    let image = format!("{address}/team/app:1");
    publish(&husk, &image, "one");
    scene.secret("right", &address, RIGHT);
    scene.secret("wrong", &address, WRONG);

    // Who has no credentials, or wrong ones, is told which registry has refused.
    for (name, secrets, said) in [
        ("anonymous", &[][..], "it wants credentials, and there are none"),
        ("intruder", &["wrong"], "the credentials were refused"),
    ] {
        let [first, then] = scene.waits(name, &image, "IfNotPresent", secrets, ["ErrImagePull", "ImagePullBackOff"]);
        let cause = format!("failed to pull image \"{image}\": registry {address}: {said}");
        assert!(first.starts_with(&cause), "{first}");
        assert!(then.starts_with(&format!("Back-off pulling image \"{image}\": ErrImagePull: {cause}")), "{then}");
        let events = scene.events(name);
        has(&events, "Pulling", &format!("Pulling image \"{image}\""));
        has(&events, "Failed", &format!("Failed to pull image \"{image}\": {cause}"));
        has(&events, "Failed", "Error: ErrImagePull");
        has(&events, "BackOff", &format!("Back-off pulling image \"{image}\""));
        has(&events, "Failed", "Error: ImagePullBackOff");
        scene.delete(name);
    }

    // Of several Secrets all are tried, and one that is missing is told.
    let events = scene.runs("pulls", &image, "IfNotPresent", &["none", "wrong", "right"]);
    has(&events, "FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (none); attempting");
    has(&events, "Pulled", &format!("Successfully pulled image \"{image}\" in "));
    has(&events, "Pulled", " bytes.");

    // What is there is not asked for again, but under the policy Always.
    publish(&husk, &image, "two");
    let logs = |name: &str| scene.runtime.block_on(scene.pods().logs(name, &Default::default())).unwrap();
    for policy in ["IfNotPresent", "Never"] {
        let name = format!("present-{}", policy.to_lowercase());
        let events = scene.runs(&name, &image, policy, &[]);
        has(&events, "Pulled", &format!("Container image \"{image}\" already present on machine"));
        assert!(logs(&name).contains("arg[1] one"));
    }
    let events = scene.runs("always", &image, "Always", &["right"]);
    has(&events, "Pulled", &format!("Successfully pulled image \"{image}\" in "));
    assert!(logs("always").contains("arg[1] two"));

    let absent = format!("{address}/team/app:9");
    let [never] = scene.waits("never", &absent, "Never", &[], ["ErrImageNeverPull"]);
    let message = format!("Container image \"{absent}\" is not present with pull policy of Never");
    assert_eq!(never, message);
    has(&scene.events("never"), "ErrImageNeverPull", &message);
    has(&scene.events("never"), "Failed", "Error: ErrImageNeverPull");
    let [missing] = scene.waits("missing", &absent, "Always", &["right"], ["ErrImagePull"]);
    assert!(missing.contains(&format!("registry {address}: manifest 9 of repository")), "{missing}");
    let [invalid] = scene.waits("invalid", "UPPER", "Always", &[], ["InvalidImageName"]);
    let message = "Failed to apply default image tag \"UPPER\": invalid reference format";
    assert!(invalid.starts_with(message), "{invalid}");
    has(&scene.events("invalid"), "InspectFailed", message);
    has(&scene.events("invalid"), "Failed", "Error: InvalidImageName");

    // Without the registry, what is there still runs, but not under Always.
    registry.stop();
    scene.runs("offline", &image, "IfNotPresent", &[]);
    let reasons = ["RegistryUnavailable", "ImagePullBackOff"];
    let [gone, then] = scene.waits("gone", &image, "Always", &["right"], reasons);
    let message = format!("image pull failed for {image} because the registry is unavailable");
    assert!(gone.starts_with(&message) && gone.contains("cannot connect"), "{gone}");
    assert!(then.contains(&format!("RegistryUnavailable: {message}")), "{then}");

    let said = scene.all_that_is_said();
    for secret in [RIGHT, WRONG, "aHVzazp"] {
        assert!(!said.contains(secret), "{secret} is in what anybody can read");
    }
}
