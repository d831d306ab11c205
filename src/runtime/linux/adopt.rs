//! Taking up the containers that an earlier agent has left, with what they have printed since.

use std::sync::{Arc, Mutex};

use super::container::{LinuxContainer, Shared, Streams, Template};
use super::protocol::Listed;
use super::sandbox::{Sandbox, SandboxError};
use super::{AdoptedContainer, LinuxRuntime};
use crate::base::id::ContainerId;
use crate::base::pipe::{self, DEFAULT_CAPACITY};
use crate::runtime::PodSandbox;

impl LinuxRuntime {
    /// The pod's containers that are still there. A sandbox that cannot be understood is ended.
    pub(super) async fn adopt_pod(&self, pod: &PodSandbox) -> Vec<AdoptedContainer> {
        let Some(linux) = pod.linux.as_ref().filter(|linux| linux.adoptable) else { return Vec::new() };
        if self.existing_sandbox(&pod.uid).is_some() {
            return Vec::new();
        }
        let Ok(sandbox) = Sandbox::adopt(pod.uid.clone(), linux).await else { return Vec::new() };
        let taken_up = self.take_up(pod, &sandbox).await;
        match taken_up {
            Ok(adopted) => adopted,
            Err(error) => {
                tracing::warn!(pod = %pod.uid, %error, "the pod's sandbox cannot be taken up, and is ended");
                sandbox.kill();
                Vec::new()
            }
        }
    }

    async fn take_up(&self, pod: &PodSandbox, sandbox: &Arc<Sandbox>) -> Result<Vec<AdoptedContainer>, SandboxError> {
        let (listed, descriptors) = sandbox.list().await?;
        if self.attach(pod, sandbox).await.is_err() {
            return Err(SandboxError::Gone);
        }
        self.remember(&pod.uid, sandbox);
        let mut descriptors = descriptors.into_iter();
        let mut adopted = Vec::new();
        for container in listed {
            let own: Vec<_> = descriptors.by_ref().take(container.started.descriptors()).collect();
            match take_up_container(sandbox, &container, own) {
                Ok(container) => adopted.push(container),
                Err(error) => {
                    tracing::warn!(container = container.label.id, %error, "the container cannot be taken up, and is ended");
                    sandbox.forget(container.key);
                }
            }
        }
        Ok(adopted)
    }
}

fn take_up_container(
    sandbox: &Arc<Sandbox>,
    listed: &Listed,
    descriptors: Vec<std::os::fd::OwnedFd>,
) -> Result<AdoptedContainer, String> {
    let label = &listed.label;
    let template = Template::read(&label.directory).map_err(|error| error.to_string())?;
    let id = ContainerId(label.id.clone());
    let shared = Shared {
        id: id.clone(),
        sandbox: Arc::clone(sandbox),
        main: listed.key,
        cgroup: template.cgroup.clone(),
        template,
        scratch: label.directory.clone(),
        namespace: Mutex::default(),
        kept_namespace: Mutex::default(),
        warnings: Vec::new(),
    };
    let (stdout_writer, stdout) = pipe::pipe(DEFAULT_CAPACITY);
    let (stderr_writer, stderr) = pipe::pipe(DEFAULT_CAPACITY);
    let has_input = listed.started.stdin || listed.started.terminal;
    let (stdin, input) = has_input.then(|| pipe::pipe(DEFAULT_CAPACITY)).unzip();
    let streams = Streams { stdin: input, stdout: stdout_writer, stderr: stderr_writer };
    let container = LinuxContainer::adopted(shared, listed.started, descriptors, streams, listed.status);
    let container = container.map_err(|error| error.to_string())?;
    let (name, attempt) = (label.name.clone(), label.attempt);
    Ok(AdoptedContainer { id, name, attempt, container: Arc::new(container), stdin, stdout, stderr })
}
