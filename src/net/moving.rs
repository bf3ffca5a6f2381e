//! Moving a link to another stream while frames are under way, so that none is lost, comes twice
//! or overtakes another.
//! Owns: what both sides say before they move, and the mark behind the last frame.
//! Must not know: why a link moves, what frames say.
//! Invariants: nobody leaves the old stream before both have the new one.
//! Start reading at: [`agree`].
//!
//! ```text
//!  who leads                              who follows
//!    ready ---------- new stream ----------->
//!    <--------------- new stream ------- ready
//!    frames, mark --- old stream ----------->
//!    <--------------- old stream --- frames, mark      each when its writer is between frames
//!    frames --------- new stream ----------->
//!    <--------------- new stream ------- frames
//! ```
//!
//! Who reads takes frames from the old stream up to the mark, then from the new one. A stream that
//! ends without the mark ends the link, as ever: what was under way then is lost with it.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::link::Leads;

/// Behind the last frame on a stream: the prefix of a frame without bytes, which there is not.
pub(super) const MARK: u8 = 0;

/// Each side has the new stream and reads it once the old one is read out.
const READY: u8 = 1;

/// How long the other side may take: it only has to take note.
const AGREE_TIME: Duration = Duration::from_secs(10);

/// Both sides have this stream.
///
/// # Errors
/// The stream broke, the peer did not want to or took too long.
pub(super) async fn agree<S>(stream: &mut S, leads: Leads) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let both = async {
        let mut said = [0];
        if leads {
            say_ready(stream).await?;
            stream.read_exact(&mut said).await?;
        } else {
            stream.read_exact(&mut said).await?;
            say_ready(stream).await?;
        }
        let is_ready = said == [READY];
        if is_ready { Ok(()) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
    };
    timeout(AGREE_TIME, both).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Says that what follows goes another way, and closes this one.
pub(super) async fn leave<W: AsyncWrite + Unpin>(old: &mut W) -> io::Result<()> {
    old.write_all(&[MARK]).await?;
    old.close().await
}

async fn say_ready<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(&[READY]).await?;
    stream.flush().await
}
