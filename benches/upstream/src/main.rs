//! The upstream of the benchmarks: TLS and HTTP/1.1, and as little else as can be, so that it is not what is measured.
//!
//! It reads a request's body whole before it answers, so that an early answer never flatters a proxy.
//! - `GET …/blob/<number>` is answered with that many bytes
//! - `PUT …/objects/…` is answered as by S3. A body in S3's signed chunks is taken out of them
//! - `GET /stat` is answered with what was counted, and is not counted itself
//! - anything else is answered with 1 KiB of JSON, which is a run of MLflow
//!
//! usage: upstream DIRECTORY, into which it writes `ca.pem`. It prints its port once it listens.

mod certificates;
mod connection;
mod signed_chunks;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs, thread};

use tokio::io::BufReader;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::TlsAcceptor;

/// More than any workload opens at once.
const BACKLOG: u32 = 4096;

/// TLS takes its records out of this, instead of asking the kernel several times for each.
const SOCKET_BUFFER: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args_os().nth(1).ok_or("usage: upstream DIRECTORY")?);
    let certificates = certificates::make()?;
    fs::write(directory.join("ca.pem"), certificates.authority_pem)?;
    let acceptor = TlsAcceptor::from(Arc::new(certificates.server));
    let workers = (0..thread::available_parallelism()?.get()).map(|_| worker()).collect::<io::Result<Vec<_>>>()?;
    runtime()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let mut output = io::stdout();
        writeln!(output, "{}", listener.local_addr()?.port())?;
        output.flush()?;
        // In turn, since the kernel's choice among several listeners may give most connections to one of them.
        for worker in workers.iter().cycle() {
            let (tcp, _) = listener.accept().await?;
            let tcp = tcp.into_std()?;
            let acceptor = acceptor.clone();
            worker.spawn(async move {
                // A hang-up is the proxy's affair, and what was lost by it is missing from the counters.
                let _ = serve(tcp, acceptor).await;
            });
        }
        Ok(())
    })
}

async fn serve(tcp: std::net::TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
    let tcp = TcpStream::from_std(tcp)?;
    tcp.set_nodelay(true)?;
    connection::serve(acceptor.accept(BufReader::with_capacity(SOCKET_BUFFER, tcp)).await?).await
}

/// A thread that serves the connections that are given to it; they never move to another.
fn worker() -> io::Result<Handle> {
    let runtime = runtime()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}
