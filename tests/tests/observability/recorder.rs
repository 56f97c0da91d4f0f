//! A subscriber that remembers.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    thread::{self, ThreadId},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};

/// An event, or the end of a span.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) level: Level,
    /// What happened; `closed` for a span, which is then the last of `spans`.
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// Those that it was in, the outermost first.
    pub(crate) spans: Vec<String>,
    thread: ThreadId,
}

impl Heard {
    /// A field of it.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        let field = self.fields.get(name);
        field.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The length of all that it says.
    pub(crate) fn len(&self) -> usize {
        let fields = self.fields.values().map(String::len).sum::<usize>();
        self.message.len() + fields
    }
}

#[derive(Default)]
struct State {
    spans: HashMap<u64, Span>,
    made: u64,
    heard: Vec<Heard>,
}

struct Span {
    name: String,
    level: Level,
    parent: Option<u64>,
    handles: usize,
}

impl State {
    /// A span and those that it is in.
    fn path(&self, innermost: Option<u64>) -> Vec<String> {
        let span = |id: &u64| self.spans.get(id);
        let ids = std::iter::successors(innermost, |id| span(id)?.parent);
        let mut path: Vec<_> = ids.filter_map(|id| Some(span(&id)?.name.clone())).collect();
        path.reverse();
        path
    }

    fn close(&mut self, id: u64) {
        let spans = self.path(Some(id));
        if let Some(Span { level, parent, .. }) = self.spans.remove(&id) {
            self.heard.push(Heard {
                level,
                message: "closed".into(),
                fields: BTreeMap::new(),
                spans,
                thread: thread::current().id(),
            });
            if let Some(parent) = parent {
                self.release(parent);
            }
        }
    }

    fn release(&mut self, id: u64) -> bool {
        let Some(span) = self.spans.get_mut(&id) else {
            return false;
        };
        span.handles -= 1;
        let is_last = span.handles == 0;
        if is_last {
            self.close(id);
        }
        is_last
    }
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    /// The spans that the thread is in, the innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Locked(MutexGuard<'static, Option<State>>);

/// What has been heard. A test that has failed spoils nothing for the others.
fn state() -> Locked {
    Locked(STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Locked {
    fn get(&mut self) -> &mut State {
        self.0.get_or_insert_default()
    }
}

struct Recorder;

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// The innermost span of this thread.
fn current() -> Option<u64> {
    ENTERED.with_borrow(|entered| entered.last().copied())
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target.starts_with("wireframe") || target.starts_with("observability")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let fields: Vec<_> = fields.0.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let name = match attributes.metadata().name() {
            name if fields.is_empty() => name.to_owned(),
            name => format!("{name}{{{}}}", fields.join(" ")),
        };
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_root() => None,
            None => current(),
        };
        let mut state = state();
        let state = state.get();
        if let Some(parent) = parent.and_then(|id| state.spans.get_mut(&id)) {
            parent.handles += 1;
        }
        state.made += 1;
        let (id, level) = (state.made, *attributes.metadata().level());
        let span = Span {
            name,
            level,
            parent,
            handles: 1,
        };
        state.spans.insert(id, span);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut state = state();
        let state = state.get();
        state.heard.push(Heard {
            level: *event.metadata().level(),
            message: fields.0.remove("message").unwrap_or_default(),
            fields: fields.0,
            spans: state.path(current()),
            thread: thread::current().id(),
        });
    }

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        // The thread may be about to end.
        let _ = ENTERED.try_with(|entered| {
            let left = entered.borrow_mut().pop();
            assert_eq!(left, Some(id.into_u64()), "spans that overlap");
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(span) = state().get().spans.get_mut(&id.into_u64()) {
            span.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        state().get().release(id.into_u64())
    }
}

/// Listens from now on.
pub(crate) fn listen() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Recorder).expect("the first"));
    heard_here();
}

/// What this thread has said since it was last asked.
pub(crate) fn heard_here() -> Vec<Heard> {
    let here = thread::current().id();
    let mut state = state();
    let (ours, others) = std::mem::take(&mut state.get().heard)
        .into_iter()
        .partition(|heard: &Heard| heard.thread == here);
    state.get().heard = others;
    ours
}

/// What was said with that message by this thread since it was last asked.
pub(crate) fn heard_of(message: &str) -> Vec<Heard> {
    let mut heard = heard_here();
    heard.retain(|heard| heard.message == message);
    heard
}

/// What any thread has said inside a span whose name begins so, or with that connection in
/// a field.
pub(crate) fn said_in(span: &str) -> Vec<Heard> {
    let mut state = state();
    let heard = state.get().heard.iter();
    let inside = heard.filter(|heard| heard.spans.iter().any(|name| name.starts_with(span)));
    inside.cloned().collect()
}
