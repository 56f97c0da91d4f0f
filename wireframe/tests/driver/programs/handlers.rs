//! Handlers that answer, fail, panic, wait and push.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use wireframe::{
    Clock, Conversation, Envelope, Heartbeat, Priority, PushCapacity, PushHandle, PushLimits,
    RequestBody, RequestInfo, Response, State, TaskTracker, WireframeApp, WireframeError,
};

use super::protocol::{Failure, Log, PUSH, Program, UNENCODABLE};
use crate::rig::{config, nonzero};

type Answer = Response<Envelope, Failure>;
type Fallible<T> = Result<T, WireframeError<Failure>>;

/// Notes that the command has begun.
#[derive(Clone)]
struct Begin(Log);

impl Begin {
    fn note(&self, info: RequestInfo) {
        self.0.lock().unwrap().begun.push((info.id, info.route));
    }
}

pub(super) fn app<const CORRELATED: bool>(
    protocol: Program<CORRELATED>,
    slots: usize,
    in_flight: usize,
    heartbeat: bool,
) -> WireframeApp<Program<CORRELATED>> {
    let begin = Begin(Arc::clone(&protocol.log));
    let capacity = PushCapacity::new()
        .with_frames(nonzero(slots))
        .with_bytes(nonzero(120));
    conversing(WireframeApp::with_protocol(protocol))
        .state(begin)
        .push_limits(PushLimits::both(capacity))
        .config(config(|c| {
            c.limits.max_in_flight = Some(nonzero(in_flight));
            c.limits.max_held_back = nonzero(4);
            c.limits.high_water = nonzero(64);
            let (every, timeout) = (Duration::from_millis(60), Duration::from_millis(90));
            c.heartbeat = heartbeat.then(|| Heartbeat::pinging(every, timeout));
        }))
        .route(
            1,
            async |body: Bytes, info: RequestInfo, State(begin): State<Begin>| {
                begin.note(info);
                body
            },
        )
        .route(
            2,
            async |clock: Clock, info: RequestInfo, State(begin): State<Begin>| {
                begin.note(info);
                clock.sleep(Duration::from_millis(30)).await;
                "later"
            },
        )
        .route(3, async |info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            Answer::frames(async_stream::stream! {
                for n in 0..5u8 {
                    yield Envelope::new(3, vec![n]);
                }
            })
        })
        .route(
            4,
            async |clock: Clock, info: RequestInfo, State(begin): State<Begin>| {
                begin.note(info);
                Answer::stream(async_stream::stream! {
                    yield Ok(Envelope::new(4, "first"));
                    clock.sleep(Duration::from_millis(5)).await;
                    Err(Failure(2))?;
                })
            },
        )
        .route(5, async |info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            Err::<(), _>(Failure(0))
        })
        .route(6, async |info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            vec![
                Envelope::new(6, "a"),
                Envelope::new(UNENCODABLE, "b"),
                Envelope::new(6, "c"),
            ]
        })
        .route(
            7,
            async |push: PushHandle, info: RequestInfo, State(begin): State<Begin>| {
                begin.note(info);
                push.push(Priority::High, Envelope::new(PUSH, "from a handler"))
                    .await?;
                begin.0.lock().unwrap().pushed += 1;
                Fallible::Ok("pushed")
            },
        )
        .route(
            8,
            async |tasks: TaskTracker,
                   clock: Clock,
                   info: RequestInfo,
                   State(begin): State<Begin>| {
                begin.note(info);
                let (sender, answer) = Answer::channel(1);
                tasks.spawn(async move {
                    for n in 0..3u8 {
                        clock.sleep(Duration::from_millis(3)).await;
                        if sender.send(Envelope::new(8, vec![n])).await.is_err() {
                            return;
                        }
                    }
                });
                answer
            },
        )
        .route(9, async |info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            std::future::pending::<()>().await;
        })
        .route(10, async |info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            Err::<(), _>(Failure(1))
        })
        .route(
            11,
            async |info: RequestInfo, State(begin): State<Begin>| -> &'static str {
                begin.note(info);
                panic!("told to")
            },
        )
        .route(
            12,
            async |clock: Clock, info: RequestInfo, State(begin): State<Begin>| -> &'static str {
                begin.note(info);
                clock.sleep(Duration::from_millis(10)).await;
                panic!("told to")
            },
        )
        .route(13, async |info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            Answer::frames(async_stream::stream! {
                yield Envelope::new(13, "first");
                panic!("told to");
            })
        })
        .route(14, async |info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            Fallible::<()>::Err(io::Error::other("broken").into())
        })
}

/// Routes below leave the connection open.
pub(super) const HARMLESS: u32 = 9;

/// Handlers that read their bodies, and what else there is of them.
pub(super) const CONVERSING: std::ops::RangeInclusive<u32> = 20..=24;

fn conversing<const CORRELATED: bool>(
    app: WireframeApp<Program<CORRELATED>>,
) -> WireframeApp<Program<CORRELATED>> {
    app.route(
        20,
        async |mut peer: Conversation, info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            while let Some(frame) = peer.next().await? {
                peer.send(frame).await?;
            }
            Fallible::Ok("all of it")
        },
    )
    .route(
        21,
        async |mut body: RequestBody, info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            Answer::stream(async_stream::try_stream! {
                while let Some(frame) = body.next().await? {
                    yield frame;
                }
            })
        },
    )
    .route(
        22,
        async |peer: Conversation,
               tasks: TaskTracker,
               info: RequestInfo,
               State(begin): State<Begin>| {
            begin.note(info);
            let (mut sender, mut body) = peer.split();
            tasks.spawn(
                async move { while sender.send(Envelope::new(22, "beside")).await.is_ok() {} },
            );
            let first = body.next().await?;
            Fallible::Ok(first.unwrap_or_default())
        },
    )
    .route(
        23,
        async |mut peer: Conversation, info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            peer.send(Envelope::new(23, "first")).await?;
            peer.send(Envelope::new(UNENCODABLE, "second")).await?;
            peer.next().await?;
            std::future::pending::<()>().await;
            Fallible::Ok("never")
        },
    )
    .route(
        24,
        async |mut body: RequestBody, info: RequestInfo, State(begin): State<Begin>| {
            begin.note(info);
            Answer::stream(async_stream::try_stream! {
                body.next().await?;
                yield Envelope::new(UNENCODABLE, "first");
                loop {
                    yield Envelope::new(24, "more");
                }
            })
        },
    )
}
