// Calls of the API. The console answers them in its own process, so there is no key in this browser.

// worthShowing are the headers that say something to a caller.
const worthShowing = ['Retry-After', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'];

// call sends a request and gives the whole exchange. It doesn't throw: without an answer the status is 0.
export async function call(method, path, body) {
  const exchange = { method, path, body: body && JSON.stringify(body), begun: performance.now(), status: 0, headers: [], text: '', json: null };
  try {
    const answer = await fetch('/console' + path, {
      method,
      body: exchange.body,
      headers: body ? { 'Content-Type': 'application/json' } : {},
      redirect: 'error',
    });
    exchange.text = await answer.text();
    exchange.status = answer.status;
    exchange.headers = worthShowing.filter((h) => answer.headers.has(h)).map((h) => [h, answer.headers.get(h)]);
    exchange.retryAfter = Number(answer.headers.get('Retry-After')) || 0;
    exchange.requestId = answer.headers.get('X-Request-Id');
    exchange.date = Date.parse(answer.headers.get('Date'));
    exchange.json = JSON.parse(exchange.text);
  } catch {
    // No answer, or one that isn't JSON: what is there is shown.
  }
  exchange.ms = performance.now() - exchange.begun;
  return exchange;
}

// curlOf is the same request as a line for a shell.
export function curlOf(base, { method, path, body }) {
  const parts = [`curl -sS ${method === 'POST' && !body ? '-X POST ' : ''}${quote(base + path)}`, `-H "X-API-Key: $WABEK_API_KEY"`];
  if (body) parts.push(`-H 'Content-Type: application/json'`, `-d ${quote(body)}`);
  return parts.join(' \\\n  ');
}

// quote makes one word of a text, for any POSIX shell.
function quote(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
