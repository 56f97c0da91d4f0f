//! The limit: a server that does nothing but these four routes. One read and one write
//! per batch, no queues, no runtime, one thread. Nothing on this wire can be much faster,
//! so the other servers are measured against it.

mod connection;

use std::io;
use std::time::Duration;

use clap::Parser;
use connection::{Connection, Turn};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use wireframe_benches::limits::raise_open_files;
use wireframe_benches::server::{ServerOptions, announce_ready};

const LISTENER: Token = Token(usize::MAX);

#[derive(Debug, Parser)]
#[command(about = "Echo, push, broadcast and stream with one read and one write per batch")]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
}

fn main() -> io::Result<()> {
    let Options { server: options } = Options::parse();
    if options.threads.get() != 1 {
        return Err(io::Error::other(
            "the limit server has one thread, leave --threads out",
        ));
    }
    raise_open_files();
    let mut server = Server::bind(&options)?;
    announce_ready()?;
    server.serve()
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    /// The index of a connection is its token.
    connections: Vec<Option<Connection>>,
    /// Connections that wait for a broadcast to have enough of them.
    joined: Vec<usize>,
    /// What goes out in one write; shared, since no connection needs it between turns.
    batch: Vec<u8>,
    max_frame: usize,
}

impl Server {
    fn bind(options: &ServerOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(options.address())?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: Vec::new(),
            joined: Vec::new(),
            batch: Vec::new(),
            max_frame: options.max_frame,
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None::<Duration>) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => {
                        if let Some(Some(connection)) = self.connections.get_mut(index) {
                            connection.note(event);
                        }
                        self.advance(index);
                    }
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.vacancy();
            self.poll.registry().register(
                &mut stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            if let Some(slot) = self.connections.get_mut(index) {
                *slot = Some(Connection::new(stream, self.max_frame));
            }
        }
    }

    fn vacancy(&mut self) -> usize {
        let vacant = self.connections.iter().position(Option::is_none);
        vacant.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        })
    }

    fn advance(&mut self, index: usize) {
        let Some(slot) = self.connections.get_mut(index) else {
            return;
        };
        let Some(connection) = slot else {
            return;
        };
        match connection.advance(&mut self.batch) {
            Ok(Turn::Waits) => {}
            Ok(Turn::Joined { conns }) => {
                self.joined.push(index);
                if self.joined.len() >= conns as usize {
                    self.broadcast();
                }
            }
            // An error is a client that left or broke the wire; either ends the connection.
            Ok(Turn::Closed) | Err(_) => {
                *slot = None;
                self.joined.retain(|joined| *joined != index);
            }
        }
    }

    fn broadcast(&mut self) {
        for index in std::mem::take(&mut self.joined) {
            if let Some(Some(connection)) = self.connections.get_mut(index) {
                connection.start_broadcast();
            }
            self.advance(index);
        }
    }
}
