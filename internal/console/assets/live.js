// The live test.
import { announce, byId } from './dom.js';
import { call, curlOf } from './call.js';
import { copyButtons } from './copy.js';
import { follow } from './follow.js';
import { showJSON } from './json.js';
import { clearProblem, showProblem, spell } from './problem.js';
import { Timeline } from './timeline.js';

const base = byId('live').dataset.base;
const send = byId('send');
const verify = byId('verify');
const timeline = new Timeline();

// test is the OTP that is being tested; null before the first.
let test = null;

function requestOf() {
  const body = { phone: send.elements.phone.value.trim(), purpose: send.elements.purpose.value.trim() };
  if (send.elements.locale.value) body.locale = send.elements.locale.value;
  return body;
}

// busy keeps a button from being pressed while its request is under way. It stays focusable, so that the focus stays.
async function busy(button, work) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    await work();
  } finally {
    button.removeAttribute('aria-busy');
  }
}

// showRequest shows a request and the curl line that sends the same.
function showRequest(exchange) {
  byId('endpoint').textContent = `${exchange.method} ${exchange.path}`;
  if (exchange.body) showJSON(byId('request'), exchange.body);
  else byId('request').textContent = '(no body)';
  byId('curl').textContent = curlOf(base, exchange);
}

function showExchange(exchange) {
  showRequest(exchange);
  const status = byId('status');
  status.hidden = false;
  status.textContent = exchange.status || 'no answer';
  status.className = `pill ${exchange.status >= 200 && exchange.status < 300 ? 'accent' : 'bad'}`;
  byId('took').textContent = `${Math.round(exchange.ms).toLocaleString('en')} ms`;
  byId('headers').textContent = exchange.headers.map(([name, value]) => `${name}: ${value}\n`).join('');
  showJSON(byId('answer'), exchange.text);
  document.querySelector('[data-copy="answer"]').hidden = exchange.text === '';
}

// ask sends a request and shows it. It gives the exchange, or null where it failed and a box says so.
async function ask(method, path, body, box) {
  clearProblem(box);
  const exchange = await call(method, path, body);
  showExchange(exchange);
  if (exchange.status === 200) return exchange;
  showProblem(box, exchange);
  return null;
}

function show(view) {
  if (!test || view.otpId !== test.id || view.sends < test.sends) return;
  if (view.sends > test.sends) {
    test.sends = view.sends;
    timeline.begin(test.asked);
  }
  timeline.show(view.status, view.reason, view.state === 'verified');
  test.state = view.state;
  byId('view').hidden = false;
  showJSON(byId('state'), JSON.stringify(view));
  tick();
}

function tick() {
  if (!test) return;
  const left = Math.ceil((test.expires - (Date.now() + test.ahead)) / 1000);
  const words = { verified: 'Verified: this code is used up', superseded: 'Superseded by a newer one', cancelled: 'Cancelled', locked: 'Locked: too many wrong codes', expired: 'Expired' };
  if (test.state === 'open' && left <= 0) test.state = 'expired';
  byId('expiry').textContent = words[test.state] ?? `Expires in ${spell(left)}`;
  byId('resend').hidden = byId('cancel').hidden = test.state !== 'open';
}

// begin follows an OTP that was just issued.
function begin(exchange) {
  test?.stop();
  const { otpId, expiresAt, status, to, test: isTest } = exchange.json;
  const now = Date.now();
  test = {
    id: otpId, sends: isTest ? 0 : 1, asked: exchange.begun, state: 'open', expires: Date.parse(expiresAt),
    ahead: Math.abs(exchange.date - now) > 2000 ? exchange.date - now : 0, // of the server's clock; its header has whole seconds
    stop() {},
  };
  timeline.begin(exchange.begun);
  timeline.show(status);
  byId('delivery-note').textContent = isTest ? 'a test number: nothing is sent' : `to ${to}`;
  byId('actions').hidden = false;
  clearProblem(byId('action-problem'));
  clearProblem(byId('verify-problem'));
  byId('verdict').hidden = true;
  verify.querySelector('fieldset').disabled = false;
  byId('otp-hint').textContent = 'Each wrong code counts';
  byId('otp').value = '';
  tick();
  const connection = byId('connection');
  connection.hidden = false;
  connection.className = 'pill';
  connection.textContent = 'connecting';
  test.stop = follow(otpId, {
    view: show,
    connected(up) {
      if (!up && Date.now() + test.ahead > test.expires) { // the server follows an OTP for a minute longer than it lives
        test.stop();
        connection.hidden = true;
        return;
      }
      connection.className = up ? 'pill accent beat' : 'pill warn beat';
      connection.textContent = up ? 'live' : 'reconnecting';
    },
    signedOut() {
      connection.hidden = true;
      showProblem(byId('action-problem'), { status: 401, json: { code: 'signed_out' } });
    },
  });
}

send.addEventListener('submit', (event) => {
  event.preventDefault();
  const button = send.querySelector('button');
  busy(button, async () => {
    const exchange = await ask('POST', '/api/v1/otp', requestOf(), byId('send-problem'));
    if (!exchange) return;
    begin(exchange);
    // The code comes next, unless the person has gone elsewhere meanwhile.
    if ([button, document.body, send.elements.phone].includes(document.activeElement)) byId('otp').focus();
  });
});

verify.addEventListener('submit', (event) => {
  event.preventDefault();
  busy(verify.querySelector('button'), async () => {
    byId('verdict').hidden = true;
    const exchange = await ask('POST', '/api/v1/otp-verify', { otp_id: test.id, otp: byId('otp').value.trim() }, byId('verify-problem'));
    if (exchange) showVerdict(exchange.json);
  });
});

function showVerdict({ valid, reason, attemptsLeft }) {
  const verdict = byId('verdict');
  const left = attemptsLeft === undefined ? '' : attemptsLeft === 1 ? ' 1 attempt left.' : ` ${attemptsLeft} attempts left.`;
  verdict.className = `verdict ${valid ? 'good' : 'bad'}`;
  verdict.textContent = valid ? 'Valid. It can’t be used again.' : `${reason}.${left}`;
  verdict.hidden = false;
  if (valid) timeline.show('', '', true);
  else byId('otp').select();
}

byId('resend').addEventListener('click', () => busy(byId('resend'), async () => {
  const { asked, sends } = test;
  test.asked = performance.now(); // its first news may come before the answer
  const exchange = await ask('POST', `/api/v1/otp/${test.id}/resend`, undefined, byId('action-problem'));
  if (!exchange) {
    test.asked = asked;
    return;
  }
  announce('Sent again');
  if (exchange.json.test || test.sends > sends) return;
  test.sends++;
  timeline.begin(test.asked);
  timeline.show(exchange.json.status);
}));

byId('cancel').addEventListener('click', () => busy(byId('cancel'), async () => {
  const exchange = await ask('POST', `/api/v1/otp/${test.id}/cancel`, undefined, byId('action-problem'));
  if (!exchange) return;
  show(exchange.json);
  byId('delivery-title').focus(); // the button is gone
}));

// Before the first request, the panel shows what would be sent.
function preview() {
  if (byId('status').hidden) showRequest({ method: 'POST', path: '/api/v1/otp', body: JSON.stringify(requestOf()) });
}

const languages = new Intl.DisplayNames(['en'], { type: 'language' });
for (const option of send.elements.locale.options) {
  if (option.value) option.textContent = `${languages.of(option.value)} (${option.value})`;
}
send.addEventListener('input', preview);
setInterval(tick, 1000);
copyButtons();
preview();
