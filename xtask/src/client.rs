//! HTTP on a socket, one request a connection: a client that can also leave, and read slowly.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::shell::Result;

/// For how long nothing may come.
const SILENCE: Duration = Duration::from_secs(300);
/// The longest line of a head or of a stream of events.
const LINE: u64 = 1 << 20;

/// An answer, of which the head was read.
pub(crate) struct Answer {
    status: u16,
    body: BufReader<Body>,
}

/// What follows the head.
struct Body {
    from: BufReader<TcpStream>,
    left: Left,
}

/// How much of a body is still to come.
enum Left {
    /// So many bytes.
    Bytes(u64),
    /// So many bytes of a chunk, and then other chunks.
    Chunk(u64),
    /// Whatever comes before the connection ends.
    Rest,
}

/// Sends JSON to a path and reads the head of the answer.
///
/// # Errors
/// If there is no connection, or no answer in HTTP.
pub(crate) fn post(server: SocketAddr, path: &str, body: &Value) -> Result<Answer> {
    send(server, "POST", path, None, body.to_string().as_bytes())
}

/// Sends bytes to a path, with a key or without, and reads the head of the answer.
///
/// # Errors
/// As [`post`].
pub(crate) fn send(
    server: SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &[u8],
) -> Result<Answer> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.set_write_timeout(Some(SILENCE))?;
    // A server that refuses a body may answer before it has read all of it.
    let sent = socket.write_all(&request(server, method, path, key, body));
    match Answer::read(BufReader::new(socket)) {
        Ok(answer) => Ok(answer),
        Err(e) => Err(sent.err().map_or(e, Into::into)),
    }
}

/// Sends JSON to a path and leaves before an answer.
///
/// # Errors
/// If there is no connection.
pub(crate) fn leave(server: SocketAddr, path: &str, body: &Value) -> Result {
    let mut socket = TcpStream::connect(server)?;
    Ok(socket.write_all(&request(server, "POST", path, None, body.to_string().as_bytes()))?)
}

fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &[u8],
) -> Vec<u8> {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n{key}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Answer {
    fn read(mut from: BufReader<TcpStream>) -> Result<Self> {
        let first = line(&mut from)?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.ok_or_else(|| format!("no answer in HTTP: `{first}`"))?.parse()?;
        let mut left = Left::Rest;
        loop {
            let field = line(&mut from)?.to_ascii_lowercase();
            match field.split_once(':').map(|(name, value)| (name, value.trim())) {
                None => break,
                Some(("content-length", length)) => left = Left::Bytes(length.parse()?),
                Some(("transfer-encoding", "chunked")) => left = Left::Chunk(0),
                Some(_) => {}
            }
        }
        Ok(Self { status, body: BufReader::new(Body { from, left }) })
    }

    /// Returns the status.
    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// If it ends too early.
    pub(crate) fn text(mut self) -> Result<String> {
        let mut text = String::new();
        self.body.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Reads the whole body as JSON.
    ///
    /// # Errors
    /// If it ends too early, is not JSON, or the status is not 200.
    pub(crate) fn json(self) -> Result<Value> {
        let status = self.status;
        let text = self.text()?;
        match status {
            200 => Ok(serde_json::from_str(&text)?),
            _ => Err(format!("{status}: {text}").into()),
        }
    }

    /// Reads the next event of a stream; none after `[DONE]`.
    ///
    /// # Errors
    /// If the stream ends without `[DONE]`, or an event is not JSON.
    pub(crate) fn event(&mut self) -> Result<Option<Value>> {
        loop {
            let mut line = String::new();
            if (&mut self.body).take(LINE).read_line(&mut line)? == 0 {
                return Err("the stream ended before it said so".into());
            }
            match line.trim_end().strip_prefix("data: ") {
                Some("[DONE]") => return Ok(None),
                Some(event) => return Ok(Some(serde_json::from_str(event)?)),
                None => {}
            }
        }
    }
}

impl Read for Body {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if matches!(self.left, Left::Chunk(0)) {
            let size = line(&mut self.from)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(size, 16).map_err(|_| malformed("no size of a chunk"))?;
            self.left = match size {
                0 => Left::Bytes(0),
                size => Left::Chunk(size),
            };
        }
        let most = match &self.left {
            Left::Bytes(left) | Left::Chunk(left) => to.len().min(*left as usize),
            Left::Rest => to.len(),
        };
        if most == 0 {
            return Ok(0);
        }
        let read = self.from.read(&mut to[..most])?;
        if let Left::Bytes(left) | Left::Chunk(left) = &mut self.left {
            *left -= read as u64;
            if read == 0 {
                return Err(malformed("the body ends too early"));
            }
        }
        if matches!(self.left, Left::Chunk(0)) {
            line(&mut self.from)?;
        }
        Ok(read)
    }
}

fn line(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    from.take(LINE).read_line(&mut line)?;
    match line.pop() {
        Some('\n') => Ok(line.trim_end().to_owned()),
        _ => Err(malformed("the connection ended")),
    }
}

fn malformed(says: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, says)
}
