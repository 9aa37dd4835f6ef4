//! Forwards one request and streams both bodies ([RFC 9110, section 7.6](https://www.rfc-editor.org/rfc/rfc9110#section-7.6)).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use error_reporter::Report;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Headers that concern one connection only, so that a proxy does not forward them; `Connection` can name more.
/// [RFC 9110, section 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1), and section 11.7 for those of
/// authentication to a proxy.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where requests go. Clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, Body>,
    /// Without a slash at its end.
    base: Arc<str>,
    /// How long the upstream may take until the head of its answer is there; bodies have no deadline.
    timeout: Duration,
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn new(base: &str, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: base.trim_end_matches('/').into(),
            timeout,
        }
    }

    fn uri(&self, asked: &Uri) -> Result<Uri, http::uri::InvalidUri> {
        format!("{}{}", self.base, asked.path_and_query().map_or("/", |asked| asked.as_str())).parse()
    }
}

/// The handler of every request. An upstream that cannot be reached is 502, one that is too slow 504.
pub(crate) async fn forward(State(upstream): State<Upstream>, request: Request) -> Response {
    // A tunnel to one fixed upstream has no meaning.
    if request.method() == Method::CONNECT {
        return refusal(StatusCode::NOT_IMPLEMENTED);
    }
    let (mut parts, body) = request.into_parts();
    let uri = match upstream.uri(&parts.uri) {
        Ok(uri) => uri,
        Err(error) => return unreachable_upstream(&error),
    };
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    strip_hop_by_hop(&mut parts.headers);
    name_the_caller(&mut parts.headers, peer);

    let mut forwarded = Request::new(body);
    *forwarded.method_mut() = parts.method;
    *forwarded.uri_mut() = uri;
    *forwarded.headers_mut() = parts.headers;
    match tokio::time::timeout(upstream.timeout, upstream.client.request(forwarded)).await {
        Ok(Ok(mut response)) => {
            strip_hop_by_hop(response.headers_mut());
            response.map(Body::new)
        }
        Ok(Err(error)) => unreachable_upstream(&error),
        Err(_) => {
            tracing::warn!(waited_ms = upstream.timeout.as_millis(), "the upstream did not answer in time");
            refusal(StatusCode::GATEWAY_TIMEOUT)
        }
    }
}

fn unreachable_upstream(cause: &dyn std::error::Error) -> Response {
    tracing::warn!(cause = %Report::new(cause), "the upstream cannot be reached");
    refusal(StatusCode::BAD_GATEWAY)
}

/// As proxies answer: the status in words, nothing of the upstream.
fn refusal(status: StatusCode) -> Response {
    (status, status.canonical_reason().unwrap_or_default()).into_response()
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    let named: Vec<HeaderName> = named.collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// The client sets `Host` for the upstream; these headers keep what the caller's connection was.
fn name_the_caller(headers: &mut HeaderMap, peer: Option<SocketAddr>) {
    if let Some(host) = headers.remove(header::HOST) {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    if let Some(peer) = peer {
        let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let path: Vec<_> = before.map(str::to_owned).chain([peer.ip().to_string()]).collect();
        if let Ok(path) = HeaderValue::try_from(path.join(", ")) {
            headers.insert(FORWARDED_FOR, path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::routing::any;
    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// Which only a failing test reaches.
    const DEADLINE: Duration = Duration::from_secs(60);

    async fn serve(app: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// A gateway in front of `base`.
    async fn gateway(base: &str, timeout: Duration) -> String {
        serve(Router::new().fallback(forward).with_state(Upstream::new(base, timeout))).await
    }

    async fn ask(request: http::Request<Body>) -> Response {
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
        tokio::time::timeout(DEADLINE, client.request(request)).await.expect("an answer").unwrap().map(Body::new)
    }

    fn body(mut chunks: mpsc::Receiver<&'static str>) -> Body {
        Body::from_stream(stream::poll_fn(move |context| {
            chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk))))
        }))
    }

    /// The head of a request as it arrived, a line each.
    async fn echo(request: Request) -> Response {
        let mut lines = vec![format!("{} {}", request.method(), request.uri())];
        lines.extend(request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
        let hop_by_hop =
            [("connection", "x-private"), ("x-private", "1"), ("keep-alive", "timeout=5"), ("etag", "\"1\"")];
        (hop_by_hop, lines.join("\n")).into_response()
    }

    #[tokio::test]
    async fn bodies_stream_chunk_by_chunk_both_ways() {
        let upper = any(|request: Request| async {
            Body::from_stream(
                request.into_body().into_data_stream().map(|chunk| chunk.map(|it| it.to_ascii_uppercase())),
            )
        });
        let gateway = gateway(&serve(Router::new().fallback_service(upper)).await, DEADLINE).await;
        let (chunks, receiver) = mpsc::channel(1);
        let request = http::Request::post(gateway).body(body(receiver)).unwrap();
        let mut response = ask(request).await.into_body();
        for (sent, expected) in [("one", "ONE"), ("two", "TWO")] {
            chunks.send(sent).await.unwrap();
            let frame = tokio::time::timeout(DEADLINE, response.frame()).await.expect("no later chunk is waited for");
            let seen = frame.unwrap().unwrap().into_data().unwrap();
            assert_eq!(seen, expected, "each chunk comes back before the next is sent");
        }
        drop(chunks);
        assert!(response.frame().await.is_none(), "the end of the request ends the answer");
    }

    #[tokio::test]
    async fn what_concerns_one_connection_stays_there() {
        let upstream = serve(Router::new().fallback(echo)).await;
        let gateway = gateway(&format!("{upstream}/base/"), DEADLINE).await;
        let host = gateway.trim_start_matches("http://");
        let request = http::Request::put(format!("{gateway}/a%20b/?q=%2F&q="))
            .header("connection", "keep-alive, X-Hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .header("upgrade", "websocket")
            .header("proxy-authorization", "Basic eA==")
            .header("proxy-connection", "keep-alive")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .header("x-forwarded-for", "192.0.2.1")
            .body(Body::empty())
            .unwrap();
        let response = ask(request).await;
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        for (name, passes) in [("connection", false), ("x-private", false), ("keep-alive", false), ("etag", true)] {
            assert_eq!(names.contains(&name), passes, "{name} of the answer: {names:?}");
        }
        let seen = response.into_body().collect().await.unwrap().to_bytes();
        let mut seen: Vec<_> = std::str::from_utf8(&seen).unwrap().lines().collect();
        seen.sort_unstable();
        let own_host = format!("host: {}", upstream.trim_start_matches("http://"));
        let forwarded_host = format!("x-forwarded-host: {host}");
        let expected = [
            "PUT /base/a%20b/?q=%2F&q=",
            &own_host,
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "x-forwarded-for: 192.0.2.1, 127.0.0.1",
            &forwarded_host,
            "x-twice: 1",
            "x-twice: 2",
        ];
        assert_eq!(seen, expected, "path, query and all other headers pass as they came");
    }

    #[tokio::test]
    async fn an_upstream_without_an_answer_is_a_status() {
        let silent = serve(Router::new().fallback(std::future::pending::<()>)).await;
        let unbound = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let cases = [
            (silent, Duration::from_millis(50), 504, "Gateway Timeout", "too slow"),
            (format!("http://{unbound}"), DEADLINE, 502, "Bad Gateway", "nothing listens there"),
            ("no url".to_owned(), DEADLINE, 502, "Bad Gateway", "that is no address"),
        ];
        for (upstream, timeout, status, text, why) in cases {
            let request = http::Request::get(gateway(&upstream, timeout).await).body(Body::empty()).unwrap();
            let response = ask(request).await;
            assert_eq!(response.status().as_u16(), status, "{why}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, text, "{why}: no internals");
        }
    }
}
