// The front door of the chain as a real Express application: the seat `python-api`, which any language can fill. It knows
// nothing of OpenTelemetry. $CLIENT chooses the HTTP client: `axios` (default), which uses Node's `http`, `undici`, which
// is Node's `fetch`, or `axios-zipkin`, which is axios with Zipkin's own instrumentation, as left over from before
// OpenTelemetry: it sends B3 headers with ids that it makes up.
'use strict';

const { randomUUID } = require('node:crypto');
const axios = require('axios');
const express = require('express');
const { BatchRecorder, ExplicitContext, Tracer } = require('zipkin');
const wrapAxios = require('zipkin-instrumentation-axiosjs');
const { listen, problem } = require('./common');

const claimsUrl = `${(process.env.CLAIMS_URL ?? 'http://127.0.0.1:7702').replace(/\/$/, '')}/api/claims`;
const CALL_TIMEOUT_MS = 5000;

const by = (axios) => async (method, url, headers, body) => {
  const answer = await axios.request(
    { method, url, headers, data: body, timeout: CALL_TIMEOUT_MS, validateStatus: () => true, proxy: false });
  return { status: answer.status, body: answer.data };
};

const withZipkin = () => {
  // Its spans go nowhere: nobody runs its server any more.
  const recorder = new BatchRecorder({ logger: { logSpan() {} } });
  return wrapAxios(axios, { tracer: new Tracer({ ctxImpl: new ExplicitContext(), recorder, localServiceName: 'python-api' }) });
};

const clients = {
  axios: by(axios),
  'axios-zipkin': by(withZipkin()),
  undici: async (method, url, headers, body) => {
    const answer = await fetch(url, {
      method,
      headers: body ? { ...headers, 'content-type': 'application/json' } : headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    return { status: answer.status, body: await answer.json() };
  },
};
const ask = clients[process.env.CLIENT ?? 'axios'];

const app = express();
app.use(express.json({ limit: '64kb' }));

app.get('/healthz', (_, answer) => answer.end());

app.post('/claims', async (request, answer) => {
  const claimId = `CLM-${randomUUID().replaceAll('-', '')}`;
  answer.set('x-claim-id', claimId);
  const errors = faults(request.body ?? {});
  if (errors.length) return problem(answer, 422, 'the request has fields that cannot be accepted', errors);
  await passOn(answer.location(`/claims/${claimId}`), 201, 'POST', claimsUrl, { 'x-claim-id': claimId }, request.body);
});

app.get('/claims/:id', async (request, answer) => {
  if (!/^CLM-[0-9a-f]{32}$/.test(request.params.id)) return problem(answer, 404, 'there is no such claim');
  await passOn(answer, 200, 'GET', `${claimsUrl}/${request.params.id}`, {});
});

listen(app);

// What the claims service says of the caller's request is the caller's to know; that it is down is not.
async function passOn(answer, accepted, ...call) {
  try {
    const { status, body } = await ask(...call);
    if (status < 400) return answer.status(accepted).json(body);
    if (status < 500) return answer.status(status).type('application/problem+json').json(body);
    console.warn(`the claims service answered ${status}`);
  } catch (error) {
    console.warn(`the claims service did not answer: ${error.message}`);
  }
  return problem(answer, 503, 'the claims service is not available, try again');
}

function faults(claim) {
  const text = (most) => (it) => typeof it === 'string' && it.trim().length > 0 && it.length <= most;
  const tests = {
    policy_id: (it) => /^[A-Z0-9-]{1,32}$/.test(it),
    claimant: text(100),
    incident_date: (it) => /^\d{4}-\d\d-\d\d$/.test(it) && Date.parse(it) <= Date.now() + 86_400_000,
    amount_cents: (it) => Number.isSafeInteger(it) && it > 0 && it <= 100_000_000_000,
    description: text(2000),
  };
  const unknown = Object.keys(claim).filter((field) => !(field in tests));
  return [
    ...unknown.map((field) => ({ field, detail: 'is not a field of a claim' })),
    ...Object.keys(tests).filter((field) => !tests[field](claim[field])).map((field) => ({ field, detail: 'cannot be accepted' })),
  ];
}
