//! Database spans, by the [stable conventions](https://opentelemetry.io/docs/specs/semconv/database/database-spans/).

use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_semantic_conventions::attribute as semconv;

use crate::SCOPE;

/// What a span says about a statement.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    pub namespace: &'static str,
    /// `SELECT`, `INSERT`, …
    pub operation: &'static str,
    pub collection: &'static str,
    /// The statement with placeholders, never with values.
    pub text: &'static str,
}

/// Work on the connection, which has its own thread, in the context of the task that asks for it: the thread has none.
pub fn in_context<C, T>(work: impl FnOnce(&C) -> T) -> impl FnOnce(&C) -> T {
    let cx = Context::current();
    move |connection| {
        let _attached = cx.attach();
        work(connection)
    }
}

/// Runs a SQLite statement inside a CLIENT span.
///
/// # Errors
/// Those of the statement; the span then says so.
pub fn sqlite<T, E: std::fmt::Display>(statement: Statement, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let Statement { namespace, operation, collection, text } = statement;
    let summary = format!("{operation} {collection}");
    let tracer = global::tracer(SCOPE);
    let span = tracer
        .span_builder(summary.clone())
        .with_kind(SpanKind::Client)
        .with_attributes([
            KeyValue::new(semconv::DB_SYSTEM_NAME, "sqlite"),
            KeyValue::new(semconv::DB_NAMESPACE, namespace),
            KeyValue::new(semconv::DB_OPERATION_NAME, operation),
            KeyValue::new(semconv::DB_COLLECTION_NAME, collection),
            KeyValue::new(semconv::DB_QUERY_TEXT, text),
            KeyValue::new(semconv::DB_QUERY_SUMMARY, summary),
        ])
        .start(&tracer);
    let cx = Context::current_with_span(span);
    let attached = cx.clone().attach();
    let result = run();
    drop(attached);
    if let Err(error) = &result {
        cx.span().set_attribute(KeyValue::new(semconv::ERROR_TYPE, "_OTHER"));
        cx.span().set_status(Status::error(error.to_string()));
    }
    cx.span().end();
    result
}
