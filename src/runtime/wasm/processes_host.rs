//! The host side of `husk:process/processes`, through which components start programs. The twin for 0.1 modules is in
//! `p1`; both stand on [`super::spawn`].

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, subscribe};

use super::open_file::OpenFile;
use super::p1::{Descriptor, FileDescriptor, Input, Output};
use super::process::Process;
use super::process_table::{Group, Pid, Reaped, Target};
use super::signals_host::bindings::husk::process::{processes, signals};
use super::signals_host::{from_guest, to_guest};
use super::spawn::{SpawnError, SpawnRequest};
use super::state::GuestState;
use super::stdio::{InputSource, OutputSink, SinkOutput, SourceInput};
use crate::base::pipe::{DEFAULT_CAPACITY, PipeReader, PipeWriter, pipe};
use crate::runtime::{ExitReason, ExitStatus, Signal};
use crate::vfs::{Errno, OpenOptions, Opened};

/// Bytes of a new process's arguments and environment together, as for 0.1.
const MAX_STRINGS_BYTES: usize = 2 << 20;

/// A child of a component.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub struct Child {
    process: Arc<Process>,
    /// How it ended, once that was asked for: its entry in the table is gone then.
    status: Option<processes::ExitStatus>,
}

/// Adds `husk:process/processes` to a component linker.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    processes::add_to_linker::<GuestState, HasSelf<GuestState>>(linker, |state| state)
}

impl processes::Host for GuestState {
    async fn spawn(
        &mut self,
        options: processes::SpawnOptions,
    ) -> wasmtime::Result<Result<Resource<Child>, processes::ErrorCode>> {
        let Some(container) = self.process.container.clone() else { return Ok(Err(processes::ErrorCode::NoMemory)) };
        let request = match self.request(options)? {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let spawned = request.spawn(&container, &self.process.process).await;
        Ok(match spawned {
            Ok(process) => Ok(self.table.push(Child { process, status: None })?),
            Err(error) => Err(error.into()),
        })
    }

    fn pipe(&mut self) -> wasmtime::Result<(Resource<PipeReader>, Resource<PipeWriter>)> {
        let (writer, reader) = pipe(DEFAULT_CAPACITY);
        Ok((self.table.push(reader)?, self.table.push(writer)?))
    }

    fn kill(&mut self, pid: Pid, signal: signals::Signal) -> wasmtime::Result<Result<(), processes::ErrorCode>> {
        let table = self.process.process.table();
        let sent = table.map(|table| table.signal(Target::Process(pid), Some(from_guest(signal))));
        Ok(sent.and_then(Result::ok).ok_or(processes::ErrorCode::NoProcess))
    }

    fn pid(&mut self) -> wasmtime::Result<Pid> {
        Ok(self.process.process.pid())
    }
}

impl processes::HostPipeReader for GuestState {
    fn into_stream(&mut self, reader: Resource<PipeReader>) -> wasmtime::Result<Resource<DynInputStream>> {
        let reader = self.table.delete(reader)?;
        let stream: DynInputStream = Box::new(SourceInput(InputSource::Pipe(reader)));
        Ok(self.table.push(stream)?)
    }

    fn drop(&mut self, reader: Resource<PipeReader>) -> wasmtime::Result<()> {
        self.table.delete(reader)?;
        Ok(())
    }
}

impl processes::HostPipeWriter for GuestState {
    fn into_stream(&mut self, writer: Resource<PipeWriter>) -> wasmtime::Result<Resource<DynOutputStream>> {
        let sink = OutputSink::Pipe(self.table.delete(writer)?);
        let process = Some(Arc::clone(&self.process.process));
        let stream: DynOutputStream = Box::new(SinkOutput { sink, process, pending: Bytes::new() });
        Ok(self.table.push(stream)?)
    }

    fn drop(&mut self, writer: Resource<PipeWriter>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

impl processes::HostChild for GuestState {
    fn pid(&mut self, child: Resource<Child>) -> wasmtime::Result<Pid> {
        Ok(self.table.get(&child)?.process.pid())
    }

    fn subscribe(&mut self, child: Resource<Child>) -> wasmtime::Result<Resource<DynPollable>> {
        let end = End(Arc::clone(&self.table.get(&child)?.process));
        let end = self.table.push_child(end, &child)?;
        subscribe(&mut self.table, end)
    }

    fn try_wait(&mut self, child: Resource<Child>) -> wasmtime::Result<Option<processes::ExitStatus>> {
        let parent = self.process.process.pid();
        let child = self.table.get_mut(&child)?;
        if child.status.is_none()
            && let Some(table) = child.process.table()
            && let Reaped::Child(_, status) = table.reap(parent, Some(child.process.pid()))
        {
            child.status = Some(exit_status(&status));
        }
        Ok(child.status)
    }

    fn kill(
        &mut self,
        child: Resource<Child>,
        signal: signals::Signal,
    ) -> wasmtime::Result<Result<(), processes::ErrorCode>> {
        let child = self.table.get(&child)?;
        if child.status.is_some() {
            return Ok(Err(processes::ErrorCode::NoProcess));
        }
        child.process.signal(from_guest(signal));
        Ok(Ok(()))
    }

    fn drop(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        let child = self.table.delete(child)?;
        if let Some(table) = child.process.table() {
            table.disown(child.process.pid());
        }
        Ok(())
    }
}

impl GuestState {
    fn request(
        &mut self,
        options: processes::SpawnOptions,
    ) -> wasmtime::Result<Result<SpawnRequest, processes::ErrorCode>> {
        let processes::SpawnOptions { program, argv, env, working_directory: working_dir, .. } = options;
        // Taken before anything is refused: the streams are the host's from here on.
        let stdin = self.input(options.stdin, &working_dir)?;
        let stdout = self.output(1, options.stdout, &working_dir)?;
        let merged = matches!(options.stderr, processes::Output::ToStdout);
        let stderr = if merged { stdout.clone() } else { self.output(2, options.stderr, &working_dir)? };
        let texts = || [&program, &working_dir].into_iter().chain(&argv).chain(env.iter().flat_map(|(n, v)| [n, v]));
        let too_long = texts().map(|text| text.len() + 1).sum::<usize>() > MAX_STRINGS_BYTES;
        if too_long || !working_dir.starts_with('/') || texts().any(|text| text.contains('\0')) {
            return Ok(Err(processes::ErrorCode::Invalid));
        }
        let descriptors = match (stdin, stdout, stderr) {
            (Ok(stdin), Ok(stdout), Ok(stderr)) => [(0, stdin), (1, stdout), (2, stderr)],
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Ok(Err(error)),
        };
        let given = descriptors.into_iter().filter_map(|(number, descriptor)| Some((number, descriptor?)));
        let ignored = options.ignored.into_iter().map(from_guest).filter(|signal| *signal != Signal::Kill).collect();
        Ok(Ok(SpawnRequest {
            program,
            argv,
            env,
            working_dir,
            descriptors: given.collect(),
            ignored,
            group: if options.new_group { Group::New } else { Group::Inherit },
        }))
    }

    fn input(&mut self, input: processes::Input, working_dir: &str) -> wasmtime::Result<Given> {
        Ok(match input {
            processes::Input::Inherit => Ok(self.process.descriptor(0).cloned()),
            processes::Input::Null => Ok(Some(Descriptor::Input(Input { source: InputSource::Empty, flags: 0 }))),
            processes::Input::Piped(reader) => {
                let source = InputSource::Pipe(self.table.delete(reader)?);
                Ok(Some(Descriptor::Input(Input { source, flags: 0 })))
            }
            processes::Input::File(path) => {
                let options = OpenOptions { read: true, follow: true, ..OpenOptions::default() };
                self.file(&path, working_dir, options, false)
            }
        })
    }

    fn output(&mut self, number: u32, output: processes::Output, working_dir: &str) -> wasmtime::Result<Given> {
        let mode = self.process.process.file_mode();
        let write = OpenOptions { write: true, create: true, follow: true, mode, ..OpenOptions::default() };
        Ok(match output {
            processes::Output::Inherit => Ok(self.process.descriptor(number).cloned()),
            processes::Output::Null => self.file("/dev/null", "/", OpenOptions { create: false, ..write }, false),
            processes::Output::Piped(writer) => {
                let sink = OutputSink::Pipe(self.table.delete(writer)?);
                Ok(Some(Descriptor::Output(Output { sink, flags: 0 })))
            }
            processes::Output::Truncate(path) => {
                self.file(&path, working_dir, OpenOptions { truncate: true, ..write }, false)
            }
            processes::Output::Append(path) => self.file(&path, working_dir, write, true),
            processes::Output::ToStdout => Err(processes::ErrorCode::Invalid),
        })
    }

    fn file(&self, path: &str, working_dir: &str, options: OpenOptions, append: bool) -> Given {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{working_dir}/{path}") };
        let opened = self.process.root.open(&path, options).map_err(|errno| match errno {
            Errno::NotFound | Errno::NotDirectory => processes::ErrorCode::NotFound,
            Errno::NoSpace | Errno::TooManyOpen => processes::ErrorCode::NoMemory,
            _ => processes::ErrorCode::Denied,
        })?;
        let Opened::File(file) = opened else { return Err(processes::ErrorCode::Denied) };
        let open = OpenFile::new(file, options.read, options.write, append);
        Ok(Some(Descriptor::File(FileDescriptor { open, flags: 0 })))
    }
}

/// What a child gets as one of its standard streams; `None` for one its parent does not have either.
type Given = Result<Option<Descriptor>, processes::ErrorCode>;

fn exit_status(status: &ExitStatus) -> processes::ExitStatus {
    match status.reason {
        ExitReason::Signaled(signal) => processes::ExitStatus::Signaled(to_guest(signal)),
        ExitReason::OomKilled => processes::ExitStatus::Signaled(signals::Signal::Kill),
        ExitReason::Exited | ExitReason::Trapped => {
            processes::ExitStatus::Exited(u8::try_from(status.code).unwrap_or(u8::MAX))
        }
    }
}

impl From<SpawnError> for processes::ErrorCode {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::NotFound => Self::NotFound,
            SpawnError::Denied => Self::Denied,
            SpawnError::NotExecutable => Self::NotExecutable,
            SpawnError::TooMany => Self::TooMany,
            SpawnError::NoSuchGroup => Self::NoProcess,
            SpawnError::NoMemory => Self::NoMemory,
        }
    }
}

/// A pollable that is ready once a process has ended.
struct End(Arc<Process>);

#[async_trait]
impl Pollable for End {
    async fn ready(&mut self) {
        self.0.wait().await;
    }
}
