//! The future that runs one connection.

mod at_work;
mod burial;
mod conversations;
mod deadlines;
mod failures;
mod feeds;
mod hosted;
mod io;
mod making;
mod measure;
mod memory;
mod peer_pushes;
mod pool;
mod presence;
mod serve;
mod spans;
mod task;
mod task_set;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use tracing::Span;
use wireframe_proto::{CloseReason, Connection, Instant, Priority, Shutdown, State};

use self::{at_work::AtWork, conversations::Conversations, hosted::Hosted};
use crate::{
    app::{Shared, Surroundings},
    backlog::Backlog,
    budget::Holding,
    client::Caller,
    clock::Clock,
    frame::Protocol,
    meter::Meter,
    push::{Asked, Batch, Buried, Command, DeadLetterReason, Mailbox, PushHandle, Settled},
    rt::Sleep,
    sync::Arc,
    tasks::TaskTracker,
    transport::Transport,
};

/// Turns in one poll before the driver lets others run.
const TURNS: usize = 16;

/// Events taken in one turn before what they came to is written.
const EVENTS_PER_TURN: usize = 1024;

/// Runs one connection of an app over a transport, to its end.
///
/// It completes with the reason of the end, when hooks have run and everything that
/// could be sent was sent. It owns the engine and the transport; nothing of it is
/// shared but the mailbox.
///
/// # Cancel safety
///
/// Dropping it ends the connection at once: handlers and streams are dropped, hooks run,
/// what was not sent becomes dead letters, or is counted as lost.
#[must_use = "a connection does nothing unless it is polled"]
pub struct Driver<P: Protocol, T: Transport> {
    engine: Connection<Hosted<P>>,
    transport: T,
    app: Arc<Shared<P>>,
    surroundings: Surroundings<P>,
    mailbox: Arc<Mailbox<P::Frame>>,
    /// On a client: who gets replies and pushes.
    caller: Option<Box<Caller<P::Frame>>>,
    now: Instant,
    sleep: Option<(Instant, Pin<Box<dyn Sleep>>)>,
    /// For which time an alarm has last rung. Runtimes look at their sockets when they look
    /// at their timers, so what had come by then can be read.
    rung: Instant,
    /// Boxed on first use: most handlers are done at once.
    at_work: Option<Box<AtWork<P>>>,
    /// Frames that the peer pushed and whose handlers have not started, oldest first.
    /// There only while there are any.
    waiting_pushes: Option<Box<Backlog<P::Frame>>>,
    connected: bool,
    /// The peer has ended its output, and with that everything.
    peer_gone: bool,
    /// The engine stopped at its high-water mark.
    more_output: bool,
    /// The transport took less than was offered, and will wake us.
    write_blocked: bool,
    /// It does not read, because connections use too much memory, and it would use more.
    paused: bool,
    /// The transport may hold back what it has taken.
    unflushed: bool,
    /// How the connection ended.
    ended: Option<Box<CloseReason>>,
    /// What outlives the engine has ended, too.
    is_over: bool,
    /// Pushes on their way from the mailbox to the engine.
    /// Boxed on first use: most connections are never pushed to.
    batch: Option<Box<Batch<P::Frame>>>,
    /// Undelivered pushes that the dead letter queue took, not yet told to the mailbox.
    buried: Buried,
    /// What handlers say while they are at work, and read. Boxed on first use.
    conversations: Option<Box<Conversations<P::Frame>>>,
    /// What it holds of the app's budget, once it has held anything.
    holding: Option<Holding>,
    /// Around all that it does, if anybody listens. Boxed because mostly nobody does.
    span: Option<Box<Span>>,
    /// The transport takes no more, and the answers and pushes of this end have to wait.
    output_waits: bool,
    /// What it has told of the connection.
    meter: Meter,
}

/// What a driver is made from, besides its app and transport.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Tells the time.
    pub clock: Clock,
    /// Starts and tracks what handlers start.
    pub tasks: TaskTracker,
}

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Makes this the driver of a client.
    pub(crate) fn set_caller(&mut self, caller: Caller<P::Frame>) {
        self.caller = Some(Box::new(caller));
    }

    /// A handle to push to the connection.
    #[must_use]
    pub fn push_handle(&self) -> PushHandle<P::Frame> {
        self.surroundings.push.clone()
    }

    /// Calls that await their replies, as the client's side and the engine know them.
    #[cfg(test)]
    pub(crate) fn calls_pending(&self) -> (usize, usize) {
        let waiting = self.caller.as_ref().map_or(0, |caller| caller.waiting());
        (waiting, self.engine.calls_pending())
    }

    /// One round of everything: what is due, what others ask for, what has been
    /// received, what is to be sent. Says whether another round could get further.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        // What was accepted before a command was given, or a deadline came, goes first.
        let asked = self.mailbox.control().take_asked();
        self.take_pushes();
        let turn_comes_first = self.check_time(cx);
        if !asked.is_nothing() {
            self.take_orders(asked);
        }
        if let Some(caller) = &mut self.caller {
            caller.forget_given_up(&mut self.engine);
            if caller.has_room_again() {
                self.engine.hold_input(false, self.now);
            }
        }
        self.poll_woken();
        if !turn_comes_first {
            self.take_events(cx);
        }
        self.serve_connect(cx);
        // What hooks pushed, those of the setup above all, does not wait for another turn.
        self.take_pushes();
        self.produce();
        let mut progress = self.write(cx) && (self.more_output || self.has_blocked());
        self.settle();
        progress |= self.end_pushes();
        progress |= self.half_close(cx);
        progress |= self.read(cx);
        progress || self.has_work()
    }

    /// Whether the connection still serves.
    fn is_open(&self) -> bool {
        matches!(self.engine.state(), State::Active | State::Draining)
    }

    /// Whether there is anything to do that does not need the transport.
    fn has_work(&self) -> bool {
        self.has_runnable()
            || self.engine.wants().event
            || self.is_called()
            || self.may_converse()
            || self.may_start_push()
    }

    /// Does what handles have asked for, or the budget.
    fn take_orders(&mut self, asked: Asked) {
        if asked.has_heartbeat()
            && let Some(heartbeat) = self.mailbox.control().take_heartbeat()
        {
            self.engine.set_heartbeat(heartbeat, self.now);
        }
        self.heed_budget(asked);
        let how = match asked.command() {
            None => return,
            Some(Command::Abort) => Shutdown::Immediate,
            Some(Command::Close) => Shutdown::Drain {
                deadline: self.now + self.app.config.timeouts.close,
            },
        };
        self.engine.shutdown(self.now, how);
    }

    /// Moves what was pushed into the engine.
    #[inline]
    fn take_pushes(&mut self) {
        if self.mailbox.is_filled() {
            self.take_batch();
        }
    }

    fn take_batch(&mut self) {
        self.lend_write_buffer();
        let batch = self.batch.get_or_insert_default();
        self.mailbox.drain_into(batch);
        if let Some(caller) = &mut self.caller {
            let refused = caller.begin(batch, &mut self.engine);
            let reason = match self.engine.state() {
                State::Active => DeadLetterReason::CallRefused,
                _ => DeadLetterReason::ConnectionClosed,
            };
            burial::lose(&self.mailbox, refused, &reason);
        }
        let Batch { high, low, .. } = &mut **batch;
        self.engine.accept_pushes(Priority::High, high);
        self.engine.accept_pushes(Priority::Low, low);
        if !self.is_open() {
            self.lose_batch();
        }
    }

    /// Gives the slots of what was sent or dropped back.
    fn settle(&mut self) {
        self.mailbox.settle(&Settled {
            high: self.engine.take_released(Priority::High),
            low: self.engine.take_released(Priority::Low),
            buried: std::mem::take(&mut self.buried),
        });
    }

    /// Takes no more pushes, once the engine is through with everything else.
    fn end_pushes(&mut self) -> bool {
        if !self.engine.wants().end_of_pushes {
            return false;
        }
        // Calls that wait for room are refused, for a drain or for the peer's end.
        if self.engine.state() == State::Active
            && let Some(caller) = &self.caller
        {
            caller.note_end(&CloseReason::PeerClosed);
        }
        self.mailbox.close_to_new();
        self.take_pushes();
        self.engine.end_pushes();
        true
    }

    /// Takes turns until nothing more can be done without waiting.
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.mailbox.control().signal().resume();
        let was_over = self.look_at_budget();
        for _ in 0..TURNS {
            let again = self.turn(cx);
            if let Some(reason) = self.ended.take() {
                return Poll::Ready(*reason);
            }
            if again || self.set_alarm(cx) {
                continue;
            }
            self.rest();
            let armed = self.sleep.as_ref().map(|(at, _)| *at);
            if let Some(outstanding) = self.mailbox.park(cx.waker(), armed) {
                let caller = self.caller.as_deref();
                let called = self.is_woken() || self.is_called();
                if !called && !caller.is_some_and(Caller::has_news) {
                    self.charge(outstanding, was_over, cx);
                    return Poll::Pending;
                }
                self.mailbox.control().signal().resume();
            }
        }
        self.charge(self.mailbox.outstanding(), was_over, cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes turns, and ends what outlives the engine when that has ended.
    fn run_to_end(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let run = AssertUnwindSafe(|| {
            let polled = self.run(cx);
            self.report();
            polled
        });
        let reason = match std::panic::catch_unwind(run) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(reason)) => reason,
            Err(_) => self.end_after_panic(),
        };
        self.close_mailbox(&reason);
        Poll::Ready(reason)
    }

    /// Ends at once.
    fn abandon(&mut self) {
        self.drop_at_work();
        let reason = self.end_after_panic();
        self.close_mailbox(&reason);
    }
}

impl<P: Protocol, T: Transport> Future for Driver<P, T> {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = self.get_mut();
        // Out of the way while it is entered, and dropped with the connection's end.
        let span = this.span.take();
        let polled = spans::within(span.as_deref(), || this.run_to_end(cx));
        if polled.is_pending() {
            this.span = span;
        }
        polled
    }
}

impl<P: Protocol, T: Transport> Drop for Driver<P, T> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let span = self.span.take();
        spans::within(span.as_deref(), || self.abandon());
    }
}

// Nothing in it is pinned in place: futures and streams are boxed.
impl<P: Protocol, T: Transport> Unpin for Driver<P, T> {}

impl<P: Protocol, T: Transport> fmt::Debug for Driver<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}
