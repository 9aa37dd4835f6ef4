// The policy store as a real Express application: the seat `node-policy-store`. It knows nothing of OpenTelemetry.
'use strict';

const express = require('express');
const { listen, problem } = require('./common');

const policies = new Map(require('./policies.json').map((policy) => [policy.policy_id, policy]));
const app = express();

app.get('/healthz', (_, answer) => answer.end());

app.get('/policies/:id', (request, answer) => {
  const policy = policies.get(request.params.id);
  if (policy) answer.json(policy);
  else problem(answer, 404, 'there is no such policy');
});

listen(app);
