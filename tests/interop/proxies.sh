#!/usr/bin/env bash
# What nginx and HAProxy do with trace headers: starts each with the configurations in docs/proxies, sends a request
# through it and looks at what arrives behind it.
#
#     tests/interop/proxies.sh
#
# Needs Python 3. A proxy that is not installed is skipped, and said to be. Exits 0 if nothing failed, 1 if a header
# fared differently from what docs/proxies.md says, 2 if a proxy could not be run.
set -euo pipefail

READY_DEADLINE_SECONDS=10
configurations=$(cd "$(dirname "$0")/../../docs/proxies" && pwd)
python=${PYTHON:-python3}

TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
B3=0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1
# Debian keeps both in /usr/sbin, which not every PATH has.
PATH=$PATH:/usr/sbin

give_up() {
    echo "$0: $1" >&2
    exit 2
}

scratch=$(mktemp -d)
children=()
stop() {
    # shellcheck disable=SC2317 # the trap calls it
    for child in "${children[@]}"; do
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap stop EXIT

free_ports=$("$python" -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(bound.getsockname()[1] for bound in sockets))')
read -r proxy_port backend_port <<<"$free_ports"

# await_listener PORT PID LOG
await_listener() {
    local deadline=$((SECONDS + READY_DEADLINE_SECONDS))
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        if ! kill -0 "$2" 2>/dev/null || ((SECONDS >= deadline)); then
            cat "$3" >&2
            give_up "nobody listened on port $1 within $READY_DEADLINE_SECONDS s"
        fi
        sleep 0.05
    done
}

# A backend that answers with the request headers as they came, a line each, and the body.
"$python" - "$backend_port" >"$scratch/backend.log" 2>&1 <<'PYTHON' &
import http.server, sys

class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        sent = self.rfile.read(int(self.headers["content-length"]))
        body = "".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode() + b"body: " + sent + b"\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
PYTHON
children+=($!)
await_listener "$backend_port" $! "$scratch/backend.log"

# Sends trace headers of three formats through the proxy, and prints what arrived.
ask() {
    "$python" - "$proxy_port" "$TRACEPARENT" "$B3" <<'PYTHON'
import http.client, sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
connection.request("POST", "/", body='{"amount_cents": 1}', headers={
    "Content-Type": "application/json",
    "Traceparent": sys.argv[2],
    "tracestate": "acme=1",
    "baggage": "tenant.id=acme-corp",
    "b3": sys.argv[3],
    "X-B3-TraceId": sys.argv[3].split("-")[0],
})
response = connection.getresponse()
if response.status != 200:
    sys.exit(f"the proxy answered {response.status}")
print(response.read().decode(), end="")
PYTHON
}

# In the foreground, with nothing outside of the scratch folder.
start_nginx() {
    local prefix=$scratch/nginx places="access_log off;" place
    mkdir -p "$prefix"
    for place in client_body proxy fastcgi uwsgi scgi; do
        places+=" ${place}_temp_path $prefix/$place;"
    done
    sed -i "s|^http {|& $places|" "$1"
    exec nginx -p "$prefix" -e stderr -g "daemon off; master_process off; pid $prefix/pid; error_log stderr;" -c "$1"
}

start_haproxy() {
    exec haproxy -db -f "$1"
}

passed=0 failed=0

# verdict SUCCEEDED FILE SENTENCE
verdict() {
    if (($1)); then
        passed=$((passed + 1))
        echo "ok      $2: $3"
    else
        failed=$((failed + 1))
        echo "FAILED  $2: $3"
    fi
}

# check FILE EXPECTED…: each EXPECTED is a pattern for the whole line of a header that arrives, in its spelling, or the
# name of one that does not, after a `!`.
check() {
    local file=$1 proxy=${1%%-*} changed=$scratch/$1 child arrived expected seen
    shift
    sed -e "s/127\.0\.0\.1:8080/127.0.0.1:$proxy_port/; s/127\.0\.0\.1:7703/127.0.0.1:$backend_port/" \
        "$configurations/$file" >"$changed"
    "start_$proxy" "$changed" >"$changed.log" 2>&1 &
    child=$!
    children+=("$child")
    await_listener "$proxy_port" "$child" "$changed.log"
    arrived=$(ask) || give_up "$file: no answer came through"
    kill "$child"
    wait "$child" 2>/dev/null || true
    unset 'children[-1]'
    for expected; do
        if [[ $expected == !* ]]; then
            seen=$(grep -i "^${expected#!}: " <<<"$arrived" || true)
            verdict "$((! ${#seen}))" "$file" "${expected#!} does not arrive${seen:+, seen: $seen}"
        else
            seen=$(grep -Ex "$expected" <<<"$arrived" || true)
            verdict "$((${#seen} > 0))" "$file" "${seen:-expected $expected, seen: ${arrived//$'\n'/; }}"
        fi
    done
}

# What was sent, as nginx passes it on, and as HAProxy does, which writes every name in lower case.
traceparent="Traceparent: $TRACEPARENT"
typed='[Cc]ontent-[Tt]ype: application/json' body='body: \{"amount_cents": 1\}'
others=("$body" 'tracestate: acme=1' 'baggage: tenant\.id=acme-corp' "b3: $B3" "X-B3-TraceId: ${B3%%-*}")
if command -v nginx >/dev/null; then
    check nginx-plain.conf "$traceparent" "$typed" "${others[@]}"
    check nginx-strip.conf '!traceparent' "${others[@]}"
    check nginx-pass-header.conf '!traceparent' "${others[@]}"
    check nginx-no-request-headers.conf "$body" '!content-type' '!traceparent' '!tracestate' '!baggage' '!b3' '!x-b3-traceid'
    check nginx-restore.conf "$body" "$typed" "${traceparent,}" 'tracestate: acme=1' 'baggage: tenant\.id=acme-corp' '!b3' '!x-b3-traceid'
    check nginx-not-inherited.conf "$traceparent" "${others[@]}"
    # Of the right form, so it is hard to see: the span id is made up, and the trace id is not the one that was sent.
    check nginx-rewrite.conf 'traceparent: 00-[0-9a-f]{32}-00f067aa0ba902b7-01' "${others[@]}"
else
    echo "skipped: nginx is not installed"
fi
if command -v haproxy >/dev/null; then
    check haproxy-plain.cfg "${traceparent,,}" "$typed" "${others[@]:0:4}" "x-b3-traceid: ${B3%%-*}"
    check haproxy-strip.cfg '!traceparent' "${others[@]:0:4}" "x-b3-traceid: ${B3%%-*}"
else
    echo "skipped: haproxy is not installed"
fi
echo "$passed passed, $failed failed"
((failed == 0))
