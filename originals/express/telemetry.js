// The SDK of the Express services, loaded with `--require`. Node's auto-instrumentations have no environment variable for
// captured headers: that takes code, which is this file. Everything else comes from OTEL_*.
'use strict';

const { getNodeAutoInstrumentations } = require('@opentelemetry/auto-instrumentations-node');
const { NodeSDK } = require('@opentelemetry/sdk-node');

const requestHeaders = [
  'traceparent', 'tracestate', 'baggage', 'b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled',
  'x-b3-flags', 'uber-trace-id', 'x-claim-id',
];
const responseHeaders = ['x-claim-id'];

const sdk = new NodeSDK({
  instrumentations: [
    getNodeAutoInstrumentations({
      '@opentelemetry/instrumentation-http': {
        headersToSpanAttributes: { client: { requestHeaders, responseHeaders }, server: { requestHeaders, responseHeaders } },
        ignoreIncomingRequestHook: (request) => request.url === '/healthz',
      },
      '@opentelemetry/instrumentation-undici': { headersToSpanAttributes: { requestHeaders, responseHeaders } },
    }),
  ],
});
sdk.start();
// The application ends by itself; the spans that wait by then are exported.
process.once('beforeExit', () => sdk.shutdown());
