//! Which task is to run.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

use crate::reactor;

/// The place of the future that [`block_on`] was called with.
const MAIN: usize = usize::MAX;

thread_local! {
    /// Tasks that were woken, in that order.
    static WOKEN: RefCell<VecDeque<usize>> = RefCell::default();
    static TASKS: RefCell<Slab<Option<Task>>> = RefCell::default();
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    signal: Arc<Signal>,
    waker: Waker,
}

/// Puts one task into the queue, once.
struct Signal {
    task: usize,
    queued: AtomicBool,
}

impl Signal {
    /// The task is in the queue from the start.
    fn new(task: usize) -> (Arc<Self>, Waker) {
        let signal = Arc::new(Self { task, queued: AtomicBool::new(false) });
        signal.wake_by_ref();
        let waker = Waker::from(Arc::clone(&signal));
        (signal, waker)
    }

    fn taken(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            WOKEN.with_borrow_mut(|woken| woken.push_back(self.task));
        }
    }
}

/// Runs `main` to its end, and what is spawned beside it until then.
pub fn block_on<T>(main: impl Future<Output = T>) -> T {
    let mut main = pin!(main);
    let (signal, waker) = Signal::new(MAIN);
    loop {
        match WOKEN.with_borrow_mut(VecDeque::pop_front) {
            Some(MAIN) => {
                signal.taken();
                if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return value;
                }
            }
            Some(task) => run(task),
            None => reactor::wait(),
        }
    }
}

fn run(place: usize) {
    // The task is taken out meanwhile, so that it can spawn others. It may have ended since it was woken.
    let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks.get_mut(place).and_then(Option::take)) else { return };
    task.signal.taken();
    let polled = task.future.as_mut().poll(&mut Context::from_waker(&task.waker));
    match polled {
        Poll::Pending => TASKS.with_borrow_mut(|tasks| tasks[place] = Some(task)),
        Poll::Ready(()) => {
            drop(task);
            TASKS.with_borrow_mut(|tasks| tasks.remove(place));
        }
    }
}

/// Runs `future` beside the one [`block_on`] was called with.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    TASKS.with_borrow_mut(|tasks| {
        let entry = tasks.vacant_entry();
        let (signal, waker) = Signal::new(entry.key());
        entry.insert(Some(Task { future: Box::pin(future), signal, waker }));
    });
}
