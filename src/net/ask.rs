//! Questions and answers over request-response: raw bytes, bounded, ten seconds at most.
//! Owns: the protocol name, its codec, which answer belongs to which question.
//! Must not know: what is asked.
//! Invariants: every question of ours ends in one `Answered`; questions held are bounded.
//! Start reading at: [`Questions`].

use std::{collections::BTreeMap, io, time::Duration};

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{
    StreamProtocol,
    request_response::{
        Behaviour, Codec, Config, InboundRequestId, OutboundRequestId, ProtocolSupport,
        ResponseChannel,
    },
};

use crate::{ids::RequestId, limits::ASK_BYTES_MAX};

/// The protocol of questions.
const ASK: StreamProtocol = StreamProtocol::new("/p2pgroup/1/ask");
/// How long a question may take, on either side.
pub(super) const ASK_TIME: Duration = Duration::from_secs(10);
/// Questions of one connection at once: a stranger's share of our memory.
const PER_CONNECTION_MAX: usize = 8;
/// Questions of others that wait for our answer, in all.
const WAITING_MAX: usize = 1_024;

/// The behaviour with our codec.
pub(super) fn behaviour() -> Behaviour<Raw> {
    let config = Config::default()
        .with_request_timeout(ASK_TIME)
        .with_max_concurrent_streams(PER_CONNECTION_MAX);
    Behaviour::with_codec(Raw, [(ASK, ProtocolSupport::Full)], config)
}

/// A question or an answer is the whole of one direction of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw;

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

/// Reads to the end, growing as bytes come, never beyond the limit.
async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Bytes> {
    let max = u64::try_from(ASK_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let _count = io.take(max.saturating_add(1)).read_to_end(&mut bytes).await?;
    if bytes.len() > ASK_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than allowed"));
    }
    Ok(bytes.into())
}

/// Questions under way, ours and those of others.
#[derive(Debug, Default)]
pub(super) struct Questions {
    ours: BTreeMap<OutboundRequestId, RequestId>,
    theirs: BTreeMap<RequestId, (InboundRequestId, ResponseChannel<Bytes>)>,
    numbers: BTreeMap<InboundRequestId, RequestId>,
    last: u64,
}

impl Questions {
    /// Remembers which question a request carries.
    pub(super) fn asked(&mut self, request: OutboundRequestId, id: RequestId) {
        let _new = self.ours.insert(request, id);
    }

    /// The question that an answer or a failure belongs to.
    pub(super) fn answered(&mut self, request: OutboundRequestId) -> Option<RequestId> {
        self.ours.remove(&request)
    }

    /// Numbers a question of somebody else; `None` if too many wait already.
    pub(super) fn arrived(
        &mut self,
        request: InboundRequestId,
        channel: ResponseChannel<Bytes>,
    ) -> Option<RequestId> {
        if self.theirs.len() >= WAITING_MAX {
            return None;
        }
        self.last = self.last.saturating_add(1);
        let id = RequestId(self.last);
        let _new = self.theirs.insert(id, (request, channel));
        let _new = self.numbers.insert(request, id);
        Some(id)
    }

    /// Where the answer to a question goes; `None` if nobody waits for it any more.
    pub(super) fn take(&mut self, id: RequestId) -> Option<ResponseChannel<Bytes>> {
        let (request, channel) = self.theirs.remove(&id)?;
        let _number = self.numbers.remove(&request);
        Some(channel)
    }

    /// The asker gave up; whether its question was held.
    pub(super) fn forget(&mut self, request: InboundRequestId) -> bool {
        let Some(id) = self.numbers.remove(&request) else { return false };
        self.theirs.remove(&id).is_some()
    }

    /// Questions of ours under way.
    pub(super) fn ours(&self) -> usize {
        self.ours.len()
    }
}
