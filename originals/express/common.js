'use strict';

exports.problem = (answer, status, detail, errors) =>
  answer.status(status).type('application/problem+json').json({ status, title: detail, detail, errors });

exports.listen = (app) => {
  app.use((_, answer) => exports.problem(answer, 404, 'there is nothing at this path'));
  app.use((error, _request, answer, _next) => exports.problem(answer, error.status ?? 500, 'the request could not be processed'));
  const server = app.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? '127.0.0.1');
  // What is under way is answered; then nothing keeps the process, and it ends.
  process.once('SIGTERM', () => server.close());
};
