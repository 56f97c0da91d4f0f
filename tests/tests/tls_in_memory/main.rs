//! TLS over links in memory, on virtual time: what takes long, goes wrong, or goes nowhere.

mod cut_off;
mod flaws;
mod handshakes;
mod stalls;

use std::{
    io::{self, IoSlice},
    num::NonZeroUsize,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use wireframe::{
    Config, MemoryBudget, Transport, WireframeApp,
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle, ShutdownReport},
    testing::{Link, Simulation, Spawned, link},
    tls::{Tls, TlsAcceptor, TlsConnector},
};
use wireframe_tests::{Authority, Lines};

/// Connections on their way to a server.
struct Coming(Vec<Tls<Link>>);

impl Listener for Coming {
    type Transport = Tls<Link>;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted<Tls<Link>>>> {
        self.0
            .pop()
            .map_or(Poll::Pending, |stream| Poll::Ready(Ok((stream, None))))
    }
}

/// As many bytes as were asked for.
async fn answer(asked: Bytes) -> String {
    let asked = str::from_utf8(&asked).expect("text");
    let len = asked.trim_start_matches('1').trim().parse();
    "x".repeat(len.expect("a number"))
}

/// A server of lines.
struct Serving {
    simulation: Simulation,
    handle: ServerHandle,
    protocol: Lines,
    budget: MemoryBudget,
    served: Spawned<ShutdownReport>,
}

impl Serving {
    /// Serves so many peers, over links of so many bytes.
    fn start(tls: &TlsAcceptor, peers: usize, capacity: usize) -> (Self, Vec<Link>) {
        let config = Config::default();
        Self::start_with(NonZeroUsize::MAX, config, tls, peers, capacity)
    }

    /// The same within so many bytes of memory, as configured.
    fn start_with(
        memory: NonZeroUsize,
        config: Config,
        tls: &TlsAcceptor,
        peers: usize,
        capacity: usize,
    ) -> (Self, Vec<Link>) {
        let (simulation, handle) = (Simulation::new(), ServerHandle::default());
        let (protocol, budget) = (Lines::new(), MemoryBudget::new(memory));
        let app = WireframeApp::with_protocol(protocol.clone())
            .config(config)
            .memory_budget(&budget)
            .route(1, answer);
        let links = (0..peers).map(|_| link(capacity));
        let (near, far): (Vec<_>, _) = links.unzip();
        let near = near.into_iter().map(|near| tls.accept(near));
        let coming = Coming(near.collect::<Result<_, _>>().expect("fit for use"));
        let limits = ConnectionLimits::default();
        let serving = server::serve(
            coming,
            app,
            simulation.environment(),
            handle.clone(),
            limits,
        );
        let served = simulation.spawn(async { serving.await.expect("fit to serve") });
        simulation.run();
        let serving = Self {
            simulation,
            handle,
            protocol,
            budget,
            served,
        };
        (serving, far)
    }

    /// Why connections have ended, oldest first.
    fn ends(&self) -> Vec<String> {
        let notes = self.protocol.notes.all().into_iter();
        notes
            .filter_map(|note| note.strip_prefix("disconnect ").map(str::to_owned))
            .collect()
    }

    /// Shuts it down, and expects that nothing is left.
    fn end(self) {
        self.handle.shutdown();
        self.simulation.run();
        assert!(self.served.is_done());
        assert_eq!(self.handle.connections(), 0);
        assert_eq!(self.budget.used(), 0);
    }
}

/// A client that is worked by hand.
struct Peer {
    simulation: Simulation,
    stream: Tls<Link>,
}

impl Peer {
    /// Shakes hands, and hears the greeting.
    fn greeted(serving: &Serving, authority: &Authority, link: Link) -> Self {
        Self::greeted_by(&serving.simulation, &authority.connector(None), link)
    }

    fn greeted_by(simulation: &Simulation, tls: &TlsConnector, link: Link) -> Self {
        let stream = tls.connect(link);
        let mut peer = Self {
            simulation: simulation.clone(),
            stream: stream.expect("fit for use"),
        };
        peer.goes_on(Tls::poll_prepare);
        assert_eq!(peer.take(9), b"\0\0\0\x05hello");
        peer
    }

    /// Does something, and lets others go on when it does not get further.
    fn goes_on<T>(
        &mut self,
        mut work: impl FnMut(&mut Tls<Link>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> T {
        for _ in 0..10_000 {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(done) = work(&mut self.stream, &mut cx) {
                return done.expect("the server is there");
            }
            self.simulation.run();
        }
        panic!("it does not go on");
    }

    /// Sends bytes, if there is room for them.
    fn send(&mut self, bytes: &[u8]) {
        let sent = self.goes_on(|stream, cx| stream.poll_write(cx, &[IoSlice::new(bytes)]));
        assert_eq!(sent, bytes.len());
        self.simulation.run();
    }

    /// Takes what the link holds, which need not be a whole record.
    fn takes_what_is_there(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut some = BytesMut::with_capacity(1);
        let read = self.stream.poll_read(&mut cx, &mut some);
        assert!(read.is_pending(), "{read:?}");
        self.simulation.run();
    }

    /// Takes exactly so many bytes.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let mut some = BytesMut::with_capacity(len - all.len());
            let read = self.goes_on(|stream, cx| stream.poll_read(cx, &mut some));
            assert_ne!(read, 0, "the end after {} of {len} bytes", all.len());
            all.extend_from_slice(&some);
        }
        all
    }
}
