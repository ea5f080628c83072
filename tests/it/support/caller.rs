//! A caller that sends exactly the given bytes, and reads responses strictly.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Message, PATIENCE};

/// A connection to the appliance.
pub struct Caller {
    socket: TcpStream,
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// TCP, or TLS over it.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message for Answer {
    fn fields(&self) -> &[(String, String)] {
        &self.headers
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Caller {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket: stream.try_clone().unwrap(), stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Connects and speaks TLS.
    pub fn connect_with_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self::over(Self::connect(address).socket, config)
    }

    /// Speaks TLS on a connection.
    pub fn over(socket: TcpStream, config: Arc<ClientConfig>) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let stream = StreamOwned::new(session, socket.try_clone().unwrap());
        Self { socket, stream: Box::new(stream), buffer: Vec::new() }
    }

    /// The same connection, to send on while answers are read. Not over TLS.
    pub fn another(&self) -> Self {
        let copy = || self.socket.try_clone().unwrap();
        Self { socket: copy(), stream: Box::new(copy()), buffer: Vec::new() }
    }

    /// Waits for another time than usual for each piece of an answer.
    pub fn wait_for(&mut self, time: Duration) {
        self.socket.set_read_timeout(Some(time)).unwrap();
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Sends a request without a body and reads the answer.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, &[], None)
    }

    /// Sends a request, its body with a length, and reads the answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost:5000\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body.unwrap_or_default());
        self.send(bytes).expect("sent");
        self.answer(method == "HEAD").expect("an answer")
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> io::Result<Answer> {
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at;
                }
                self.fill()?;
            };
            let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head[..end]).into_owned();
            let mut lines = head.split("\r\n");
            let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
            let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {head}")))?;
            let headers = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect();
            if status != 100 {
                return Ok(Answer { status, headers, body: Vec::new() });
            }
        }
    }

    /// Reads a whole answer. `bodiless` says that it is one to `HEAD`.
    pub fn answer(&mut self, bodiless: bool) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if bodiless || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        if answer.all("transfer-encoding") == ["chunked"] {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = answer.all("content-length").first() {
            let length = length.parse().map_err(io::Error::other)?;
            answer.body = self.exactly(length)?;
        } else {
            answer.body = self.rest()?;
        }
        Ok(answer)
    }

    /// Reads the next chunk of a chunked body; nothing at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            self.fill()?;
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
        let size = usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).map_err(io::Error::other)?;
        let chunk = self.exactly(size)?;
        self.exactly(2)?;
        Ok((size > 0).then_some(chunk))
    }

    /// Everything until the connection ends.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            size => {
                self.buffer.extend_from_slice(&piece[..size]);
                Ok(())
            }
        }
    }
}
