"""The front door of the chain as a real Flask application: the seat `python-api`.

It knows nothing of OpenTelemetry: `opentelemetry-instrument` adds all of that from outside. $CLIENT chooses the HTTP
client: `requests` (default), `httpx`, or `requests-zipkin`, which is requests with Zipkin's own library, as left over
from before OpenTelemetry: it sends B3 headers with ids that it makes up.
"""

import datetime
import os
import re
import uuid

import httpx
import requests
from flask import Flask, jsonify, request
from py_zipkin.transport import BaseTransportHandler
from py_zipkin.zipkin import create_http_headers_for_new_span, zipkin_span
from werkzeug.exceptions import HTTPException


class Nowhere(BaseTransportHandler):
    """Nobody runs Zipkin's server any more."""

    def get_max_payload_bytes(self):
        return None

    def send(self, payload):
        pass


def request_with_zipkin(method, url, headers=None, **more):
    with zipkin_span(service_name="python-api", span_name=method, transport_handler=Nowhere(), sample_rate=100):
        return requests.request(method, url, headers={**(headers or {}), **create_http_headers_for_new_span()}, **more)


CLAIMS_URL = os.environ.get("CLAIMS_URL", "http://127.0.0.1:7702").rstrip("/") + "/api/claims"
CLIENTS = {
    "requests": (requests.request, requests.RequestException),
    "requests-zipkin": (request_with_zipkin, requests.RequestException),
    "httpx": (httpx.request, httpx.HTTPError),
}
ASK, FAILED = CLIENTS[os.environ.get("CLIENT", "requests")]
CALL_TIMEOUT_S = 5
FIELDS = {"policy_id", "claimant", "incident_date", "amount_cents", "description"}

app = Flask(__name__)


@app.get("/healthz")
def health():
    return "", 200


@app.post("/claims")
def submit():
    claim_id = f"CLM-{uuid.uuid4().hex}"
    claim = request.get_json(silent=True)
    faults = faults_of(claim)
    if faults:
        status = 400 if not isinstance(claim, dict) else 422
        answer = problem(status, "the request has fields that cannot be accepted", errors=faults)
    else:
        answer = claims_answer("POST", CLAIMS_URL, 201, json=claim, headers={"x-claim-id": claim_id})
    answer.headers["x-claim-id"] = claim_id
    if answer.status_code == 201:
        answer.headers["location"] = f"/claims/{claim_id}"
    return answer


@app.get("/claims/<claim_id>")
def read(claim_id):
    if not re.fullmatch("CLM-[0-9a-f]{32}", claim_id):
        return problem(404, "there is no such claim")
    return claims_answer("GET", f"{CLAIMS_URL}/{claim_id}", 200)


@app.errorhandler(HTTPException)
def no_such_path(error):
    return problem(error.code, error.description)


def claims_answer(method, url, accepted, **request):
    """What the claims service says of the caller's request is the caller's to know; that it is down is not."""
    try:
        answer = ASK(method, url, timeout=CALL_TIMEOUT_S, **request)
        if answer.status_code < 400:
            return jsonify_as(answer.json(), accepted, "application/json")
        if answer.status_code < 500:
            return jsonify_as(answer.json(), answer.status_code, "application/problem+json")
        app.logger.warning("the claims service answered %s", answer.status_code)
    except (FAILED, ValueError) as error:
        app.logger.warning("the claims service did not answer: %s", error)
    return problem(503, "the claims service is not available, try again")


def problem(status, detail, **more):
    return jsonify_as({"status": status, "title": detail, "detail": detail, **more}, status, "application/problem+json")


def jsonify_as(body, status, media_type):
    answer = jsonify(body)
    answer.status_code, answer.content_type = status, media_type
    return answer


def faults_of(claim):
    if not isinstance(claim, dict):
        return [{"field": "body", "detail": "must be a JSON object"}]
    tests = {
        "policy_id": lambda it: re.fullmatch("[A-Z0-9-]{1,32}", it),
        "claimant": lambda it: 0 < len(it.strip()) and len(it) <= 100,
        "incident_date": lambda it: datetime.date.fromisoformat(it) <= tomorrow(),
        "amount_cents": lambda it: not isinstance(it, bool) and it == int(it) and 0 < it <= 100_000_000_000,
        "description": lambda it: 0 < len(it.strip()) and len(it) <= 2000,
    }
    unknown = [{"field": name, "detail": "is not a field of a claim"} for name in claim if name not in FIELDS]
    return unknown + [{"field": name, "detail": "cannot be accepted"}
                      for name, test in tests.items() if not passes(test, claim.get(name))]


def passes(test, value):
    try:
        return bool(test(value))
    except (TypeError, ValueError):
        return False


def tomorrow():
    return datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=1)
