// The timeline of a message: which states it has been in, and how many milliseconds after the request.
import { announce, byId, make } from './dom.js';

const order = ['queued', 'sending', 'sent', 'delivered', 'read'];

// ends are the states in which a message doesn't arrive.
const ends = {
  failed: ['Failed', 'it won’t be sent'],
  expired: ['Expired', 'it wasn’t sent in time'],
  cancelled: ['Cancelled', 'it was never sent'],
  moved: ['Moved', 'it goes on in another pool'],
};

// reasons are the sentences for why a message failed; the code itself stands beside it.
const reasons = {
  not_on_whatsapp: 'the number has no WhatsApp account',
  refused: 'WhatsApp refused the message',
  rate_limited: 'WhatsApp told the session to slow down',
  reach_out_locked: 'WhatsApp lets this account write to no new contact',
  disconnected: 'the session has no connection',
  logged_out: 'the session was unlinked or banned',
  client_outdated: 'WhatsApp wants a newer client',
  unconfirmed: 'WhatsApp didn’t confirm it',
  unreachable: 'no device of the recipient could be reached',
  unreadable_job: 'the sender couldn’t open it',
  withdrawn: 'its OTP was withdrawn first',
};

const names = { queued: 'Queued', sending: 'Sending', sent: 'Sent', delivered: 'Delivered', read: 'Read', verified: 'Verified' };

export class Timeline {
  #list = byId('timeline');
  #begun = 0; // of the request, by performance.now()
  #reached = -1; // index in order
  #end = '';
  #verified = false;

  // begin starts anew for a message that was asked for then.
  begin(at) {
    this.#begun = at;
    this.#reached = -1;
    this.#verified = false;
    for (const row of this.#list.children) {
      row.removeAttribute('data-state');
      row.removeAttribute('data-now');
      row.querySelector('.ms').textContent = '';
    }
    this.#setEnd('', '');
  }

  // show takes in how things are by now: what comes late or twice changes nothing.
  show(status, reason, verified) {
    const at = performance.now();
    const rank = order.indexOf(status);
    if (rank > this.#reached) {
      for (let i = this.#reached + 1; i < rank; i++) this.#mark(order[i], 'passed');
      this.#mark(status, 'done', at);
      this.#reached = rank;
      if (rank >= order.indexOf('sent') && this.#end) this.#setEnd('', ''); // it went out after all
    } else if (ends[status] && this.#end !== status && this.#reached < order.indexOf('sent')) {
      this.#setEnd(status, reason);
      this.#mark('ended', 'bad', at, ends[status][0]);
    }
    if (verified && !this.#verified) {
      this.#verified = true;
      this.#mark('verified', 'done', at);
    }
  }

  // setEnd shows how a message ended in the place of the states that it won't reach, or with an empty status shows those.
  #setEnd(status, reason) {
    this.#end = status;
    for (const row of this.#list.children) row.hidden = status !== '' && !row.dataset.state;
    const row = this.#row('ended');
    row.hidden = status === '';
    if (row.hidden) return;
    const [name, sentence] = ends[status];
    row.querySelector('strong').textContent = name;
    row.querySelector('.quiet').replaceChildren(reasons[reason] ?? sentence, ...(reason ? [' ', make('code', {}, reason)] : []));
  }

  #row(step) {
    return this.#list.querySelector(`[data-step="${step}"]`);
  }

  #mark(step, state, at, name = names[step]) {
    const row = this.#row(step);
    row.dataset.state = state;
    if (at === undefined) return;
    const ms = `${Math.round(at - this.#begun).toLocaleString('en')} ms`;
    row.querySelector('.ms').textContent = ms;
    for (const other of this.#list.children) other.toggleAttribute('data-now', other === row);
    announce(`${name} after ${ms}`);
  }
}
