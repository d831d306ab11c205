//! Doing several things at once without threads: tasks that wait for pollables, and one `wasi:io/poll` for all of them.
//!
//! ```text
//!  block_on ─▶ polls the tasks that were woken ─▶ nothing left to do ─▶ wasi:io/poll of what they wait for ─▶ wakes
//! ```

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::StreamError;
use wasip2::sockets::network::ErrorCode;
use wasip2::sockets::tcp::TcpSocket;

use crate::Connection;

thread_local! {
    static EXECUTOR: RefCell<Executor> = RefCell::default();
}

#[derive(Default)]
struct Executor {
    /// Tasks that `block_on` has not taken over yet.
    spawned: Vec<Task>,
    /// Who waits for what. A pollable must not outlive the stream or socket it belongs to, so its owner keeps it.
    waiting: Vec<(Weak<Pollable>, Waker)>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
}

/// Whether a task is to be polled.
struct Woken(AtomicBool);

impl Woken {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `main` to its end, and what is spawned beside it until then.
pub fn block_on<T>(main: impl Future<Output = T>) -> T {
    let mut main = pin!(main);
    let main_woken = Woken::new();
    let main_waker = Waker::from(Arc::clone(&main_woken));
    let mut tasks = Vec::new();
    loop {
        let mut idle = true;
        if main_woken.take() {
            idle = false;
            if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&main_waker)) {
                return value;
            }
        }
        tasks.append(&mut EXECUTOR.with_borrow_mut(|executor| std::mem::take(&mut executor.spawned)));
        tasks.retain_mut(|task| {
            if !task.woken.take() {
                return true;
            }
            idle = false;
            let waker = Waker::from(Arc::clone(&task.woken));
            task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        if idle {
            wait_for_any();
        }
    }
}

/// Runs `future` beside the one [`block_on`] was called with.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let task = Task { future: Box::pin(future), woken: Woken::new() };
    EXECUTOR.with_borrow_mut(|executor| executor.spawned.push(task));
}

/// Blocks until something that a task waits for has come, and wakes those tasks.
fn wait_for_any() {
    let waiting = EXECUTOR.with_borrow_mut(|executor| std::mem::take(&mut executor.waiting));
    let waiting: Vec<_> =
        waiting.into_iter().filter_map(|(pollable, waker)| Some((pollable.upgrade()?, waker))).collect();
    let ready = poll(&waiting.iter().map(|(pollable, _)| &**pollable).collect::<Vec<_>>());
    for (index, (pollable, waker)) in (0..).zip(waiting) {
        if ready.contains(&index) {
            waker.wake();
        } else {
            let waits = (Rc::downgrade(&pollable), waker);
            EXECUTOR.with_borrow_mut(|executor| executor.waiting.push(waits));
        }
    }
}

/// A pollable that tasks can wait for.
pub struct Readiness(Rc<Pollable>);

impl Readiness {
    /// To be dropped before what the pollable belongs to.
    pub fn new(pollable: Pollable) -> Self {
        Self(Rc::new(pollable))
    }

    /// Whether it is ready; if not, the task is woken when it is.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.0.ready() {
            return Poll::Ready(());
        }
        let waits = (Rc::downgrade(&self.0), context.waker().clone());
        EXECUTOR.with_borrow_mut(|executor| {
            let same = |known: &&mut (Weak<Pollable>, Waker)| known.0.ptr_eq(&waits.0);
            match executor.waiting.iter_mut().find(same) {
                Some(known) => *known = waits,
                None => executor.waiting.push(waits),
            }
        });
        Poll::Pending
    }

    /// Waits until it is ready.
    pub async fn wait(&self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

/// Waits for so long.
pub async fn sleep(duration: Duration) {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Readiness::new(subscribe_duration(nanoseconds)).wait().await;
}

/// A listening socket. The pollable is declared, and so dropped, before the socket.
pub struct Listener {
    incoming: Readiness,
    socket: TcpSocket,
}

impl Listener {
    /// Listens on `address`.
    pub fn bind(address: SocketAddr) -> Result<Self, ErrorCode> {
        let socket = crate::listen(address)?;
        Ok(Self { incoming: Readiness::new(socket.subscribe()), socket })
    }

    /// The next connection.
    pub async fn accept(&self) -> Result<Stream, ErrorCode> {
        loop {
            if let Some(connection) = crate::accept(&self.socket)? {
                return Ok(Stream::new(connection));
            }
            self.incoming.wait().await;
        }
    }
}

/// A connection that tasks read and write. The pollables are declared, and so dropped, before the streams.
pub struct Stream {
    readable: Readiness,
    writable: Readiness,
    connection: Connection,
}

impl Stream {
    fn new(connection: Connection) -> Self {
        let readable = Readiness::new(connection.input.subscribe());
        let writable = Readiness::new(connection.output.subscribe());
        Self { readable, writable, connection }
    }

    /// Some bytes, at most `most`; [`StreamError::Closed`] when the peer has sent everything.
    pub fn poll_read(&self, context: &mut Context<'_>, most: usize) -> Poll<Result<Vec<u8>, StreamError>> {
        loop {
            match self.connection.input.read(most as u64) {
                Ok(bytes) if bytes.is_empty() => ready!(self.readable.poll(context)),
                result => return Poll::Ready(result),
            }
        }
    }

    /// Writes as many of the bytes as the peer takes now, at least one, and says how many.
    pub fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        loop {
            match self.connection.output.check_write() {
                Ok(0) => ready!(self.writable.poll(context)),
                Ok(room) => {
                    let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                    return Poll::Ready(self.connection.output.write(&bytes[..count]).map(|()| count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes all of the bytes.
    pub async fn write_all(&self, mut bytes: &[u8]) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            bytes = &bytes[poll_fn(|context| self.poll_write(context, bytes)).await?..];
        }
        Ok(())
    }

    /// The peer's address, for showing.
    pub fn peer(&self) -> String {
        self.connection.peer()
    }

    /// Tells the peer that nothing more will be sent.
    pub fn finish_sending(&self) {
        self.connection.finish_sending();
    }
}
