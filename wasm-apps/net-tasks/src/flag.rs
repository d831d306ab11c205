//! Something that happens once and that many tasks watch for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Is raised once, for good.
#[derive(Clone, Default)]
pub struct Flag(Rc<State>);

#[derive(Default)]
struct State {
    raised: Cell<bool>,
    watchers: RefCell<Slab<Option<Waker>>>,
}

impl Flag {
    /// Raises it and wakes who watches.
    pub fn raise(&self) {
        self.0.raised.set(true);
        let wakers: Vec<Waker> =
            self.0.watchers.borrow_mut().iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether it has been raised.
    pub fn is_raised(&self) -> bool {
        self.0.raised.get()
    }

    /// Begins to watch.
    pub fn watch(&self) -> Watch {
        let place = self.0.watchers.borrow_mut().insert(None);
        Watch { flag: self.clone(), place }
    }
}

/// One who watches a [`Flag`].
pub struct Watch {
    flag: Flag,
    place: usize,
}

impl Watch {
    /// Ready once the flag is raised.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.flag.is_raised() {
            return Poll::Ready(());
        }
        match &mut self.flag.0.watchers.borrow_mut()[self.place] {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until the flag is raised.
    pub async fn raised(&self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.flag.0.watchers.borrow_mut().remove(self.place);
    }
}
