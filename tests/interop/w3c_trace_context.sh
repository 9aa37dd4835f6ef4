#!/usr/bin/env bash
# Runs the conformance suite of W3C Trace Context, level 2, against our server layer and client.
#
#     tests/interop/w3c_trace_context.sh [CHECKOUT]
#
# CHECKOUT is a clone of https://github.com/w3c/trace-context; its suite needs Python 3 with aiohttp. PYTHON names the
# interpreter (default: python3), INSUREWATCH the binary (default: target/debug/insurewatch, from `cargo build`).
# Exits 0 if every test passed, or if no CHECKOUT was given and so nothing was run; 1 if a test failed; 2 if the suite
# could not be run.
set -euo pipefail

READY_DEADLINE_SECONDS=10
python=${PYTHON:-python3}
insurewatch=${INSUREWATCH:-$(dirname "$0")/../../target/debug/insurewatch}

give_up() {
    echo "$0: $1" >&2
    exit 2
}

if [[ $# -eq 0 ]]; then
    cat <<HELP
Nothing was run: the suite is not part of this repository. To run it:

    git clone https://github.com/w3c/trace-context ../trace-context
    python3 -m venv ../trace-context/venv
    ../trace-context/venv/bin/pip install aiohttp
    cargo build
    PYTHON=../trace-context/venv/bin/python $0 ../trace-context
HELP
    exit 0
fi

suite=$1/test/test.py
[[ -f $suite ]] || give_up "$1 is no checkout of w3c/trace-context: it has no test/test.py"
[[ -x $insurewatch ]] || give_up "$insurewatch is missing: run \`cargo build\`"
"$python" -c 'import aiohttp' || give_up "$python lacks aiohttp"

# One for the service, one for the suite's own server.
free_ports=$("$python" -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(bound.getsockname()[1] for bound in sockets))')
read -r service_port harness_port <<<"$free_ports"

# The defaults are what is tested, whatever the caller's environment says: the SDK is on.
unset "${!OTEL_@}" "${!INSUREWATCH_@}"
log=$(mktemp)
NO_PROXY=127.0.0.1 "$insurewatch" serve trace-context-echo --listen "127.0.0.1:$service_port" >"$log" 2>&1 &
service=$!
stop() {
    # Its spans have no receiver here, so its last flush fails, after some seconds.
    kill "$service" 2>/dev/null || true
    wait "$service" || true
    rm -f "$log"
}
trap stop EXIT

deadline=$((SECONDS + READY_DEADLINE_SECONDS))
until (exec 3<>"/dev/tcp/127.0.0.1/$service_port") 2>/dev/null; do
    if ! kill -0 "$service" 2>/dev/null || ((SECONDS >= deadline)); then
        cat "$log" >&2
        give_up "the service ended, or did not listen within $READY_DEADLINE_SECONDS s"
    fi
    sleep 0.05
done

# The suite exits with the number of tests that failed.
HARNESS_PORT=$harness_port SPEC_LEVEL=2 STRICT_LEVEL=2 PYTHONDONTWRITEBYTECODE=1 \
    "$python" "$suite" "http://127.0.0.1:$service_port/test" || exit 1
