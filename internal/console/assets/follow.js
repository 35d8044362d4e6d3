// Live updates by server-sent events.

// follow calls back with each view of an OTP. EventSource connects again by itself and says what it had last, so nothing
// is missed; what it gives up on, like a server that is full, is tried again here. It returns what ends it.
//
// on.view hears a view, on.connected whether there is a connection, on.signedOut that the session has ended.
export function follow(id, on) {
  const path = `/console/api/v1/otp/${id}/events`;
  let source;
  let timer;
  let ended = false;

  function connect() {
    source = new EventSource(path);
    source.addEventListener('open', () => on.connected(true));
    source.addEventListener('status', (event) => on.view(JSON.parse(event.data)));
    source.addEventListener('error', () => {
      if (ended) return;
      on.connected(false);
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(again, 3000);
    });
  }

  async function again() {
    const answer = await fetch(path.replace(/\/events$/, '')).catch(() => null);
    if (ended) return;
    if (answer?.status === 401) on.signedOut();
    else connect();
  }

  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    source.close();
  };
}
