// A server that does what a real reader cannot be made to do. The others are in services/lab/browser/client_test.go.
import { once } from "node:events";
import { createServer } from "node:http";

/** Answers one request after another with one of answers, and those that come after them with the last. */
export async function serve(t, ...answers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    requests.push({ url: new URL(request.url, "http://reader"), headers: request.headers, body });
    await answers[Math.min(requests.length, answers.length) - 1](response, request);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

/** An event stream that has these events; it stays open unless it ends. */
export const stream = (...events) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const ends = events.at(-1) === end;
  response.write(events.slice(0, ends ? -1 : undefined).join(""));
  if (ends) response.end();
};
export const end = Symbol("end");

export const refusal = (status, error, headers = {}) => (response) =>
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify({ error }));

export const event = (name, id, data) =>
  `${name ? `event: ${name}\n` : ""}${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(data)}\n\n`;
export const connected = (id) => `retry: 1\n${event("", id, { type: "connected", userid: "me", videoid: "demo", instance: "reader-1" })}`;
export const comment = (id, text = id) => event("", id, { userid: "you", videoid: "demo", comment: text, timestamp: "2026-11-27T12:00:00Z" });
