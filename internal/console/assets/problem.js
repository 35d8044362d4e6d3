// Showing errors: problem documents (RFC 9457) of the API, and no answer at all.
import { make } from './dom.js';

const timers = new WeakMap();

// clearProblem takes an error away, and the marks on the fields of its form.
export function clearProblem(box) {
  clearInterval(timers.get(box));
  box.hidden = true;
  box.replaceChildren();
  for (const field of box.closest('form')?.elements ?? []) field.removeAttribute('aria-invalid');
}

// showProblem shows what went wrong in an exchange: code, sentence, where it is explained, and a countdown until another
// try makes sense.
export function showProblem(box, exchange) {
  clearProblem(box);
  const p = exchange.json ?? {};
  if (exchange.status === 0) {
    box.append(line('No answer'), make('p', {}, 'The server can’t be reached. Look whether it runs, and try again.'));
  } else if (p.code === 'signed_out') {
    box.append(line('You are signed out'), make('p', {}, make('a', { href: '/console/sign-in' }, 'Sign in again'), ' to go on.'));
  } else {
    box.append(line(p.title ?? 'Something went wrong', p.code ?? String(exchange.status), p.limit));
    if (p.detail) box.append(make('p', {}, p.detail));
    if (exchange.retryAfter > 0) box.append(countdown(box, exchange.retryAfter));
    if (p.type?.startsWith('/')) box.append(make('p', {}, make('a', { href: p.type }, 'What to do about it')));
    if (p.code === 'internal' && exchange.requestId) box.append(make('p', {}, 'In the log: ', make('code', {}, exchange.requestId)));
    const field = box.closest('form')?.elements.namedItem(p.field);
    if (field) {
      field.setAttribute('aria-invalid', 'true');
      field.focus();
    }
  }
  box.hidden = false;
}

function line(title, ...codes) {
  return make('p', { class: 'what' }, make('strong', {}, title), ...codes.filter(Boolean).map((c) => make('code', {}, c)));
}

// countdown is a line that counts down. It is said aloud once, not each second.
function countdown(box, seconds) {
  const text = make('p', { class: 'retry', role: 'timer', 'aria-live': 'off' });
  const end = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    text.textContent = left > 0 ? `Try again in ${spell(left)}.` : 'You can try again now.';
    if (left <= 0) clearInterval(timers.get(box));
  };
  tick();
  timers.set(box, setInterval(tick, 250));
  return text;
}

// spell is a number of seconds as people say it.
export function spell(seconds) {
  const two = (n) => String(n).padStart(2, '0');
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${two(seconds % 60)} min`;
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)} h`;
}
