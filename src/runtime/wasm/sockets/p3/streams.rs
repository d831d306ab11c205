//! A connection's pipes, and accepted connections, as streams of the component model.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime::component::{Destination, Resource, Source, StreamConsumer, StreamProducer, StreamResult, VecBuffer};
use wasmtime::{AsContextMut, StoreContextMut};

use super::generated::types::ErrorCode;
use super::{SocketsView, code_of};
use crate::base::pipe::{PipeReader, PipeWriter, ReadError, WriteError};
use crate::net::{NetError, TcpListener};
use crate::runtime::wasm::sockets::tcp::{Acceptor, TcpSocket};

/// Most bytes handed to a guest at once where its buffer does not say.
const MAX_READ: usize = 64 * 1024;

/// How a stream ended, told once.
#[derive(Debug)]
pub(super) struct Outcome(Option<oneshot::Sender<Result<(), ErrorCode>>>);

impl Outcome {
    pub(super) fn new(sender: oneshot::Sender<Result<(), ErrorCode>>) -> Self {
        Self(Some(sender))
    }

    fn tell(&mut self, outcome: Result<(), NetError>) {
        if let Some(sender) = self.0.take() {
            // Nobody may be interested.
            let _ = sender.send(outcome.map_err(code_of));
        }
    }
}

/// What an operation that cannot go on now says: it waits, unless the guest wants it back.
fn waiting(finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}

/// What the peer sends. When the guest drops it, the rest is discarded.
pub(super) struct Receiving {
    pub(super) reader: PipeReader,
    pub(super) outcome: Outcome,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.outcome.tell(Ok(()));
    }
}

impl<D> StreamProducer<D> for Receiving {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store.as_context_mut()) == Some(0) {
            // An empty read asks whether there is something.
            return match self.reader.poll_ready(context) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => waiting(finish),
            };
        }
        let mut buffer = destination.as_direct(store, MAX_READ);
        let limit = buffer.remaining().len();
        loop {
            match self.reader.try_read(limit) {
                Ok(bytes) => {
                    buffer.remaining()[..bytes.len()].copy_from_slice(&bytes);
                    buffer.mark_written(bytes.len());
                    return Poll::Ready(Ok(StreamResult::Completed));
                }
                Err(ReadError::Empty) => {
                    if self.reader.poll_ready(context).is_pending() {
                        return waiting(finish);
                    }
                }
                Err(ReadError::End) => {
                    self.outcome.tell(Ok(()));
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
                Err(ReadError::Reset) => {
                    self.outcome.tell(Err(NetError::ConnectionReset));
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
            }
        }
    }
}

/// What goes to the peer. When the guest ends it, so does this direction of the connection.
pub(super) struct Sending {
    pub(super) writer: PipeWriter,
    pub(super) outcome: Outcome,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.writer.close();
        self.outcome.tell(Ok(()));
    }
}

impl<D> StreamConsumer<D> for Sending {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        loop {
            let offered = source.remaining();
            match self.writer.room() {
                // An empty write asks whether there is room.
                Ok(room) if room > 0 && offered.is_empty() => return Poll::Ready(Ok(StreamResult::Completed)),
                Ok(room) if room > 0 => {
                    let chunk = Bytes::copy_from_slice(&offered[..offered.len().min(room)]);
                    if let Ok(written) = self.writer.try_write(&chunk) {
                        source.mark_read(written);
                        return Poll::Ready(Ok(StreamResult::Completed));
                    }
                }
                Ok(_full) => {
                    if self.writer.poll_ready(context).is_pending() {
                        return waiting(finish);
                    }
                }
                Err(error) => {
                    self.outcome.tell(Err(match error {
                        WriteError::Reset => NetError::ConnectionReset,
                        WriteError::Broken | WriteError::Full => NetError::BrokenPipe,
                    }));
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
            }
        }
    }
}

/// Connections as a listener accepts them.
pub(super) struct Accepting<T> {
    pub(super) listener: Arc<TcpListener>,
    pub(super) acceptor: Acceptor,
    pub(super) view: for<'a> fn(&'a mut T) -> SocketsView<'a>,
}

impl<T: 'static> StreamProducer<T> for Accepting<T> {
    type Item = Resource<TcpSocket>;
    type Buffer = Option<Resource<TcpSocket>>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store.as_context_mut()) == Some(0) {
            return match self.listener.poll_ready(context) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => waiting(finish),
            };
        }
        match self.listener.poll_accept(context) {
            Poll::Ready(Ok(stream)) => {
                let socket = self.acceptor.accepted(stream);
                let resource = (self.view)(store.data_mut()).table.push(socket)?;
                destination.set_buffer(Some(resource));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            // The stream has no way to say why it ends.
            Poll::Ready(Err(_error)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending => waiting(finish),
        }
    }
}
