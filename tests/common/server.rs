//! A web server on loopback that does what a test tells it to: ranges, refusals, redirects, lies.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// The whole target: path and query, or what a proxy is given.
    pub target: String,
    pub headers: HashMap<String, String>,
}

impl Asked {
    /// The path in front of the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The bytes that are asked for; of an open end up to `length`.
    pub fn range(&self, length: u64) -> Option<Range<u64>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse().map_or(length, |last: u64| last + 1);
        Some(first.parse().unwrap()..last.min(length))
    }
}

/// What the server does with the connection behind the headers.
pub enum Body {
    Bytes(Vec<u8>),
    /// So many zeros, or what the function says of each place.
    Made(Range<u64>, fn(u64) -> u8),
    /// Some bytes, then the connection is closed.
    Broken(Vec<u8>),
    /// Chunks without an end.
    Endless,
    /// Some bytes, then nothing while the client stays.
    Silent(Vec<u8>),
    /// A byte now and then.
    Drip(Vec<u8>, Duration),
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    /// Where the length is not that of the body.
    pub length: Option<u64>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Bytes(body.into()), length: None }
    }

    pub fn json(value: &serde_json::Value) -> Reply {
        Reply::new(200, value.to_string()).with("Content-Type", "application/json")
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn redirect(to: impl ToString) -> Reply {
        Reply::new(302, "").with("Location", to)
    }

    pub fn missing() -> Reply {
        Reply::new(404, "not found")
    }

    /// What a sound server answers for a file, in parts where parts are asked for.
    pub fn file(asked: &Asked, content: &[u8], tag: &str) -> Reply {
        let length = content.len() as u64;
        let is_this = asked.header("if-range").is_none_or(|wanted| wanted == tag);
        match asked.range(length).filter(|_| is_this) {
            Some(range) if range.start < range.end => {
                let part = content[range.start as usize..range.end as usize].to_vec();
                Reply::new(206, part).of(&range, length).with("ETag", tag)
            }
            Some(_) => Reply::new(416, "").with("Content-Range", format!("bytes */{length}")),
            None => Reply::new(200, content).with("ETag", tag),
        }
    }

    /// The same of a file of any length: `head`, then bytes by their places.
    pub fn long_file(asked: &Asked, head: &[u8], length: u64, tag: &str) -> Reply {
        let range = asked.range(length).expect("a long file is asked for in parts");
        let mut bytes: Vec<u8> = head.get(range.start as usize..).unwrap_or_default().to_vec();
        bytes.resize(usize::try_from(range.end - range.start).unwrap(), 0);
        Reply::new(206, bytes).of(&range, length).with("ETag", tag)
    }

    fn of(self, range: &Range<u64>, length: u64) -> Reply {
        self.with("Content-Range", format!("bytes {}-{}/{length}", range.start, range.end - 1))
    }
}

/// The server; it ends with the test.
pub struct Server {
    pub address: SocketAddr,
    encrypted: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Bytes of bodies.
    sent: Arc<Mutex<u64>>,
    over: Arc<AtomicBool>,
}

impl Server {
    /// A server that answers by this function.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        Server::speaking(None, answer)
    }

    /// The same, encrypted, for whoever trusts tests/fixtures/tls/authority.pem.
    pub fn encrypted(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        Server::speaking(Some(Arc::new(tls())), answer)
    }

    fn speaking(tls: Option<Arc<ServerConfig>>, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, sent, over) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<Mutex<u64>>::default(), Arc::default());
        let encrypted = tls.is_some();
        let server =
            Server { address, encrypted, asked: Arc::clone(&asked), sent: Arc::clone(&sent), over: Arc::clone(&over) };
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let (answer, asked, sent) = (Arc::clone(&answer), Arc::clone(&asked), Arc::clone(&sent));
                let tls = tls.clone();
                thread::spawn(move || match tls.map(|tls| ServerConnection::new(tls).unwrap()) {
                    None => serve(stream, answer.as_ref(), &asked, &sent),
                    Some(tls) => serve(StreamOwned::new(tls, stream), answer.as_ref(), &asked, &sent),
                });
            }
        });
        server
    }

    /// The address of a path: `http://127.0.0.1:…/path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.encrypted { "https" } else { "http" }, self.address)
    }

    /// What it was asked since the last time.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Bytes that it has sent since the last time.
    pub fn take_sent(&self) -> u64 {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// What a server of the fixtures is known by.
fn tls() -> ServerConfig {
    let file = |name: &str| Path::new("tests/fixtures/tls").join(name);
    let certificates = CertificateDer::pem_file_iter(file("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap()
}

/// A connection, plain or encrypted.
trait Wire: Read + Write {
    /// The plain one that it is.
    fn plain(&self) -> Option<TcpStream>;

    fn close(&mut self);
}

impl Wire for TcpStream {
    fn plain(&self) -> Option<TcpStream> {
        self.try_clone().ok()
    }

    fn close(&mut self) {
        let _ = self.shutdown(std::net::Shutdown::Both);
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn plain(&self) -> Option<TcpStream> {
        None
    }

    fn close(&mut self) {
        self.sock.close();
    }
}

/// Answer requests on a connection until it is closed.
fn serve(stream: impl Wire, answer: &dyn Fn(&Asked) -> Reply, log: &Mutex<Vec<Asked>>, sent: &Mutex<u64>) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        log.lock().unwrap().push(asked.clone());
        if asked.method == "CONNECT" {
            let plain = reader.get_ref().plain().unwrap();
            return tunnel(&plain, reader, &asked.target);
        }
        let reply = answer(&asked);
        if write(reader.get_mut(), &asked, reply, sent).is_none() {
            return reader.get_mut().close();
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Asked { method, target, headers })
}

/// Write an answer; `None` where the connection is of no more use.
fn write(stream: &mut impl Wire, asked: &Asked, reply: Reply, sent: &Mutex<u64>) -> Option<()> {
    let length = reply.length.or(match &reply.body {
        Body::Bytes(bytes) | Body::Silent(bytes) | Body::Drip(bytes, _) => Some(bytes.len() as u64),
        Body::Made(range, _) => Some(range.end - range.start),
        Body::Broken(bytes) => Some(bytes.len() as u64 + 1),
        Body::Endless => None,
    });
    let mut head = format!("HTTP/1.1 {} Said\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(length) => head.push_str(&format!("Content-Length: {length}\r\n\r\n")),
        None => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
    }
    stream.write_all(head.as_bytes()).ok()?;
    stream.flush().ok()?;
    if asked.method == "HEAD" {
        return Some(());
    }
    let mut send = |bytes: &[u8]| {
        let done = stream.write_all(bytes).and_then(|()| stream.flush()).ok();
        *sent.lock().unwrap() += bytes.len() as u64;
        done
    };
    match reply.body {
        Body::Bytes(bytes) => send(&bytes),
        Body::Made(range, of) => {
            let bytes: Vec<u8> = range.map(of).collect();
            send(&bytes)
        }
        Body::Broken(bytes) => {
            send(&bytes)?;
            None
        }
        Body::Endless => loop {
            send(format!("10000\r\n{}\r\n", "x".repeat(0x10000)).as_bytes())?;
        },
        Body::Silent(bytes) => {
            send(&bytes)?;
            // Until the client has gone.
            let _ = stream.read(&mut [0; 1]);
            None
        }
        Body::Drip(bytes, pause) => {
            for byte in bytes {
                send(&[byte])?;
                thread::sleep(pause);
            }
            Some(())
        }
    }
}

/// Be a proxy between two ends.
fn tunnel(stream: &TcpStream, mut reader: BufReader<impl Wire>, target: &str) {
    let Ok(mut other) = TcpStream::connect(target) else { return };
    let mut to_client = stream.try_clone().unwrap();
    to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let mut from_server = other.try_clone().unwrap();
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
    });
    let _ = std::io::copy(&mut reader, &mut other);
}
