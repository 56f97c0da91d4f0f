//! The bare engine, and handlers that answer at once.

use std::collections::VecDeque;

use wireframe::proto::{
    AnswerError, Body, Connection, ConnectionId, End, Event, FragmentStrategy, Instant, Peer,
    Priority, RequestId, RequestInfo, Shutdown,
};
use wireframe_tests::{Line, Lines, Oops, line};

use super::{Act, Step, Trace, config, ends_output};

/// No time passes.
const NOW: Instant = Instant::ZERO;

struct Bare<S: FragmentStrategy<Line> + Clone> {
    engine: Connection<Lines<S>>,
    /// Frames that an answer has still to give.
    answering: Option<(RequestId, VecDeque<Line>, End<Oops>)>,
    /// Who reads a body, and how many parts of it have come.
    reading: Option<(RequestId, usize)>,
    ended: bool,
}

/// What the engine does at each step of a script.
pub(super) fn trace<S>(protocol: Lines<S>, script: &[Step]) -> Trace
where
    S: FragmentStrategy<Line> + Clone,
{
    let notes = protocol.notes.clone();
    let peer = Peer::client_of(ConnectionId(1));
    let mut bare = Bare {
        engine: Connection::new(config(), protocol, peer, NOW),
        answering: None,
        reading: None,
        ended: false,
    };
    let mut sent = Vec::new();
    for step in script {
        match &step.act {
            Act::Connect => {}
            Act::Send(bytes) => {
                bare.engine.receive_buffer().extend_from_slice(bytes);
                bare.engine.handle_received(NOW);
            }
            Act::EndOutput => bare.engine.handle_eof(NOW),
            Act::Drain => {
                let deadline = NOW + config().timeouts.close;
                bare.engine.shutdown(NOW, Shutdown::Drain { deadline });
            }
        }
        sent.push(bare.run());
    }
    if !ends_output(script) {
        bare.engine.handle_eof(NOW);
    }
    sent.last_mut().expect("a step").extend(bare.run());
    assert!(bare.ended, "the connection has not ended");
    let hooks = notes.all();
    Trace { sent, hooks }
}

impl<S: FragmentStrategy<Line> + Clone> Bare<S> {
    /// Works until there is nothing more to do, and says what was sent.
    fn run(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        loop {
            while let Some(event) = self.engine.poll_event(NOW) {
                self.serve(event);
            }
            self.go_on_answering();
            let _ = self.engine.fill(NOW);
            while let Some(transmit) = self.engine.transmit() {
                let before = sent.len();
                transmit.chunks().for_each(|chunk| sent.extend(chunk));
                transmit.advance(sent.len() - before);
            }
            let wants = self.engine.wants();
            if wants.half_close {
                self.engine.handle_half_closed(NOW);
            } else if !wants.event && self.answering.is_none() {
                return sent;
            }
        }
    }

    fn serve(&mut self, event: Event<Line>) {
        match event {
            Event::Request { info, frame } => self.handle(&info, &frame),
            Event::Body(_) => self.read(),
            // Answered at once, as everything else is.
            Event::Control | Event::Preamble => {
                let _ = self.engine.fill(NOW);
            }
            Event::Closed(_) => self.ended = true,
            Event::Closing(_) => (self.answering, self.reading) = (None, None),
            _ => {}
        }
    }

    fn handle(&mut self, info: &RequestInfo, frame: &Line) {
        let engine = &mut self.engine;
        let done = match info.route {
            0 => engine.answer(info.id, line("a question?")),
            1 => engine.answer(info.id, line(format!("echo {}", frame.0))),
            2 => return self.answer_all(info.id, ["a", "b", "c"], End::Complete),
            3 => return self.finish(info.id, End::Complete),
            4 => return self.finish(info.id, End::Failed(AnswerError::Protocol(Oops("no")))),
            5 => return self.finish(info.id, End::Failed(AnswerError::Protocol(Oops("close")))),
            6 => {
                let low = engine.push(Priority::Low, line("low"));
                let high = engine.push(Priority::High, line("high"));
                low.and(high).and(engine.answer(info.id, line("pushed")))
            }
            7 => {
                self.reading = Some((info.id, 0));
                return self.read();
            }
            8 => return self.answer_all(info.id, ["x", "y", "z"], End::StreamComplete),
            _ => return self.finish(info.id, End::Panicked),
        };
        done.expect("the command is live");
    }

    fn finish(&mut self, id: RequestId, end: End<Oops>) {
        self.engine.finish(id, end).expect("the command is live");
    }

    fn answer_all(&mut self, id: RequestId, texts: [&str; 3], end: End<Oops>) {
        self.engine.drop_body(id);
        self.answering = Some((id, texts.map(line).into(), end));
    }

    fn go_on_answering(&mut self) {
        let Some((id, mut frames, end)) = self.answering.take() else {
            return;
        };
        while let Some(frame) = frames.pop_front() {
            if let Err(full) = self.engine.respond(id, frame) {
                frames.push_front(full.frame);
                self.answering = Some((id, frames, end));
                return;
            }
        }
        self.finish(id, end);
    }

    fn read(&mut self) {
        let Some((id, mut parts)) = self.reading.take() else {
            return;
        };
        loop {
            match self.engine.next_body(id, NOW) {
                Body::Frame(Line(part)) => {
                    parts += 1;
                    let said = self.engine.respond(id, line(format!("got {part}")));
                    said.expect("the peer takes everything");
                }
                Body::End => {
                    let answered = self.engine.answer(id, line(format!("{parts} parts")));
                    return answered.expect("the command is live");
                }
                Body::UnexpectedEof => {
                    let lost = "the peer ended its output inside the body";
                    return self.finish(id, End::Fatal(lost.into()));
                }
                _ => {
                    self.reading = Some((id, parts));
                    return;
                }
            }
        }
    }
}
