// The local API: requests with the token, and the stream of events with its durable cursor.

const TOKEN = 'p2pgroup.token';

// The token comes after the #, which no server ever sees; it goes out of the address bar at once.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, '', location.pathname);
  }
  return sessionStorage.getItem(TOKEN);
}

export const keepToken = (token) => sessionStorage.setItem(TOKEN, token);
export const dropToken = () => sessionStorage.removeItem(TOKEN);

// A no of the API, with its code and what to do.
export class No extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `status ${status}`);
    this.status = status;
    this.code = body.code || '';
    this.hint = body.hint || '';
    this.title = body.title || '';
  }
}

const headers = (more) => ({ authorization: `Bearer ${sessionStorage.getItem(TOKEN) || ''}`, ...more });

async function refused(response) {
  let body = {};
  try { body = await response.json(); } catch { /* not one of ours */ }
  return new No(response.status, body);
}

export async function ask(method, path, body, more) {
  const init = { method, headers: headers(more), cache: 'no-store', credentials: 'omit' };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers['content-type'] = 'application/json';
  }
  const response = await fetch(path, init);
  if (!response.ok) throw await refused(response);
  return response.json();
}

export const get = (path) => ask('GET', path);
export const post = (path, body, more) => ask('POST', path, body, more);
export const del = (path) => ask('DELETE', path);

export async function raw(method, path, body) {
  const response = await fetch(path, {
    method, body, headers: headers(body ? { 'content-type': 'application/octet-stream' } : {}), credentials: 'omit',
  });
  if (!response.ok) throw await refused(response);
  return response;
}

export const part = (text) => encodeURIComponent(text);

// Where the stream of events stands now.
export async function newest() {
  return (await get('/v1/messages?after=18446744073709551615&last=0')).last;
}

// Server-sent events by fetch, which sets the header that EventSource cannot.
async function* told(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('data: ')) data.push(line.slice(6));
      else if (line === '' && data.length) {
        yield JSON.parse(data.join('\n'));
        data = [];
      }
    }
  }
}

const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

// Follows for ever: after whatever ends it, it goes on from the cursor. `lost` is called where the
// cursor leads nowhere any more, and gives a new one.
export async function follow(cursor, on) {
  let delay = 250;
  for (;;) {
    try {
      const response = await fetch(`/v1/events?since=${cursor}`, { headers: headers(), cache: 'no-store', credentials: 'omit' });
      if (response.status === 401) { on.locked(); return; }
      if (response.status === 410 || response.status === 400) {
        cursor = await on.lost();
        continue;
      }
      if (!response.ok) throw await refused(response);
      on.state(true);
      delay = 250;
      for await (const event of told(response)) {
        if (Number.isSafeInteger(event.cursor)) cursor = event.cursor;
        on.event(event);
      }
    } catch (error) {
      if (!(error instanceof No || error instanceof TypeError || error.name === 'AbortError')) console.error(error);
    }
    on.state(false);
    await wait(delay * (0.75 + Math.random() / 2));
    delay = Math.min(delay * 2, 8000);
  }
}
