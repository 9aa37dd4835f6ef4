//! Shows what a search by claim id costs as the store fills, and what ingest costs meanwhile; compare the lines of one run.
//!
//! The spans are those of a recorded claim, again and again under other ids. `cargo run --release -p trace-store --example
//! search -- 20000 200000 1000000` takes 3 GB at the last size; sizes are in spans and rise.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tower::ServiceExt;
use trace_store::{Store, query_app};

const MAX_BYTES: usize = 8 << 30;
const SEARCHES: u64 = 2000;
const CLAIM_ID: &str = "insurewatch.claim.id";
const RECORDED: [&[u8]; 2] =
    [include_bytes!("../tests/data/tempo/0.otlp.pb"), include_bytes!("../tests/data/tempo/1.otlp.pb")];

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let sizes = std::env::args().skip(1).map(|size| size.parse::<u64>()).collect::<Result<Vec<_>, _>>()?;
    let sizes = if sizes.is_empty() { vec![20_000, 200_000] } else { sizes };
    let recorded =
        RECORDED.iter().map(|bytes| ExportTraceServiceRequest::decode(*bytes)).collect::<Result<Vec<_>, _>>()?;
    let store = Store::new(MAX_BYTES);
    let (mut claims, mut ingest, mut spans_before) = (0, Duration::ZERO, 0);
    for size in sizes {
        while store.counters().spans_held < size {
            let sent = recorded.iter().zip(0..).map(|(request, part)| claim(request, claims, part).encode_to_vec());
            let sent = sent.collect::<Vec<_>>();
            let begin = cpu_time()?;
            for bytes in sent {
                store.insert(ExportTraceServiceRequest::decode(bytes.as_slice())?);
            }
            ingest += cpu_time()? - begin;
            claims += 1;
        }
        let spans = store.counters().spans_held;
        let per_second = (spans - spans_before) as f64 / ingest.as_secs_f64();
        (spans_before, ingest) = (spans, Duration::ZERO);
        let mut times = Vec::new();
        for search in 0..SEARCHES {
            // Over all that is held, in no order.
            times.push(search_for(&store, search.wrapping_mul(7_919_777) % claims).await?);
            if times.iter().sum::<Duration>() > Duration::from_secs(20) {
                break;
            }
        }
        times.sort();
        let [p50, p99] = [50, 99].map(|percent| times.get(times.len() * percent / 100).copied().unwrap_or_default());
        let ingest = format!("{per_second:.0} spans taken in per CPU second");
        writeln!(io::stdout(), "{spans} spans held: {ingest}, search p50 {p50:?}, p99 {p99:?}")?;
    }
    Ok(())
}

/// How long this thread has run, whatever else wants the processor; Linux only.
fn cpu_time() -> Result<Duration, Failure> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(statistics.split(' ').next().unwrap_or_default().parse()?))
}

/// The recorded request as one of another claim.
fn claim(recorded: &ExportTraceServiceRequest, claim: u64, part: u8) -> ExportTraceServiceRequest {
    let mut request = recorded.clone();
    let spans = request.resource_spans.iter_mut().flat_map(|it| &mut it.scope_spans).flat_map(|it| &mut it.spans);
    for span in spans {
        let Span { trace_id, attributes, .. } = span;
        *trace_id = [&[part + 1; 8][..], &claim.to_be_bytes()].concat();
        for attribute in attributes.iter_mut().filter(|attribute| attribute.key == CLAIM_ID) {
            attribute.value = Some(AnyValue { value: Some(Value::StringValue(claim_id(claim))) });
        }
    }
    request
}

fn claim_id(claim: u64) -> String {
    format!("CLM-{claim:032x}")
}

async fn search_for(store: &Store, claim: u64) -> Result<Duration, Failure> {
    let uri = format!("/api/search?q=%7Bspan.{CLAIM_ID}=%22{}%22%7D&limit=200", claim_id(claim));
    let begin = Instant::now();
    let answer = query_app(store.clone()).oneshot(Request::get(uri).body(Body::empty())?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let time = begin.elapsed();
    let found = serde_json::from_slice::<serde_json::Value>(&body)?;
    assert_eq!(status, StatusCode::OK, "{found}");
    assert_eq!(
        found.get("traces").and_then(|traces| traces.as_array()).map_or(0, Vec::len),
        RECORDED.len(),
        "every trace of the claim: {found}"
    );
    Ok(time)
}
