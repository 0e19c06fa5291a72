//! A TCP proxy that spoils connections on demand: delayed, silent, cut, refused.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// They pass at once.
    Passes,
    /// Each arrives so much later, in both directions; as many pass per second as before.
    Delayed(Duration),
    /// Nothing arrives any more, and nobody is told: connections stay open, new ones are taken. What was sent meanwhile
    /// arrives when the traffic passes again.
    Silent,
    /// Connections are closed, new ones at once.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct Weather {
    traffic: Traffic,
    /// Raised by each cut; a connection of an older number ends.
    cuts: u64,
}

/// Stands before one server on a port of its own; ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    open: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// `target`: `HOST:PORT`.
    pub async fn start(target: impl Into<String>) -> anyhow::Result<Self> {
        let target: Arc<str> = target.into().into();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (weather, forecast) = watch::channel(Weather { traffic: Traffic::Passes, cuts: 0 });
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, weather, count) = (Arc::clone(&target), forecast.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::Relaxed);
                    connection(client, &target, weather).await;
                    count.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { address, weather, open, listening })
    }

    /// Stands before the server of a URL with a host and a port; answers itself and the URL that leads through it.
    pub async fn before(url: &str) -> anyhow::Result<(Self, String)> {
        let (place, rest) = url.split_once("://").ok_or_else(|| anyhow::anyhow!("`{url}` is no URL"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (format!("{login}@"), host),
            None => (String::new(), authority),
        };
        let proxy = Self::start(host).await?;
        let through = format!("{place}://{login}{}{path}", proxy.address);
        Ok((proxy, through))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for connections that are open and for new ones.
    pub fn set(&self, traffic: Traffic) {
        self.weather.send_modify(|weather| weather.traffic = traffic);
    }

    /// Ends all present connections; new ones are taken.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.set(Traffic::Refused);
    }
}

async fn connection(client: TcpStream, target: &str, mut weather: watch::Receiver<Weather>) {
    let cuts = weather.borrow().cuts;
    let mut forecast = weather.clone();
    let ended = forecast.wait_for(|now| now.cuts != cuts || now.traffic == Traffic::Refused);
    let carried = async {
        passable(&mut weather).await;
        let Ok(server) = TcpStream::connect(target).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(carry(from_client, to_server, weather.clone()), carry(from_server, to_client, weather.clone()));
    };
    // Whatever comes first; dropping the sockets closes them.
    tokio::select! {
        _ = ended => {}
        () = carried => {}
    }
}

/// Waits while nothing passes; answers how late what was received now has to arrive.
async fn passable(weather: &mut watch::Receiver<Weather>) -> Duration {
    match weather.wait_for(|now| now.traffic != Traffic::Silent).await.map(|now| now.traffic) {
        Ok(Traffic::Delayed(delay)) => delay,
        _ => Duration::ZERO,
    }
}

/// One direction. What is read waits in a queue until its time, so that a delay does not add up over the pieces.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let delays = weather.clone();
    let reading = async move {
        let mut buffer = vec![0; 16 * 1_024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let delay = match delays.borrow().traffic {
                Traffic::Delayed(delay) => delay,
                _ => Duration::ZERO,
            };
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            passable(&mut weather).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
