//! A server of links in memory.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use wireframe::{
    Clock, Environment, PushHandle, Transport, WireframeApp,
    server::{self, Accepted, ConnectionLimits, Listener, ServerHandle, ShutdownReport},
    testing::{Link, Simulation, Spawned, link},
};

use crate::rig::{Line, Text, lines};

/// Connections on their way to a server.
#[derive(Clone, Default)]
struct Coming(Arc<Mutex<Queue>>);

/// Connections, and who waits for one.
type Queue = (VecDeque<Accepted<Link>>, Option<Waker>);

/// Takes them, and puts something over each.
struct Door<W> {
    coming: Coming,
    over: W,
}

impl<T, W> Listener for Door<W>
where
    T: Transport + 'static,
    W: FnMut(Link, Option<SocketAddr>) -> T + Send,
{
    type Transport = T;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<T>>> {
        let mut coming = self.coming.0.lock().unwrap();
        match coming.0.pop_front() {
            Some((link, address)) => Poll::Ready(Ok(((self.over)(link, address), address))),
            None => {
                coming.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A server of the text protocol under way.
pub(crate) struct Serving {
    pub(crate) simulation: Simulation,
    coming: Coming,
    pub(crate) handle: ServerHandle,
    pub(crate) served: Spawned<ShutdownReport>,
    pushes: Arc<Mutex<Vec<PushHandle<Line>>>>,
}

impl Serving {
    pub(crate) fn new(app: WireframeApp<Text>) -> Self {
        Self::limited(app, ConnectionLimits::default())
    }

    pub(crate) fn limited(app: WireframeApp<Text>, limits: ConnectionLimits) -> Self {
        Self::over(app, limits, |link, _| link)
    }

    /// Serves by a clock of its own.
    pub(crate) fn timed(
        app: WireframeApp<Text>,
        clock: impl FnOnce(Simulation, ServerHandle) -> Clock,
    ) -> Self {
        let limits = ConnectionLimits::default();
        let within = |simulation: &Simulation, handle: &ServerHandle| Environment {
            clock: clock(simulation.clone(), handle.clone()),
            ..simulation.environment()
        };
        Self::within(app, limits, |link, _| link, within)
    }

    /// Serves over what is made of each connection.
    pub(crate) fn over<T: Transport + 'static>(
        app: WireframeApp<Text>,
        limits: ConnectionLimits,
        over: impl FnMut(Link, Option<SocketAddr>) -> T + Send + 'static,
    ) -> Self {
        Self::within(app, limits, over, |simulation, _| simulation.environment())
    }

    /// The same within another environment.
    pub(crate) fn within<T: Transport + 'static>(
        app: WireframeApp<Text>,
        limits: ConnectionLimits,
        over: impl FnMut(Link, Option<SocketAddr>) -> T + Send + 'static,
        environment: impl FnOnce(&Simulation, &ServerHandle) -> Environment,
    ) -> Self {
        let (simulation, coming) = (Simulation::new(), Coming::default());
        let (handle, pushes) = (ServerHandle::default(), Arc::<Mutex<Vec<_>>>::default());
        let handles = Arc::clone(&pushes);
        let app = app.on_connect(move |push: PushHandle<Line>| {
            handles.lock().unwrap().push(push);
        });
        let environment = environment(&simulation, &handle);
        let door = Door {
            coming: coming.clone(),
            over,
        };
        let serve = server::serve(door, app, environment, handle.clone(), limits);
        let served = simulation.spawn(async move { serve.await.unwrap() });
        simulation.run();
        Self {
            simulation,
            coming,
            handle,
            served,
            pushes,
        }
    }

    pub(crate) fn connect(&self, capacity: usize) -> Link {
        self.connect_from(None, capacity)
    }

    /// Connects from that address.
    pub(crate) fn connect_from(&self, address: Option<IpAddr>, capacity: usize) -> Link {
        let (near, far) = link(capacity);
        let address = address.map(|address| (address, 1).into());
        let mut coming = self.coming.0.lock().unwrap();
        coming.0.push_back((near, address));
        let waker = coming.1.take();
        drop(coming);
        waker.into_iter().for_each(Waker::wake);
        self.simulation.run();
        far
    }

    pub(crate) fn push(&self, connection: usize) -> PushHandle<Line> {
        self.pushes.lock().unwrap()[connection].clone()
    }

    /// Connections drained and aborted, and pushes undelivered.
    #[track_caller]
    pub(crate) fn report(&self) -> (usize, usize, u64) {
        let report = self.served.take().expect("the server goes on");
        assert_eq!(self.handle.connections(), 0);
        (report.drained, report.aborted, report.undelivered)
    }
}

/// What the server has sent, letting it go on until there is nothing more.
pub(crate) fn heard(peer: &mut Link, simulation: &Simulation) -> Vec<String> {
    let mut bytes = Vec::new();
    loop {
        simulation.run();
        let more = peer.receive();
        if more.is_empty() {
            return lines(&bytes);
        }
        bytes.extend(more);
    }
}
