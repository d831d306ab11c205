//! Runs guest programs straight on the fronts, without a container around them: for the tests of `p1` and this module.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use wasmtime::component::{self, Component};
use wasmtime::{Linker, Module, Store};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::base::pipe::{DEFAULT_CAPACITY, PipeReader, PipeWriter, pipe};
use crate::net::{Egress, PodNetwork, Switch};
use crate::runtime::ContainerPort;
use crate::runtime::wasm::command;
use crate::runtime::wasm::cpu::{CpuQuota, Schedule};
use crate::runtime::wasm::engine::GuestEngine;
use crate::runtime::wasm::limits::{MemoryAccount, ProcessLimits};
use crate::runtime::wasm::linkers::Linkers;
use crate::runtime::wasm::p1::{self, Descriptor, Input, Output};
use crate::runtime::wasm::process::Process;
use crate::runtime::wasm::signals::Signals;
use crate::runtime::wasm::state::{GuestExit, GuestState, ProcessContext};
use crate::runtime::wasm::stdio::{InputSource, OutputSink};
use crate::vfs::{DeviceFs, MountTable, TreeFs};

/// How a component begins: the magic number, version 13 and layer 1.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// Bytes a test's filesystem holds.
const FILESYSTEM_BYTES: u64 = 64 * 1024 * 1024;

/// How a guest ended and what it said.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runtime::wasm) struct Outcome {
    /// Its exit code, or what the trap says.
    pub(in crate::runtime::wasm) end: Result<i32, String>,
    pub(in crate::runtime::wasm) stdout: String,
    pub(in crate::runtime::wasm) stderr: String,
}

/// A guest to run: a filesystem in memory with `/dev` in it, and a network of its own.
pub(in crate::runtime::wasm) struct Guest {
    pub(in crate::runtime::wasm) argv: Vec<String>,
    pub(in crate::runtime::wasm) mounts: MountTable,
    pub(in crate::runtime::wasm) network: Arc<PodNetwork>,
    pub(in crate::runtime::wasm) ports: Vec<ContainerPort>,
    pub(in crate::runtime::wasm) stdin: Option<PipeReader>,
    pub(in crate::runtime::wasm) process: Arc<Process>,
}

impl Guest {
    pub(in crate::runtime::wasm) fn new(arguments: &[&str]) -> Self {
        let root = TreeFs::in_memory(FILESYSTEM_BYTES);
        let mounts = MountTable::builder(&root).mount("/dev", DeviceFs::new(), false).build().unwrap();
        let network = Switch::new(Egress::Deny).attach("guest", None).unwrap();
        let argv = std::iter::once("guest").chain(arguments.iter().copied()).map(str::to_owned).collect();
        Self { argv, mounts, network, ports: Vec::new(), stdin: None, process: Process::new(Signals::default()) }
    }

    pub(in crate::runtime::wasm) fn stdin_bytes(mut self, bytes: &'static [u8]) -> Self {
        let (writer, reader) = pipe(bytes.len());
        writer.try_write(&Bytes::from_static(bytes)).unwrap();
        self.stdin = Some(reader);
        self
    }

    fn descriptors(&self, stdout: PipeWriter, stderr: PipeWriter) -> Vec<(u32, Descriptor)> {
        let input = |source| Descriptor::Input(Input { source, flags: 0 });
        let output = |sink| Descriptor::Output(Output { sink, flags: 0 });
        let stdin = self.stdin.clone().map_or(InputSource::Empty, InputSource::Pipe);
        vec![(0, input(stdin)), (1, output(OutputSink::Pipe(stdout))), (2, output(OutputSink::Pipe(stderr)))]
    }

    pub(in crate::runtime::wasm) fn state(&self, stdout: PipeWriter, stderr: PipeWriter) -> GuestState {
        let process = ProcessContext {
            path: "/guest".to_owned(),
            argv: self.argv.clone(),
            env: vec![("PWD".to_owned(), "/".to_owned()), ("EMPTY".to_owned(), String::new())],
            working_dir: "/".to_owned(),
            root: self.mounts.root(),
            network: Arc::clone(&self.network),
            ports: self.ports.clone(),
            descriptors: self.descriptors(stdout, stderr),
            is_main: true,
            process: Arc::clone(&self.process),
            container: None,
        };
        GuestState::new(process, ProcessLimits::new(&MemoryAccount::new(None)))
    }

    /// Runs the built guest `name`, such as `p1/files`.
    pub(in crate::runtime::wasm) async fn run(&self, name: &str) -> Outcome {
        let path = Path::new(env!("HUSK_GUESTS_DIR")).join(format!("{name}.wasm"));
        self.run_bytes(&std::fs::read(&path).unwrap()).await
    }

    /// Runs a program.
    pub(in crate::runtime::wasm) async fn run_bytes(&self, wasm: &[u8]) -> Outcome {
        let (stdout, stdout_reader) = pipe(DEFAULT_CAPACITY);
        let (stderr, stderr_reader) = pipe(DEFAULT_CAPACITY);
        let host = host();
        let schedule = Schedule::new(host.engine.ticker(), CpuQuota::new(None));
        let mut store = command::store(host.engine.engine(), self.state(stdout, stderr), &schedule);
        let running = async move {
            let result = call(&mut store, wasm).await;
            drop(store);
            match result {
                Ok(code) => Ok(code),
                Err(error) => match (error.downcast_ref::<GuestExit>(), error.downcast_ref::<wasmtime_wasi::I32Exit>())
                {
                    (Some(GuestExit(code)), _) | (None, Some(wasmtime_wasi::I32Exit(code))) => Ok(*code),
                    (None, None) => Err(format!("{error:?}")),
                },
            }
        };
        let running = tokio::task::unconstrained(schedule.run(running));
        let (end, stdout, stderr) = tokio::join!(running, text(stdout_reader), text(stderr_reader));
        Outcome { end, stdout, stderr }
    }
}

async fn call(store: &mut Store<GuestState>, wasm: &[u8]) -> wasmtime::Result<i32> {
    let host = host();
    if wasm.starts_with(COMPONENT_HEADER) {
        return call_component(store, wasm).await;
    }
    p1::listen(store.data_mut())?;
    let module = cached(&MODULES, wasm, |wasm| Module::new(host.engine.engine(), wasm))?;
    let instance = host.core.instantiate_async(&mut *store, &module).await?;
    instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call_async(&mut *store, ()).await?;
    Ok(0)
}

async fn call_component(store: &mut Store<GuestState>, wasm: &[u8]) -> wasmtime::Result<i32> {
    let host = host();
    let component = cached(&COMPONENTS, wasm, |wasm| Component::new(host.engine.engine(), wasm))?;
    let pre = host.component.instantiate_pre(&component)?;
    #[cfg(feature = "wasi-p3")]
    if let Ok(pre) = wasmtime_wasi::p3::bindings::CommandPre::new(pre.clone()) {
        let command = pre.instantiate_async(&mut *store).await?;
        let run = async |accessor: &component::Accessor<GuestState>| command.wasi_cli_run().call_run(accessor).await;
        return Ok(i32::from(store.run_concurrent(run).await??.is_err()));
    }
    let command = CommandPre::new(pre)?.instantiate_async(&mut *store).await?;
    Ok(i32::from(command.wasi_cli_run().call_run(&mut *store).await?.is_err()))
}

type Cache<T> = Mutex<Vec<(Vec<u8>, T)>>;

static MODULES: Cache<Module> = Mutex::new(Vec::new());
static COMPONENTS: Cache<Component> = Mutex::new(Vec::new());

/// Compiles once per program: compiling is the slow part of these tests.
fn cached<T: Clone>(
    cache: &Cache<T>,
    wasm: &[u8],
    compile: impl FnOnce(&[u8]) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, compiled)) = cache.iter().find(|(known, _)| known == wasm) {
        return Ok(compiled.clone());
    }
    let compiled = compile(wasm)?;
    cache.push((wasm.to_vec(), compiled.clone()));
    Ok(compiled)
}

struct Host {
    engine: GuestEngine,
    core: Linker<GuestState>,
    component: component::Linker<GuestState>,
}

/// One engine and its linkers for all tests.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let engine = GuestEngine::new(64).unwrap();
        let linkers = Linkers::default();
        let core = linkers.core(engine.engine()).unwrap().clone();
        let component = linkers.component(engine.engine()).unwrap().clone();
        Host { engine, core, component }
    })
}

async fn text(reader: PipeReader) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = reader.read(usize::MAX).await {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).unwrap()
}
