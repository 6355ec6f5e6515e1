//! Logs: which lines are written, and their JSON format.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Map, Value, json};
use tracing::{
    Event, Level, Metadata, Span, Subscriber, dispatcher,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::filter_fn,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    layer::{Context, Filter},
    registry::LookupSpan,
};

use super::{floods::Floods, ids::Ids};

/// The target of the spans of calls. These spans are always enabled: log lines take their ids from them.
pub(super) const CALL_TARGET: &str = "hamlet::call";

/// Our own crates. The DEBUG lines of other crates are of no use here and may contain secrets.
const OURS: [&str; 9] = [
    "apps_svc",
    "couch",
    "database_kit",
    "files_svc",
    "gateway",
    "hamlet",
    "instance_svc",
    "secret",
    "service_kit",
];

/// How many calls are being debugged. While there is none, the filter need not look at spans.
static DEBUGGED: AtomicUsize = AtomicUsize::new(0);

/// Logs the DEBUG lines of the current call, whatever the log filter says.
pub fn debug_this_call() {
    Span::current().record("debug", true);
}

/// What is known of a call's span; kept as its extension.
#[derive(Default)]
struct Mark {
    ids: Option<Ids>,
    debugged: Option<Debugged>,
}

/// Keeps the ids of a call's span, for log lines and for [`current_ids`].
pub(super) fn mark(span: &Span, ids: Ids) {
    span.record("trace_id", tracing::field::display(ids.trace_id()));
    span.record("span_id", tracing::field::display(ids.span_id()));
    span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        let span = registry.span(id)?;
        let mut extensions = span.extensions_mut();
        if let Some(mark) = extensions.get_mut::<Mark>() {
            mark.ids = Some(ids);
        } else {
            extensions.insert(Mark {
                ids: Some(ids),
                debugged: None,
            });
        }
        Some(())
    });
}

/// The ids of the call in which this is asked.
pub(super) fn current_ids() -> Option<Ids> {
    dispatcher::get_default(|dispatch| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        let current = registry.current_span();
        let span = registry.span(current.id()?)?;
        span.scope()
            .find_map(|span| span.extensions().get::<Mark>().and_then(|mark| mark.ids))
    })
}

/// Counts a call that is being debugged.
struct Debugged;

impl Debugged {
    fn new() -> Self {
        DEBUGGED.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Debugged {
    fn drop(&mut self) {
        DEBUGGED.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Visit for Mark {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "debug" && value && self.debugged.is_none() {
            self.debugged = Some(Debugged::new());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Keeps the marks of calls for the filter.
struct Marks;

/// The layer of the marks. It asks for nothing but the spans of calls: without a filter, every span that a library traces
/// for its own sake would be made, which cost more than all that a call does.
pub(super) fn marks<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    Marks.with_filter(filter_fn(is_call).with_max_level_hint(LevelFilter::INFO))
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Marks {
    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx
            .span(id)
            .filter(|it| it.metadata().target() == CALL_TARGET)
        else {
            return;
        };
        let mut extensions = span.extensions_mut();
        if let Some(mark) = extensions.get_mut::<Mark>() {
            values.record(mark);
        } else {
            let mut mark = Mark::default();
            values.record(&mut mark);
            extensions.insert(mark);
        }
    }
}

/// Enables the lines of the settings' filter, and the DEBUG lines of calls that are being debugged; of a flood, only a few.
pub(super) struct LogFilter {
    settings: EnvFilter,
    floods: Arc<Floods>,
}

impl LogFilter {
    pub(super) const fn new(settings: EnvFilter, floods: Arc<Floods>) -> Self {
        Self { settings, floods }
    }
}

fn is_call(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == CALL_TARGET
}

fn may_be_debugged(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::DEBUG && OURS.contains(&krate)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, cx: &Context<'_, S>) -> bool {
        is_call(metadata)
            || Filter::enabled(&self.settings, metadata, cx)
            || (DEBUGGED.load(Ordering::Relaxed) > 0
                && may_be_debugged(metadata)
                && cx.lookup_current().is_some_and(|span| {
                    span.scope().any(|span| {
                        span.extensions()
                            .get::<Mark>()
                            .is_some_and(|mark| mark.debugged.is_some())
                    })
                }))
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.floods.admit(event.metadata())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_call(metadata) {
            return Interest::always();
        }
        let interest = Filter::<S>::callsite_enabled(&self.settings, metadata);
        if interest.is_never() && may_be_debugged(metadata) {
            Interest::sometimes()
        } else {
            interest
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.settings).map(|level| level.max(LevelFilter::DEBUG))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        Filter::on_new_span(&self.settings, attributes, id, cx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        Filter::on_record(&self.settings, id, values, cx);
    }

    fn on_enter(&self, id: &Id, cx: Context<'_, S>) {
        Filter::on_enter(&self.settings, id, cx);
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, S>) {
        Filter::on_exit(&self.settings, id, cx);
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        Filter::on_close(&self.settings, id, cx);
    }
}

/// One JSON object a line: `timestamp`, `level`, `target`, `fields`, and in a call its `trace_id` and
/// `span_id`.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        cx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("fields".to_owned(), fields.0.into());
        let spans = cx.event_scope().into_iter().flatten();
        for span in spans {
            let extensions = span.extensions();
            let Some(mark) = extensions.get::<Mark>() else {
                continue;
            };
            if let Some(ids) = mark.ids {
                line.insert("trace_id".to_owned(), ids.trace_id().to_string().into());
                line.insert("span_id".to_owned(), ids.span_id().to_string().into());
                break;
            }
        }
        writeln!(writer, "{}", Value::from(line))
    }
}

/// The fields of an event, as JSON.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, json!(format!("{value:?}")));
    }
}
