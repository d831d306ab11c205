//! Messages with descriptors over a sequenced-packet socket: `kind byte, JSON`. What is too long for a packet travels in a
//! sealed memory file, as the packet's last descriptor.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a message that are sent in a packet.
const MAX_INLINE: usize = 32 * 1024;
/// Bytes of any message: environments may be as large as the ConfigMaps they come from.
const MAX_MESSAGE: u64 = 16 * 1024 * 1024;
/// Descriptors with one message.
pub(super) const MAX_DESCRIPTORS: usize = 64;

const INLINE: u8 = 0;
const IN_MEMORY_FILE: u8 = 1;

/// A message made ready to be sent, as often as it takes.
pub(super) struct Packet {
    bytes: Vec<u8>,
    memory_file: Option<OwnedFd>,
}

impl Packet {
    pub(super) fn new(message: &impl Serialize) -> io::Result<Self> {
        let mut bytes = vec![INLINE];
        serde_json::to_writer(&mut bytes, message)?;
        if bytes.len() <= MAX_INLINE {
            return Ok(Self { bytes, memory_file: None });
        }
        let mut file = std::fs::File::from(memfd_create(c"husk-message", MemfdFlags::CLOEXEC)?);
        file.write_all(&bytes[1..])?;
        Ok(Self { bytes: vec![IN_MEMORY_FILE], memory_file: Some(file.into()) })
    }

    /// Sends it. `WouldBlock` if the socket does not block and is full.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut all = descriptors.to_vec();
        all.extend(self.memory_file.as_ref().map(AsFd::as_fd));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if all.len() > MAX_DESCRIPTORS || !(all.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(&all))) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        sendmsg(socket, &[IoSlice::new(&self.bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// Sends a message over a socket that blocks.
pub(super) fn send(socket: BorrowedFd<'_>, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let packet = Packet::new(message)?;
    loop {
        match packet.send(socket, descriptors) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A message that has arrived, with its descriptors.
#[derive(Debug)]
pub(super) struct Received<T> {
    pub(super) message: T,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Receives a message; `None` at the end. `WouldBlock` if the socket does not block and there is none.
pub(super) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<Received<T>>> {
    let mut buffer = vec![0; MAX_INLINE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let received = recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let message = match buffer.get(..received.bytes) {
        None | Some([]) => return Ok(None),
        Some([INLINE, json @ ..]) => serde_json::from_slice(json)?,
        Some([IN_MEMORY_FILE]) => {
            let file = descriptors.pop().ok_or_else(|| io::Error::other("the message's file is missing"))?;
            read_memory_file(file)?
        }
        Some(_) => return Err(io::Error::other("no message of husk's")),
    };
    Ok(Some(Received { message, descriptors }))
}

fn read_memory_file<T: DeserializeOwned>(file: OwnedFd) -> io::Result<T> {
    seek(&file, SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(MAX_MESSAGE).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn messages_arrive_whole_however_long_they_are() {
        let (here, there) = pair();
        for length in [0, 1, MAX_INLINE - 3, MAX_INLINE, 3 << 20] {
            let text = "x".repeat(length);
            let (reader, writer) = std::io::pipe().unwrap();
            send(here.as_fd(), &text, &[reader.as_fd()]).unwrap();
            let received = receive::<String>(there.as_fd()).unwrap().unwrap();
            assert_eq!(received.message.len(), length);
            (&writer).write_all(b"through").unwrap();
            drop((reader, writer));
            let [passed] = <[OwnedFd; 1]>::try_from(received.descriptors).unwrap();
            let mut said = String::new();
            std::fs::File::from(passed).read_to_string(&mut said).unwrap();
            assert_eq!(said, "through");
        }
        drop(here);
        assert!(receive::<String>(there.as_fd()).unwrap().is_none());
    }
}
