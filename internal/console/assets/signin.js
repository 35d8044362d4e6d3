// The secret of a sign-in link stands behind the #, which browsers don't send. It goes into the form, and out of the
// address, so that it isn't left in the history.
import { byId } from './dom.js';

function take() {
  const secret = location.hash.slice(1);
  if (!secret) return;
  byId('link').value = secret;
  byId('paste').hidden = true;
  byId('more').hidden = true;
  byId('ready').hidden = false;
  history.replaceState(null, '', location.pathname);
  document.querySelector('#sign-in button').focus();
}

take();
window.addEventListener('hashchange', take); // a link that is opened where this page is open already loads nothing
