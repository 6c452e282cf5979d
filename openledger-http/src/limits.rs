//! What a server bears.

use std::time::Duration;

/// What a server bears of its clients.
///
/// Memory is at most `connections` times (`head` and what the answers hold), whatever clients send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections served at once; more wait until one ends.
    pub connections: usize,
    /// Bytes of a request's head, at least 8,192.
    pub head: usize,
    /// Headers of a request.
    pub headers: usize,
    /// How long a connection may be open without a whole head having come: on its first request, and
    /// between two.
    pub head_time: Duration,
    /// How long a client may take no byte of an answer.
    pub write_time: Duration,
    /// How long answers under way are waited for at the end.
    pub drain_time: Duration,
}

impl Default for Limits {
    /// 256 connections; heads of 64 KiB and 100 headers within ten seconds; thirty seconds for a
    /// client that does not read, ten at the end.
    fn default() -> Self {
        Self {
            connections: 256,
            head: 64 << 10,
            headers: 100,
            head_time: Duration::from_secs(10),
            write_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Returns this with another number of connections, at least one.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Returns this with other limits on heads: bytes, at least 8,192, and headers.
    #[must_use]
    pub fn with_head(mut self, bytes: usize, headers: usize) -> Self {
        (self.head, self.headers) = (bytes.max(8192), headers);
        self
    }

    /// Returns this with another time for heads.
    #[must_use]
    pub const fn with_head_time(mut self, head_time: Duration) -> Self {
        self.head_time = head_time;
        self
    }

    /// Returns this with another time for clients that do not read.
    #[must_use]
    pub const fn with_write_time(mut self, write_time: Duration) -> Self {
        self.write_time = write_time;
        self
    }

    /// Returns this with another time for the answers under way at the end.
    #[must_use]
    pub const fn with_drain_time(mut self, drain_time: Duration) -> Self {
        self.drain_time = drain_time;
        self
    }
}
