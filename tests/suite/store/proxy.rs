//! A way to a server that breaks when a test wants it to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It reaches the server, and the answer its caller.
    Answered,
    /// It reaches the server, and the answer is lost.
    Unanswered,
    /// It is lost.
    Unheard,
}

/// A proxy that lives as long as the tests do.
pub(crate) struct Proxy {
    port: u16,
}

impl Proxy {
    /// Passes requests on to the server at a URL. `decides` is asked for each with its text, parameters included.
    pub(crate) fn start(url: &str, decides: impl Fn(&str) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = url.trim_start_matches("http://").to_owned();
        let decides = Arc::new(decides);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (address, decides) = (address.clone(), Arc::clone(&decides));
                // Whoever goes away ends their connection.
                std::thread::spawn(move || drop(serve(stream, &address, &*decides)));
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn serve(mut stream: TcpStream, address: &str, decides: &(dyn Fn(&str) -> Fate + Sync)) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    loop {
        let request = message(&mut requests)?;
        if request.is_empty() {
            return Ok(());
        }
        let fate = decides(&String::from_utf8_lossy(&request));
        if fate == Fate::Unheard {
            return Ok(());
        }
        let mut server = TcpStream::connect(address)?;
        server.write_all(&request)?;
        let answer = message(&mut BufReader::new(server))?;
        if fate == Fate::Unanswered {
            return Ok(());
        }
        stream.write_all(&answer)?;
    }
}

/// A request or an answer, whole; empty at the end.
fn message(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let line = line(from, &mut bytes)?.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        if line.trim().is_empty() {
            break;
        }
    }
    while chunked {
        let size = usize::from_str_radix(line(from, &mut bytes)?.trim(), 16).map_err(std::io::Error::other)?;
        take(from, size + 2, &mut bytes)?;
        chunked = size > 0;
    }
    take(from, length, &mut bytes)?;
    Ok(bytes)
}

fn line(from: &mut impl BufRead, bytes: &mut Vec<u8>) -> std::io::Result<String> {
    let start = bytes.len();
    from.read_until(b'\n', bytes)?;
    Ok(String::from_utf8_lossy(&bytes[start..]).into_owned())
}

fn take(from: &mut impl BufRead, length: usize, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let start = bytes.len();
    bytes.resize(start + length, 0);
    from.read_exact(&mut bytes[start..])
}
