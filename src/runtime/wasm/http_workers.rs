//! The instances behind an HTTP server.
//!
//! ```text
//!  request ─▶ the worker that became idle last, or a new one ─▶ handle ─▶ response ─▶ body, other work ─▶ idle
//! ```
//! A worker is one instance in its own store on its own task. It handles one request at a time; 0.3 instances are used
//! again, 0.2 instances are not, as their interface expects. A worker that traps or takes too long is dropped, and
//! takes down no other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::poll_fn;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use wasmtime::component::Accessor;
use wasmtime::{AsContextMut, Engine};
use wasmtime_wasi_http::handler::{Prepared, Proxy, ProxyPre};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::command::store;
use super::container_context::ProcessSeed;
use super::limits::OutOfMemory;
use super::process::{failed, message};
use super::program::Program;
use super::state::GuestState;
use crate::runtime::ExitStatus;

/// Requests handled at the same time, and so instances; further ones wait.
pub(super) const MAX_REQUESTS: u32 = 64;

/// Idle instances that are kept for the next request.
const MAX_IDLE_WORKERS: usize = 16;

/// How long an idle instance is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests a 0.3 instance handles before a fresh one takes its place.
const MAX_REQUESTS_PER_INSTANCE: usize = 128;

/// How long a guest may take until its response begins.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a guest may go on, with the body or other work, after its response began.
const BODY_TIMEOUT: Duration = Duration::from_secs(3600);

/// The instances of one server.
pub(super) struct WorkerPool {
    engine: Engine,
    program: Arc<Program>,
    seed: ProcessSeed,
    running: Arc<Semaphore>,
    idle: Mutex<Vec<mpsc::Sender<Job>>>,
    /// What the server hears from its instances.
    control: PoolControl,
}

/// What a server and its instances tell each other.
#[derive(Clone)]
pub(super) struct PoolControl {
    /// Cancelled when everything must end at once.
    pub(super) killed: CancellationToken,
    /// Takes the exit status of a server that must end because an instance ran out of the container's memory.
    pub(super) out_of_memory: mpsc::Sender<ExitStatus>,
}

/// A request on its way to an instance.
struct Job {
    request: Request<WasiBody>,
    answer: oneshot::Sender<wasmtime::Result<Response<WasiBody>>>,
    /// Held until the instance is done with the request.
    permit: OwnedSemaphorePermit,
}

impl WorkerPool {
    /// A pool without instances; `program` is a [`Program::Server`].
    pub(super) fn new(engine: Engine, program: Arc<Program>, seed: ProcessSeed, control: PoolControl) -> Self {
        Self {
            engine,
            program,
            seed,
            running: Arc::new(Semaphore::new(MAX_REQUESTS as usize)),
            idle: Mutex::default(),
            control,
        }
    }

    /// Answers one request. What goes wrong inside is a line in the container's log, and 500 for the client.
    pub(super) async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<WasiBody> {
        let Some(request) = with_authority(request) else { return empty_response(StatusCode::BAD_REQUEST) };
        let request = request.map(|body| body.map_err(Error::from).boxed_unsync());
        let Ok(permit) = Arc::clone(&self.running).acquire_owned().await else {
            return empty_response(StatusCode::SERVICE_UNAVAILABLE);
        };
        let (answer, answered) = oneshot::channel();
        self.hand_over(Job { request, answer, permit });
        match timeout(RESPONSE_TIMEOUT, answered).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(error))) => {
                self.failed(&error);
                empty_response(StatusCode::INTERNAL_SERVER_ERROR)
            }
            // The worker ended, and has said why.
            Ok(Err(oneshot::Canceled)) => empty_response(StatusCode::INTERNAL_SERVER_ERROR),
            Err(_) => empty_response(StatusCode::GATEWAY_TIMEOUT),
        }
    }

    /// Gives a job to the worker that became idle last, or else to a new one.
    fn hand_over(self: &Arc<Self>, mut job: Job) {
        loop {
            // Popped in a statement of its own, so that the lock is not held while the job is sent.
            let worker = self.lock_idle().pop();
            let Some(worker) = worker else { break };
            match worker.try_send(job) {
                Ok(()) => return,
                Err(error) => job = error.into_inner(),
            }
        }
        let (engine, program, seed) = (self.engine.clone(), Arc::clone(&self.program), self.seed.clone());
        let worker = Worker { engine, program, seed, pool: Arc::downgrade(self), deadline: watch::Sender::new(None) };
        let killed = self.control.killed.clone();
        // Like every guest, without tokio's cooperative budget.
        tokio::spawn(tokio::task::unconstrained(async move {
            killed.run_until_cancelled(worker.run(job)).await;
        }));
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Job>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs what went wrong in an instance. Out of memory is the whole container's end, as it is where the kernel does
    /// the killing; every other failure is the request's alone.
    fn failed(&self, error: &wasmtime::Error) {
        if error.is::<OutOfMemory>() {
            // The first one decides; one that finds the place taken has nothing to add.
            let _ = self.control.out_of_memory.try_send(failed(error));
        }
        let line = format!("husk: request failed: {}\n", message(error));
        // A log that nobody reads must not hold up the server.
        self.seed.complain(line);
    }
}

/// One instance at work.
struct Worker {
    engine: Engine,
    program: Arc<Program>,
    seed: ProcessSeed,
    pool: Weak<WorkerPool>,
    /// When the worker is dropped, unless it gets further before. Watched from outside the guest, which may loop.
    deadline: watch::Sender<Option<Instant>>,
}

impl Worker {
    async fn run(self, job: Job) {
        let Program::Server(proxy) = &*self.program else { return };
        self.set_deadline(Some(RESPONSE_TIMEOUT));
        let schedule = self.seed.schedule();
        let work = schedule.run(self.work(proxy, &schedule, job));
        let result = tokio::select! {
            result = work => result,
            () = self.expired() => Err(wasmtime::Error::msg("the instance took too long")),
        };
        if let (Err(error), Some(pool)) = (result, self.pool.upgrade()) {
            pool.failed(&error);
        }
    }

    async fn work(
        &self,
        pre: &ProxyPre<GuestState>,
        schedule: &super::cpu::Schedule,
        job: Job,
    ) -> wasmtime::Result<()> {
        let state = GuestState::new(self.seed.context(), self.seed.limits());
        let mut store = store(&self.engine, state, schedule);
        let proxy = pre.instantiate_async(&mut store).await?;
        let reusable = !matches!(proxy, Proxy::P2(_));
        store.run_concurrent(async |accessor| self.handle_all(accessor, &proxy, reusable, job).await).await?
    }

    /// Handles the first job and, if the instance may be used again, the following ones.
    async fn handle_all(
        &self,
        accessor: &Accessor<GuestState>,
        proxy: &Proxy,
        reusable: bool,
        mut job: Job,
    ) -> wasmtime::Result<()> {
        let uses = if reusable { MAX_REQUESTS_PER_INSTANCE } else { 1 };
        for uses_left in (0..uses).rev() {
            self.set_deadline(Some(RESPONSE_TIMEOUT));
            let Job { request, answer, permit } = job;
            let prepared = accessor
                .with(|mut access| Prepared::new(access.as_context_mut(), proxy, request, GuestState::http, answer))?;
            let answered = prepared.run(accessor, sleep(RESPONSE_TIMEOUT)).await?;
            if !answered {
                return Ok(());
            }
            self.set_deadline(Some(BODY_TIMEOUT));
            poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
            drop(permit);
            self.set_deadline(None);
            if uses_left == 0 {
                break;
            }
            let Some(next) = self.next_job().await else { return Ok(()) };
            job = next;
        }
        Ok(())
    }

    /// Waits among the idle workers for the next request.
    async fn next_job(&self) -> Option<Job> {
        let (sender, mut receiver) = mpsc::channel(1);
        {
            let pool = self.pool.upgrade()?;
            let mut idle = pool.lock_idle();
            idle.retain(|worker| !worker.is_closed());
            if idle.len() >= MAX_IDLE_WORKERS {
                return None;
            }
            idle.push(sender);
        }
        if let Ok(job) = timeout(IDLE_TIMEOUT, receiver.recv()).await {
            return job;
        }
        // A job that was sent just now must not be lost.
        receiver.close();
        receiver.try_recv().ok()
    }

    fn set_deadline(&self, patience: Option<Duration>) {
        self.deadline.send_replace(patience.map(|patience| Instant::now() + patience));
    }

    async fn expired(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let at = *deadline.borrow_and_update();
            let passed = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                changed = deadline.changed() => {
                    // The sender is part of this worker and outlives the wait.
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Gives the request an absolute URI, as handlers expect it; `None` if its Host header is no authority.
fn with_authority<B>(mut request: Request<B>) -> Option<Request<B>> {
    let uri = request.uri();
    let authority = match (uri.authority(), request.headers().get(header::HOST)) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => Authority::try_from(host.as_bytes()).ok()?,
        (None, None) => Authority::from_static("localhost"),
    };
    let path = uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build().ok()?;
    Some(request)
}

fn empty_response(status: StatusCode) -> Response<WasiBody> {
    let body = Full::default().map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_its_authority_from_the_host_header() {
        let uri = |host: Option<&str>| {
            let mut request = Request::builder().uri("/a?b=c");
            if let Some(host) = host {
                request = request.header("host", host);
            }
            with_authority(request.body(()).unwrap()).map(|request| request.uri().to_string())
        };
        assert_eq!(uri(Some("web:8080")).as_deref(), Some("http://web:8080/a?b=c"));
        assert_eq!(uri(None).as_deref(), Some("http://localhost/a?b=c"));
        assert_eq!(uri(Some("a b")), None);
    }
}
