//! Before anything runs: loads manifests, fills the store, and refuses what could not work, all problems at once.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::{Container as ContainerSpec, EnvVar, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::cluster::PodKey;
use super::console::Console;
use super::images;
use super::local;
use super::manifests::{self, Input};
use super::paths::Paths;
use super::resume::{self, Leftovers, Resumed};
use super::services;
use super::show::Names;
use crate::api::support::RuntimeKind;
use crate::api::{self, LoadOptions, Object};
use crate::base::clock::Timestamp;
use crate::base::id::PodUid;
use crate::cli::Global;
use crate::cli::run::{PublishSpec, RunArgs};
use crate::controller::stamp;
use crate::image::{ImageError, ImageStore, PlatformChoice};
use crate::node::{Publish, RuntimeClassError, forced_runtime, host_ports, platform};
use crate::pod::PodSnapshot;
use crate::store::{self, Store};

/// A run that is ready to start.
pub(super) struct Session {
    pub(super) args: RunArgs,
    /// The shorthand: one program, printed as if it ran without husk.
    pub(super) program: bool,
    pub(super) paths: Paths,
    pub(super) host: Host,
    pub(super) images: Arc<ImageStore>,
    pub(super) store: Store,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) publish: BTreeMap<PodKey, Vec<Publish>>,
    pub(super) warnings: Vec<String>,
    /// With `--resume`, what killed husks have left.
    pub(super) leftovers: Option<Leftovers>,
    /// How the pods were left that are gone on with.
    pub(super) snapshots: BTreeMap<PodKey, PodSnapshot>,
    /// With `--resume`, what becomes of each pod.
    pub(super) resumptions: Vec<String>,
    /// Whether standard input is free for a container.
    stdin_free: bool,
}

/// What pods may learn of the machine.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) cpus: usize,
    pub(super) memory_bytes: u64,
    pub(super) resolv_conf: String,
    pub(super) hosts: String,
}

impl Host {
    pub(super) fn detect() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            name: host_name(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: host_memory(),
            resolv_conf: read("/etc/resolv.conf"),
            hosts: read("/etc/hosts"),
        }
    }
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "localhost".to_owned()).to_lowercase()
}

#[cfg(target_os = "linux")]
fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

/// Where the system does not tell, resource fields show this much.
#[cfg(not(target_os = "linux"))]
fn host_memory() -> u64 {
    4 << 30
}

impl Session {
    /// Loads and checks everything the command line names.
    pub(super) fn prepare(global: &Global, args: RunArgs) -> anyhow::Result<Self> {
        let paths = Paths::new(global)?;
        let images = images::open(global, &paths)?;
        let input = if args.image.is_some() { None } else { Some(manifests::read(&args.files)?) };
        let mut session = Self {
            program: matches!(input, Some(Input::Program(_))),
            stdin_free: args.files.iter().all(|file| file.as_os_str() != "-"),
            args,
            paths,
            host: Host::detect(),
            images,
            store: Store::default(),
            pods: Vec::new(),
            publish: BTreeMap::new(),
            warnings: Vec::new(),
            leftovers: None,
            snapshots: BTreeMap::new(),
            resumptions: Vec::new(),
        };
        match input {
            Some(Input::Manifests(texts)) => session.load(&texts)?,
            Some(Input::Program(file)) => session.add_program(&file)?,
            None => session.add_image()?,
        }
        if session.args.resume {
            session.resume()?;
        }
        session.check_images()?;
        session.check_directories()?;
        session.assign_ports()?;
        Ok(session)
    }

    fn load(&mut self, texts: &[(String, String)]) -> anyhow::Result<()> {
        if !self.args.args.is_empty() || !self.args.env.is_empty() {
            bail!(
                "arguments after -- and --env are for a .wasm program: containers have `args` and `env` in their manifest"
            );
        }
        let mut objects = Vec::new();
        let mut errors = Vec::new();
        let mut name_suffix = random_name_suffix;
        let store = Arc::clone(&self.images);
        let runtime = move |image: &str| images::runtime_of(&store, image);
        for (source, text) in texts {
            let mut options =
                LoadOptions { namespace: &self.args.namespace, runtime: &runtime, name_suffix: &mut name_suffix };
            match api::load(source, text, &mut options) {
                Ok(loaded) => objects.extend(loaded),
                Err(found) => errors.extend(found.0),
            }
        }
        errors.extend(api::find_duplicates(&objects));
        let mut services = services::Creator::new(self.store.clone())?;
        errors.extend(services.assign_all(&mut objects));
        if !errors.is_empty() {
            bail!("{}", told(&errors));
        }
        let lonely = services::without_pods(&objects);
        for loaded in objects {
            self.warnings.extend(loaded.warning_lines());
            self.add(loaded.object, &services)?;
        }
        self.warnings.extend(lonely);
        if self.pods.is_empty() {
            bail!(
                "no Pod in {}",
                self.args.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
            );
        }
        Ok(())
    }

    fn add(&mut self, object: Object, services: &services::Creator) -> anyhow::Result<()> {
        if let Some(namespace) = &object.metadata().namespace {
            local::system::ensure_namespace(&self.store, namespace, Timestamp::now())?;
        }
        match object {
            Object::Pod(pod) => self.add_pod(*pod)?,
            Object::ConfigMap(object) => self.put(object)?,
            Object::Secret(object) => self.put(object)?,
            Object::PersistentVolumeClaim(object) => self.put(*object)?,
            Object::Service(object) => drop(services.create(*object)?),
            Object::Endpoints(object) => self.put(object)?,
            Object::EndpointSlice(object) => self.put(object)?,
            Object::ServiceAccount(object) => self.put(object)?,
            Object::Namespace(object) => local::system::put_namespace(&self.store, object, Timestamp::now())?,
            Object::Node(object) => self.put(*object)?,
            Object::Event(object) => self.put(*object)?,
            Object::Lease(object) => self.put(object)?,
            Object::RuntimeClass(object) => self.put(object)?,
            Object::PriorityClass(object) => self.put(object)?,
        }
        Ok(())
    }

    fn put<T: store::Object>(&self, mut object: T) -> anyhow::Result<()> {
        stamp(object.metadata_mut(), Timestamp::now());
        self.store.create(object)?;
        Ok(())
    }

    /// What the API server and the scheduler add to a pod that is created.
    fn add_pod(&mut self, mut pod: Pod) -> anyhow::Result<()> {
        pod.metadata.uid = Some(PodUid::random().to_string());
        pod.metadata.creation_timestamp = Some(Time(Timestamp::now()));
        pod.metadata.generation = Some(1);
        pod.status = None;
        if let Some(spec) = &mut pod.spec {
            spec.node_name = Some(local::name_of_machine(&self.host.name));
        }
        self.pods.push(self.store.create(pod)?);
        Ok(())
    }

    /// `husk run NAME --image IMAGE -- ARGS`: the pod that `kubectl run` makes, but that it is not started again.
    fn add_image(&mut self) -> anyhow::Result<()> {
        let [name] = &self.args.files[..] else { bail!("with --image, one argument names the pod") };
        let name = name.to_str().context("the pod's name is not text")?;
        let image = self.args.image.as_deref().unwrap_or_default();
        let words = if self.args.command { "command" } else { "args" };
        let mut container = json!({"name": name, "image": image, "stdin": self.args.stdin, "tty": self.args.tty});
        if !self.args.args.is_empty() {
            container[words] = json!(self.args.args);
        }
        container["env"] = serde_json::to_value(self.variables()?)?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"run": name}},
            "spec": {"containers": [container], "restartPolicy": self.args.restart.policy()},
        });
        let mut name_suffix = random_name_suffix;
        let store = Arc::clone(&self.images);
        let runtime = move |image: &str| images::runtime_of(&store, image);
        let mut options =
            LoadOptions { namespace: &self.args.namespace, runtime: &runtime, name_suffix: &mut name_suffix };
        // As what is written in a manifest, it is checked.
        let loaded = api::load("--image", &pod.to_string(), &mut options);
        let loaded = loaded.map_err(|errors| anyhow!("{}", told(&errors.0)))?;
        let services = services::Creator::new(self.store.clone())?;
        loaded.into_iter().try_for_each(|loaded| self.add(loaded.object, &services))
    }

    /// What `--env` says.
    fn variables(&self) -> anyhow::Result<Vec<EnvVar>> {
        let variables = self.args.env.iter().map(|variable| {
            let (name, value) =
                variable.split_once('=').with_context(|| format!("--env {variable}: write NAME=VALUE"))?;
            Ok(EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None })
        });
        variables.collect()
    }

    /// `husk run app.wasm -- args`: the pod people would write for it.
    fn add_program(&mut self, file: &Path) -> anyhow::Result<()> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let label: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
        let label = label.trim_matches('-');
        let name = if label.is_empty() { "program" } else { label };
        let image = format!("localhost/{name}:latest");
        self.images.add_transient(&image, file)?;
        let container = ContainerSpec {
            name: name.to_owned(),
            image: Some(image),
            args: Some(self.args.args.clone()),
            env: Some(self.variables()?),
            stdin: Some(true),
            ..ContainerSpec::default()
        };
        let spec = PodSpec {
            containers: vec![container],
            restart_policy: Some("Never".to_owned()),
            enable_service_links: Some(false),
            ..PodSpec::default()
        };
        let namespace = Some(self.args.namespace.clone());
        let metadata = ObjectMeta { name: Some(name.to_owned()), namespace, ..ObjectMeta::default() };
        let mut pod = Pod { metadata, spec: Some(spec), status: None };
        api::defaults::default_pod(&mut pod);
        self.add_pod(pod)
    }

    /// Puts pods that a killed husk has left in the place of new ones.
    fn resume(&mut self) -> anyhow::Result<()> {
        ensure!(!self.program, "--resume is for manifests: run the program again");
        let (leftovers, problems) = Leftovers::find(&self.paths.pods);
        self.warnings.extend(problems);
        let (names, mut errors) = (Names::new(&self.pods), Vec::new());
        for pod in &mut self.pods {
            let key = PodKey::of(pod);
            let left = leftovers.resume(pod).unwrap_or_else(|error| {
                errors.push(error.to_string());
                None
            });
            let name = names.pod(&key.namespace, &key.name);
            self.resumptions.push(format!("{name}: {}", resume::notice(left.as_ref())));
            let Some(Resumed { pod: mut left, snapshot }) = left else { continue };
            if let Some(spec) = &mut left.spec {
                // Whatever the machine was called then.
                spec.node_name = Some(local::name_of_machine(&self.host.name));
            }
            *pod = self.store.update(&key.namespace, &key.name, |stored| *stored = left)?;
            self.snapshots.extend(snapshot.map(|snapshot| (key, snapshot)));
        }
        ensure!(errors.is_empty(), "{}\n{}", errors.join("\nerror: "), resume::CANNOT_CHANGE);
        self.leftovers = Some(leftovers);
        Ok(())
    }

    /// Images that cannot be had would keep their pods waiting for ever. Those that are missing are pulled now, where
    /// somebody sees it; pods that bring credentials pull by themselves.
    fn check_images(&self) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        let mut missing: Vec<(&str, PlatformChoice, String)> = Vec::new();
        for pod in &self.pods {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let platform = match self.forced_runtime(pod) {
                Ok(forced) => platform(forced),
                Err(error) => {
                    problems.push(format!("pod {name}: {error}"));
                    continue;
                }
            };
            let spec = pod.spec.iter();
            let has_credentials = spec.clone().any(|spec| spec.image_pull_secrets.iter().flatten().next().is_some());
            for container in spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers)) {
                let image = container.image.as_deref().unwrap_or_default();
                let place = format!("pod {name}, container {}", container.name);
                let may_pull = container.image_pull_policy.as_deref() != Some("Never");
                match self.images.resolve_for(image, platform) {
                    Err(ImageError::NotFound(_)) if may_pull && has_credentials => {}
                    Err(ImageError::NotFound(_)) if may_pull => {
                        if missing.iter().all(|known| (known.0, known.1) != (image, platform)) {
                            missing.push((image, platform, place));
                        }
                    }
                    Err(error) => problems.push(format!("{place}: {error}")),
                    Ok(_) => {}
                }
            }
        }
        if problems.is_empty() && !missing.is_empty() {
            let wanted = missing.iter().map(|(image, platform, _)| (*image, *platform));
            let pulled = images::pull_each(&self.images, wanted, self.args.quiet)?;
            let failed = missing.iter().zip(pulled).filter_map(|((.., place), pulled)| Some((place, pulled.err()?)));
            problems.extend(failed.map(|(place, error)| format!("{place}: {error}")));
        }
        if problems.is_empty() {
            return Ok(());
        }
        bail!("{}\n`husk image ls` shows what there is, `husk image import` adds a program", problems.join("\nerror: "))
    }

    /// The runtime that a pod's RuntimeClass asks for.
    fn forced_runtime(&self, pod: &Pod) -> Result<Option<RuntimeKind>, RuntimeClassError> {
        forced_runtime(|name| self.store.get("", name), pod)
    }

    /// Whether a pod has native containers.
    #[cfg(target_os = "linux")]
    pub(super) fn has_native(&self) -> bool {
        let containers = |pod: &Arc<Pod>| {
            let spec = pod.spec.clone().unwrap_or_default();
            spec.init_containers.into_iter().flatten().chain(spec.containers)
        };
        // What is not here yet may be native.
        let is_wasm = |container: ContainerSpec| {
            let image = container.image.unwrap_or_default();
            images::runtime_of(&self.images, &image) == Some(RuntimeKind::Wasm)
        };
        self.pods.iter().any(|pod| match self.forced_runtime(pod) {
            Ok(Some(runtime)) => runtime == RuntimeKind::Linux,
            Ok(None) | Err(_) => !containers(pod).all(is_wasm),
        })
    }

    /// Without a place for volumes no pod can start; without one for compiled code they start slowly.
    fn check_directories(&mut self) -> anyhow::Result<()> {
        let Paths { pods, cache, .. } = &self.paths;
        std::fs::create_dir_all(pods).with_context(|| cannot_keep_files(&self.paths))?;
        if let Err(error) = std::fs::create_dir_all(cache) {
            let consequence = "programs will be compiled each time they start (choose another --cache-dir)";
            self.warnings.push(format!("cannot keep compiled code in {}: {error}: {consequence}", cache.display()));
        }
        Ok(())
    }

    /// Finds the pod of each `-p`, and makes sure that the host's port is free before anything starts.
    fn assign_ports(&mut self) -> anyhow::Result<()> {
        for spec in &self.args.publish {
            let PublishSpec { host, pod, port, udp } = spec;
            let key = match (pod, &self.pods[..]) {
                (None, [only]) => PodKey::of(only),
                (None, _) => bail!("-p {host}:{port}: there are several pods: name one as {}:POD:{port}", host.port()),
                (Some(name), pods) => {
                    let found = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name));
                    PodKey::of(found.with_context(|| format!("-p {host}:{name}:{port}: no pod is called {name:?}"))?)
                }
            };
            let found = find_free(*host, *udp).with_context(|| format!("cannot publish port {port} on {host}"))?;
            let taken = self.publish.values().flatten().any(|other| (other.host, other.udp) == (found, *udp));
            ensure!(!taken, "cannot publish port {port} on {host}: another -p has this address");
            self.publish.entry(key).or_default().push(Publish { host: found, port: *port, udp: *udp });
        }
        self.check_host_ports()
    }

    /// A `hostPort` that is taken would keep its pod waiting until whoever has it leaves.
    fn check_host_ports(&self) -> anyhow::Result<()> {
        let mut taken: Vec<_> = self.publish.values().flatten().map(|port| (port.host, port.udp)).collect();
        for pod in &self.pods {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            for Publish { host, port, udp } in host_ports(pod) {
                find_free(host, udp).with_context(|| format!("pod {name}: cannot publish port {port} on {host}"))?;
                let twice = taken.contains(&(host, udp));
                ensure!(!twice, "pod {name}: cannot publish port {port} on {host}: another port of this run is there");
                taken.push((host, udp));
            }
        }
        Ok(())
    }

    /// Who gets standard input, and the terminal.
    pub(super) fn console(&self) -> Console {
        Console::new(&self.pods, self.stdin_free)
    }
}

/// Errors, a line each.
fn told(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: ")
}

/// What is said when there is no place for volumes.
pub(super) fn cannot_keep_files(paths: &Paths) -> String {
    format!("cannot keep pods' files in {}: choose another --data-dir", paths.data.display())
}

/// The random end of a `generateName`.
fn random_name_suffix() -> String {
    let letters = api::defaults::NAME_SUFFIX_CHARACTERS.as_bytes();
    let random = uuid::Uuid::new_v4().into_bytes();
    let suffix = random.iter().take(api::defaults::NAME_SUFFIX_LENGTH);
    suffix.map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect()
}

/// The address itself if nobody has it; for port 0, the address with a free port.
fn find_free(addr: SocketAddr, udp: bool) -> std::io::Result<SocketAddr> {
    if udp { UdpSocket::bind(addr)?.local_addr() } else { TcpListener::bind(addr)?.local_addr() }
}
