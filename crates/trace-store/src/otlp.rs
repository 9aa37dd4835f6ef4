//! OTLP in, over gRPC and over HTTP.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

use std::fmt;
use std::future::{Ready, ready};
use std::io::{self, Read};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;
use prost::bytes::Buf as _;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::json;
use tonic::Code;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder};
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, UnaryService};

use crate::budget::MAX_REQUEST_BYTES;
use crate::receive::{ReceiveError, Refuse, receive};
use crate::size;
use crate::store::{NotKept, Rejected, Store};

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const EXPORT_METRICS_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const EXPORT_LOGS_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const NO_SUCH_SERVICE: &str = "this receiver stores traces, and accepts metrics and logs without storing them";

/// OTLP over gRPC: the trace service, gzip and deflate accepted. Metrics and logs are counted, and answered with success,
/// since exporters that are on by default would log an error for each refusal; everything else is `UNIMPLEMENTED`.
///
/// A request beyond [`MAX_REQUEST_BYTES`], or of more than 32 MiB decoded, is answered `RESOURCE_EXHAUSTED`; one that does
/// not arrive within 10 s `UNAVAILABLE`.
pub fn grpc_router(store: Store) -> Router {
    Router::new()
        .route(EXPORT_PATH, any(export_by_grpc))
        .route(EXPORT_METRICS_PATH, any(async |State(store), request| not_kept_by_grpc(store, METRICS, request).await))
        .route(EXPORT_LOGS_PATH, any(async |State(store), request| not_kept_by_grpc(store, LOGS, request).await))
        .layer(from_fn_with_state((store.clone(), http_error as Refuse), receive))
        .with_state(store)
        .fallback(async || tonic::Status::unimplemented(NO_SUCH_SERVICE).into_http::<tonic::body::Body>())
        .layer(map_response(too_large_is_resource_exhausted))
}

/// OTLP over HTTP: `POST /v1/traces` in protobuf or JSON, plain, gzip or deflate (zlib).
///
/// Answers in the format of the request; rejected spans are reported as `partial_success`, errors as `google.rpc.Status`.
/// Requests to `/v1/metrics` and `/v1/logs` are counted, and answered with success. A request beyond [`MAX_REQUEST_BYTES`], or
/// of more than 32 MiB decoded, is answered 413; one that does not arrive within 10 s 503.
pub fn otlp_http_app(store: Store) -> Router {
    Router::new()
        .route("/v1/traces", post(export_traces))
        .route("/v1/metrics", post(async |State(store), headers: HeaderMap| not_kept(&store, METRICS, &headers)))
        .route("/v1/logs", post(async |State(store), headers: HeaderMap| not_kept(&store, LOGS, &headers)))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(from_fn_with_state((store.clone(), http_error as Refuse), receive))
        .with_state(store)
}

#[derive(Debug)]
struct TraceReceiver(Store);

/// Receives what is only counted. The answer to metrics and to logs is that to traces, without a partial success: no byte.
#[derive(Debug)]
struct Counting(Store, CountOne);

/// What a request counts as that is not kept.
type CountOne = fn(&mut NotKept);
const METRICS: CountOne = |counts| counts.metrics += 1;
const LOGS: CountOne = |counts| counts.logs += 1;

/// Leaves requests as they are: tonic would decode them whatever they take, and hold them until the stream has ended.
#[derive(Clone, Copy, Debug)]
struct ExportCodec;

/// How a request over HTTP is written, and so its answer.
#[derive(Clone, Copy, Debug)]
enum Format {
    Protobuf,
    Json,
}

/// Why a request over HTTP was turned away.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("Content-Type must be application/x-protobuf or application/json")]
    ContentType,
    #[error("Content-Encoding must be gzip, deflate or absent")]
    ContentEncoding,
    #[error("the request is larger than {MAX_REQUEST_BYTES} bytes after decompression")]
    TooLarge,
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error("the body cannot be read: {0}")]
    Body(BytesRejection),
    #[error("the body cannot be read: {0}")]
    Compression(#[from] io::Error),
    #[error("{0}")]
    TooLargeDecoded(size::DecodeError),
    #[error("the body is not an ExportTraceServiceRequest in protobuf: {0}")]
    Protobuf(prost::DecodeError),
    #[error("the body is not an ExportTraceServiceRequest in OTLP/JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The whole request; a key that it does not know is an error, where the spec would have it ignored.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonRequest {
    resource_spans: Option<Vec<ResourceSpans>>,
}

/// Any JSON whose keys are all in lowerCamelCase, as OTLP demands; with `resource_spans` or `scope_spans` a request
/// would otherwise be read as empty, and the sender would see a success.
///
/// <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>
struct CamelCaseKeys;

/// `google.rpc.Status`: <https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto>
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

// === gRPC ===

async fn export_by_grpc(State(store): State<Store>, request: Request) -> Response {
    answer(TraceReceiver(store), request).await
}

async fn not_kept_by_grpc(store: Store, count: CountOne, request: Request) -> Response {
    answer(Counting(store, count), request).await
}

async fn answer<S>(service: S, request: Request) -> Response
where
    S: UnaryService<Bytes, Response = ExportTraceServiceResponse>,
{
    let mut encodings = EnabledCompressionEncodings::default();
    encodings.enable(CompressionEncoding::Gzip);
    encodings.enable(CompressionEncoding::Deflate);
    let mut server = Grpc::new(ExportCodec)
        .apply_compression_config(encodings, EnabledCompressionEncodings::default())
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    server.unary(service, request).await.map(Body::new)
}

impl UnaryService<Bytes> for TraceReceiver {
    type Response = ExportTraceServiceResponse;
    type Future = BoxFuture<tonic::Response<Self::Response>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let store = self.0.clone();
        Box::pin(async move {
            let request = size::decode(request.into_inner()).map_err(|error| match error {
                size::DecodeError::TooLarge(_) => tonic::Status::resource_exhausted(error.to_string()),
                size::DecodeError::Malformed(_) => tonic::Status::internal(error.to_string()),
            })?;
            let rejected = store.insert(request);
            Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success: partial_success(rejected) }))
        })
    }
}

impl UnaryService<Bytes> for Counting {
    type Response = ExportTraceServiceResponse;
    type Future = Ready<Result<tonic::Response<Self::Response>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        self.0.count_not_kept(self.1);
        ready(Ok(tonic::Response::new(ExportTraceServiceResponse::default())))
    }
}

impl Codec for ExportCodec {
    type Encode = ExportTraceServiceResponse;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for ExportCodec {
    type Item = ExportTraceServiceResponse;
    type Error = tonic::Status;

    fn encode(&mut self, response: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Self::Error> {
        response.encode(buffer).map_err(|error| tonic::Status::internal(error.to_string()))
    }
}

impl Decoder for ExportCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Self::Error> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// tonic says `OUT_OF_RANGE` of a message that is too large; gRPC's own libraries say `RESOURCE_EXHAUSTED`.
async fn too_large_is_resource_exhausted(mut response: Response) -> Response {
    if let Some(code) = response.headers_mut().get_mut(tonic::Status::GRPC_STATUS)
        && code.as_bytes() == (Code::OutOfRange as i32).to_string().as_bytes()
    {
        *code = HeaderValue::from(Code::ResourceExhausted as i32);
    }
    response
}

// === HTTP ===

async fn export_traces(
    State(store): State<Store>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let format = Format::of(&headers).ok_or_else(|| Format::Json.error(ExportError::ContentType))?;
    let request = decode(format, &headers, body).map_err(|error| format.error(error))?;
    Ok(format.success(store.insert(request)))
}

fn not_kept(store: &Store, count: CountOne, headers: &HeaderMap) -> Response {
    let Some(format) = Format::of(headers) else { return Format::Json.error(ExportError::ContentType) };
    store.count_not_kept(count);
    format.success(Rejected::default())
}

/// The answer to a client whose body did not arrive.
pub(crate) fn http_error(headers: &HeaderMap, error: ReceiveError) -> Response {
    Format::of(headers).unwrap_or(Format::Json).error(error.into())
}

fn decode(
    format: Format,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ExportTraceServiceRequest, ExportError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ExportError::TooLarge,
        _ => ExportError::Body(rejection),
    })?;
    let body = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => body,
        Some(b"gzip") => decompressed(MultiGzDecoder::new(&*body))?,
        Some(b"deflate") => decompressed(ZlibDecoder::new(&*body))?,
        Some(_) => return Err(ExportError::ContentEncoding),
    };
    match format {
        Format::Protobuf => Ok(size::decode(body)?),
        Format::Json => {
            size::check_json(&body)?;
            let request: JsonRequest = serde_json::from_slice(&body)?;
            let CamelCaseKeys = serde_json::from_slice(&body)?;
            Ok(ExportTraceServiceRequest { resource_spans: request.resource_spans.unwrap_or_default() })
        }
    }
}

/// Stops at the limit, however much there is.
fn decompressed(body: impl Read) -> Result<Bytes, ExportError> {
    let mut content = Vec::new();
    if body.take(MAX_REQUEST_BYTES as u64 + 1).read_to_end(&mut content)? > MAX_REQUEST_BYTES {
        return Err(ExportError::TooLarge);
    }
    Ok(content.into())
}

fn partial_success(rejected: Rejected) -> Option<ExportTracePartialSuccess> {
    (rejected != Rejected::default()).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected.total().try_into().unwrap_or(i64::MAX),
        error_message: rejected.to_string(),
    })
}

// === impl ExportError ===

impl From<size::DecodeError> for ExportError {
    fn from(error: size::DecodeError) -> Self {
        match error {
            size::DecodeError::Malformed(error) => Self::Protobuf(error),
            error @ size::DecodeError::TooLarge(_) => Self::TooLargeDecoded(error),
        }
    }
}

// === impl Format ===

impl Format {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json].into_iter().find(|format| essence.eq_ignore_ascii_case(format.content_type()))
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn success(self, rejected: Rejected) -> Response {
        let partial_success = partial_success(rejected);
        let body = match self {
            Self::Protobuf => ExportTraceServiceResponse { partial_success }.encode_to_vec(),
            Self::Json => {
                let answer = partial_success.map_or_else(|| json!({}), |partial| {
                    let rejected = partial.rejected_spans.to_string();
                    json!({ "partialSuccess": { "rejectedSpans": rejected, "errorMessage": partial.error_message } })
                });
                answer.to_string().into_bytes()
            }
        };
        self.response(StatusCode::OK, body)
    }

    fn error(self, error: ExportError) -> Response {
        let (status, code) = match error {
            ExportError::ContentType | ExportError::ContentEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument)
            }
            ExportError::TooLarge | ExportError::TooLargeDecoded(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted)
            }
            ExportError::Body(_) | ExportError::Compression(_) | ExportError::Protobuf(_) | ExportError::Json(_) => {
                (StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            ExportError::Receive(ref error) => (error.status(), Code::Unavailable),
        };
        let RpcStatus { code, message } = RpcStatus { code: code as i32, message: error.to_string() };
        let body = match self {
            Self::Protobuf => RpcStatus { code, message }.encode_to_vec(),
            Self::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
        };
        self.response(status, body)
    }

    fn response(self, status: StatusCode, body: Vec<u8>) -> Response {
        (status, [(header::CONTENT_TYPE, self.content_type())], body).into_response()
    }
}

// === impl CamelCaseKeys ===

impl<'de> Deserialize<'de> for CamelCaseKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for CamelCaseKeys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with keys in lowerCamelCase")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key.contains('_') {
                return Err(A::Error::custom(format_args!("`{key}`: keys must be in lowerCamelCase")));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}
