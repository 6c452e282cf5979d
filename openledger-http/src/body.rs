//! Bodies of requests.

use std::{error::Error as StdError, time::Duration};

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::BodyExt;
use openledger_core::{Error, ErrorKind, Result};

/// Reads a body of at most `limit` bytes that comes within `time`, holding no more than came.
///
/// # Errors
/// [`ErrorKind::Limit`] as soon as it says it is longer, or is; [`ErrorKind::Unavailable`] if it does
/// not come in time or breaks off.
pub async fn read<B>(body: B, limit: usize, time: Duration) -> Result<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let late = |_| {
        let seconds = time.as_secs_f32();
        Error::new(ErrorKind::Unavailable, format!("the body did not come within {seconds} s"))
    };
    tokio::time::timeout(time, whole(body, limit)).await.map_err(late)?
}

async fn whole<B>(body: B, limit: usize) -> Result<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let over = || Error::new(ErrorKind::Limit, format!("a body of more than {limit} bytes"));
    if body.size_hint().lower() > limit as u64 {
        return Err(over());
    }
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken =
            |e: B::Error| Error::new(ErrorKind::Unavailable, "the body broke off").with_source(e);
        if let Ok(mut data) = frame.map_err(broken)?.into_data() {
            if data.remaining() > limit - bytes.len() {
                return Err(over());
            }
            while data.has_remaining() {
                let part = data.chunk();
                bytes.extend_from_slice(part);
                let read = part.len();
                data.advance(read);
            }
        }
    }
    Ok(bytes.into())
}
