// The messages on the screen. A few hundred rows at most are in the page at a time; they are
// brought up to date once a frame, however many messages came, and what one looks at stays where
// it is.

import { clock, dayKey, dayName, eachFrame, el, h, several, whole } from './dom.js';
import { fileRow } from './files.js';
import { action, beginning, hue, line, nodes, upTo } from './text.js';

const ROWS = 240;
const ROWS_MAX = 420;
const STEP = 120;
const NEAR_EDGE = 600;
const QUICK = ['👍', '❤️', '😄', '🎉', '👀', '✅'];

// What stands in place of a text that is not there any more.
const gone = (item) => (item.ended ? 'expired' : 'deleted');
const articleOf = (node) => (node?.matches('article') ? node : node?.querySelector('article'));

export class Log {
  // `on` has: older(), seen(), choose(item, deed, text), jump(id), own(item), me().
  constructor(on) {
    this.on = on;
    this.box = el('log');
    this.newest = el('newest');
    this.messages = undefined;
    this.low = 0;
    this.high = 0;
    this.follows = true;
    this.rows = new Map();
    this.freshAfter = undefined;
    this.below = 0;
    this.came = [];
    this.tools = this.makeTools();
    this.update = eachFrame(() => this.draw());
    this.box.addEventListener('scroll', () => this.scrolled(), { passive: true });
    this.box.addEventListener('keydown', (event) => this.key(event));
    this.box.addEventListener('pointerover', (event) => this.pointAt(event.target));
    this.box.addEventListener('focusin', (event) => this.pointAt(event.target));
    this.box.addEventListener('click', (event) => this.clicked(event));
    this.newest.addEventListener('click', () => this.toNewest());
    // Another width makes other lines: who reads the newest goes on doing so.
    new ResizeObserver(() => { if (this.follows) this.box.scrollTop = this.box.scrollHeight; }).observe(this.box);
  }

  show(messages, others, freshAfter, place) {
    this.messages = messages;
    this.others = others;
    this.freshAfter = freshAfter;
    this.rows.clear();
    this.box.replaceChildren();
    this.below = 0;
    this.isDetached = false;
    this.high = messages.items.length;
    this.low = Math.max(0, this.high - ROWS);
    this.follows = true;
    const at = place && messages.items.findIndex((item) => item.id === place.id);
    if (place && at >= 0) {
      this.follows = false;
      this.low = Math.max(0, at - STEP);
      this.high = Math.min(messages.items.length, at + ROWS);
    }
    this.draw();
    if (!this.follows) {
      const row = this.rows.get(place.id)?.node;
      if (row) this.box.scrollTop = row.offsetTop - place.offset;
    }
  }

  // Where one looks, to come back to after a reload.
  place() {
    if (this.follows || !this.messages) return undefined;
    const top = this.box.scrollTop;
    const row = [...this.box.querySelectorAll('[data-id]')].find((it) => it.offsetTop + it.offsetHeight > top);
    return row && { id: row.dataset.id, offset: row.offsetTop - top };
  }

  scrolled() {
    if (!this.messages || this.isDrawing) return;
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const atEnd = scrollHeight - scrollTop - clientHeight < 40;
    const isLast = this.high >= this.messages.items.length && !this.isDetached;
    // What has come and is not drawn yet makes nobody stop following.
    this.follows = atEnd && (this.follows || isLast);
    if (this.follows && this.below) { this.below = 0; this.update(); }
    this.edges();
    if (this.follows) this.on.seen();
    this.newest.hidden = this.follows;
    this.on.moved();
  }

  toNewest() {
    if (this.isDetached) { this.on.reopen(); return; }
    this.high = this.messages.items.length;
    this.low = Math.max(0, this.high - ROWS);
    this.follows = true;
    this.below = 0;
    this.draw();
    this.box.focus({ preventScroll: true });
    this.on.seen();
  }

  // So many messages of others came while one reads elsewhere.
  arrived(count) {
    if (!this.follows) this.below += count;
    this.came.push(count);
    this.update();
  }

  // How many were put before those held.
  prepended(count) {
    this.low += count;
    this.high += count;
    if (this.box.scrollTop < NEAR_EDGE) this.low = Math.max(0, this.low - STEP);
    this.update();
  }

  dropped(count) {
    this.low = Math.max(0, this.low - count);
    this.high = Math.max(0, this.high - count);
  }

  draw() {
    const messages = this.messages;
    if (!messages) return;
    this.isDrawing = true;
    clearTimeout(this.ender);
    const next = messages.end(Date.now());
    // Longer than a timer can be set, it is looked at once more.
    if (next < Infinity) this.ender = setTimeout(this.update, Math.min(next - Date.now(), 0x7fffffff));
    const { items } = messages;
    // A crowd that talks at once is not read aloud word by word.
    const crowd = this.came.reduce((sum, count) => sum + count, 0) > 5;
    this.came = [];
    const live = crowd ? 'off' : 'polite';
    if (this.box.getAttribute('aria-live') !== live) this.box.setAttribute('aria-live', live);
    if (this.follows) {
      this.high = items.length;
      if (this.high - this.low > ROWS + 60 || this.low > this.high) this.low = Math.max(0, this.high - ROWS);
    }
    this.high = Math.min(this.high, items.length);
    if (this.high - this.low > ROWS_MAX) {
      // The far side goes: above while one reads downwards, below while one reads upwards.
      const isUp = this.box.scrollTop < this.box.scrollHeight / 2;
      if (isUp) this.high = this.low + ROWS_MAX; else this.low = this.high - ROWS_MAX;
    }
    const anchor = this.follows ? undefined : this.anchor();
    this.reconcile(items);
    if (this.follows) this.box.scrollTop = this.box.scrollHeight;
    else if (anchor) {
      // A row may have been made anew: it is known by its message.
      const row = articleOf(this.rows.get(anchor.id)?.node);
      if (row) this.box.scrollTop += row.offsetTop - anchor.top;
    }
    this.newest.hidden = this.follows;
    const told = this.below ? `↓ ${several(this.below, 'new message')}` : '↓ Newest';
    if (this.newest.textContent !== told) this.newest.textContent = told;
    this.isDrawing = false;
    if (!this.follows) this.edges();
  }

  anchor() {
    const top = this.box.scrollTop;
    for (let node = this.box.firstChild; node; node = node.nextSibling) {
      const row = node.dataset.id && articleOf(node);
      if (row && node.offsetTop + node.offsetHeight > top) return { id: node.dataset.id, top: row.offsetTop };
    }
    return undefined;
  }

  // Near an edge of what is drawn there is more.
  edges() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    if (scrollTop < NEAR_EDGE) {
      if (this.low > 0) { this.low = Math.max(0, this.low - STEP); this.update(); }
      else if (!this.messages.isWhole) this.on.older();
    } else if (scrollHeight - scrollTop - clientHeight < NEAR_EDGE && this.high < this.messages.items.length) {
      this.high = Math.min(this.messages.items.length, this.high + STEP);
      this.update();
    }
  }

  reconcile(items) {
    const wanted = [];
    const keep = new Set();
    if (this.low === 0 && this.messages.isWhole) wanted.push(this.fixed('start', items.length ? 'The beginning of this room' : 'Nothing was said here yet'));
    for (let at = this.low; at < this.high; at += 1) {
      wanted.push(this.row(items[at], items[at - 1]));
      keep.add(items[at].id);
    }
    if (!this.isDetached && this.high >= items.length) {
      let previous = items.at(-1);
      for (const item of this.messages.pending) {
        wanted.push(this.row(item, previous));
        keep.add(item.id);
        previous = item;
      }
    }
    if (this.isDetached) wanted.push(this.fixed('gap', 'Later messages: Newest'));
    for (const id of this.rows.keys()) if (!keep.has(id)) this.rows.delete(id);
    const nodesWanted = new Set(wanted);
    for (let node = this.box.firstChild; node;) {
      const next = node.nextSibling;
      if (!nodesWanted.has(node)) node.remove();
      node = next;
    }
    let node = this.box.firstChild;
    for (const row of wanted) {
      if (row === node) node = node.nextSibling;
      else this.box.insertBefore(row, node);
    }
  }

  fixed(name, text) {
    this.notes ??= new Map();
    const key = name + text;
    if (!this.notes.has(key)) this.notes.set(key, h('p', { class: 'edge', text }));
    return this.notes.get(key);
  }

  row(item, previous) {
    const day = !previous || dayKey(previous.at) !== dayKey(item.at);
    const fresh = previous !== undefined && previous.id === this.freshAfter;
    const joined = !day && !fresh && previous && !item.of_reply && !previous.app && !item.app
      && previous.peer_id === item.peer_id && item.at - previous.at < 300000;
    const state = item.state || '';
    const sign = `${item.version}|${day}|${fresh}|${joined}|${state}|${item.to?.size ?? ''}|${item.fileState ?? ''}|${this.others}`;
    const held = this.rows.get(item.id);
    if (held && held.sign === sign) return held.node;
    const node = this.make(item, day, fresh, joined);
    if (held && held.node.contains(document.activeElement)) queueMicrotask(() => node.focus({ preventScroll: true }));
    this.rows.set(item.id, { node, sign });
    return node;
  }

  make(item, day, fresh, joined) {
    const own = this.on.own(item);
    const named = !own && !item.deleted && this.on.named(item);
    const classes = ['message', own && 'own', joined && 'joined', named && 'named', item.app && 'app-made', item.deleted && 'gone', item.state && 'pending'];
    const body = h('p', { class: 'text', dir: 'auto' });
    if (item.deleted) body.append(gone(item));
    else {
      const done = item.app ? undefined : action(item.text);
      if (done) body.append(h('strong', { class: `hue${hue(item.peer_id)}`, text: `* ${line(item.from)}` }), ' ');
      const text = done ?? item.text;
      const first = item.open ? text : beginning(text);
      body.append(...nodes(first, this.on.pattern()));
      if (first.length < text.length) body.append('… ', h('button', { type: 'button', class: 'plain', 'data-deed': 'open', text: `Show all ${text.length.toLocaleString()} characters` }));
    }
    const article = h('article', { class: classes.filter(Boolean).join(' '), 'data-id': item.id, tabindex: -1 },
      !joined && h('header', {},
        h('strong', { class: `hue${hue(item.peer_id)}`, text: line(item.from) }),
        h('time', { datetime: item.sent_at, title: whole(item.at), text: clock(item.at) }),
        item.app && h('span', { class: 'tag', text: line(item.app) }),
        item.fork && h('span', { class: 'tag bad', title: 'Its author signed several messages for one place', text: 'fork' }),
        item.expires_at && h('span', { class: 'tag', title: whole(new Date(item.expires_at)), text: 'ends' })),
      joined && h('time', { class: 'aside', datetime: item.sent_at, title: whole(item.at), text: clock(item.at) }),
      item.of_reply && this.quoted(item),
      item.file && !item.deleted ? fileRow(item, this.on) : body,
      item.edited && !item.deleted && h('span', { class: 'small edited', text: 'edited' }),
      own && this.delivery(item),
      item.marks.size > 0 && !item.deleted && this.marks(item));
    if (!day && !fresh) return article;
    // The line belongs to the row, so that both come and go together.
    return h('div', { class: 'with-line', 'data-id': item.id },
      day && h('p', { class: 'day' }, h('span', { text: dayName(item.at) })),
      fresh && h('p', { class: 'fresh' }, h('span', { text: 'new' })),
      article);
  }

  quoted(item) {
    const to = this.messages.byId.get(item.of_reply);
    const text = to ? (to.deleted ? gone(to) : upTo(line(action(to.text) ?? to.text), 160)) : 'an earlier message';
    return h('button', { type: 'button', class: 'quote', 'data-jump': item.of_reply },
      to && h('strong', { class: `hue${hue(to.peer_id)}`, text: line(to.from) }), ` ${text}`);
  }

  marks(item) {
    const list = h('ul', { class: 'marks', 'aria-label': 'Reactions' });
    for (const [mark, names] of item.marks) {
      const mine = names.has(this.on.me());
      const who = [...names].map(line).join(', ');
      list.append(h('li', {}, h('button', {
        type: 'button', class: mine ? 'mark mine' : 'mark', 'aria-pressed': String(mine), title: who,
        'data-mark': mark, 'aria-label': `${line(mark)}: ${who}`,
      }, `${line(mark)} ${names.size}`)));
    }
    return list;
  }

  delivery(item) {
    let [sign, told] = ['', ''];
    if (item.state === 'sending') [sign, told] = ['…', 'Sending'];
    else if (item.state) [sign, told] = ['!', item.state];
    else if (item.to && item.to.size >= this.others && this.others > 0) [sign, told] = ['✓', 'Everybody has it'];
    else if (item.to && item.to.size > 0) [sign, told] = [`${item.to.size}/${this.others}`, `${item.to.size} of ${this.others} have it`];
    else if (item.to && this.others > 0) [sign, told] = ['·', 'Nobody else has it yet'];
    if (!sign) return false;
    const failed = item.state && item.state !== 'sending';
    return h('span', { class: failed ? 'delivered bad' : 'delivered' },
      h('button', { type: 'button', 'data-deed': failed ? 'retry' : 'info', title: told, 'aria-label': told, text: sign }),
      failed && h('span', { class: 'small bad', text: ` ${item.state} ` }),
      failed && h('button', { type: 'button', 'data-deed': 'discard', text: 'Discard' }));
  }

  makeTools() {
    const button = (deed, text, label) => h('button', { type: 'button', 'data-deed': deed, text, title: label, 'aria-label': label });
    return h('div', { class: 'tools-row', role: 'toolbar', 'aria-label': 'What to do with this message' },
      QUICK.slice(0, 3).map((mark) => h('button', { type: 'button', 'data-mark': mark, text: mark, 'aria-label': `React with ${mark}` })),
      button('more', '+', 'Another mark'),
      button('reply', 'Reply', 'Reply (r)'),
      button('edit', 'Edit', 'Edit (e)'),
      button('delete', 'Delete', 'Delete (d)'),
      button('info', 'Info', 'Who has it (i)'));
  }

  pointAt(target) {
    const row = target.closest?.('article.message');
    if (!row || row.contains(this.tools)) return;
    const item = this.messages?.byId.get(row.dataset.id);
    if (!item || item.deleted || item.state) return;
    const own = this.on.own(item);
    for (const button of this.tools.children) {
      if (button.dataset.deed === 'edit') button.hidden = !own || Boolean(item.file || item.app);
      if (button.dataset.deed === 'delete') button.hidden = !own;
      if (button.dataset.deed === 'more') button.textContent = '+';
    }
    for (const extra of this.tools.querySelectorAll('.extra')) extra.remove();
    row.append(this.tools);
  }

  clicked(event) {
    const button = event.target.closest('button');
    const row = event.target.closest('[data-id]');
    if (!button || !row) return;
    if (button.dataset.jump) { this.on.jump(button.dataset.jump); return; }
    const id = row.dataset.id;
    const item = this.messages.byId.get(id) || this.messages.pending.find((it) => it.id === id);
    if (!item) return;
    if (button.dataset.deed === 'more') {
      button.after(...QUICK.slice(3).map((mark) => h('button', { type: 'button', class: 'extra', 'data-mark': mark, text: mark, 'aria-label': `React with ${mark}` })));
      button.nextSibling.focus();
      return;
    }
    if (button.dataset.deed === 'open') {
      item.open = true;
      item.version = (item.version || 0) + 1;
      this.draw();
      return;
    }
    if (button.dataset.mark) {
      const mine = item.marks.get(button.dataset.mark)?.has(this.on.me());
      this.on.deed(item, mine ? 'unreact' : 'react', button.dataset.mark);
    } else if (button.dataset.deed) this.on.deed(item, button.dataset.deed);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = [...this.box.querySelectorAll('article.message')];
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const go = (row) => { row?.focus(); row?.scrollIntoView({ block: 'nearest' }); };
    if (event.key === 'ArrowUp') go(at < 0 ? rows.at(-1) : rows[Math.max(0, at - 1)]);
    else if (event.key === 'ArrowDown' && at >= 0) go(rows[Math.min(rows.length - 1, at + 1)]);
    else if (event.key === 'End') this.toNewest();
    else if (at >= 0 && document.activeElement === rows[at] && 'redi'.includes(event.key)) {
      const item = this.messages.byId.get(rows[at].dataset.id);
      const deed = { r: 'reply', e: 'edit', d: 'delete', i: 'info' }[event.key];
      if (item && (deed === 'reply' || deed === 'info' || this.on.own(item))) this.on.deed(item, deed);
    } else return;
    event.preventDefault();
  }

  // Shows a message that is held.
  reveal(id) {
    const at = this.messages.items.findIndex((item) => item.id === id);
    if (at < 0) return false;
    this.follows = false;
    this.low = Math.max(0, at - STEP);
    this.high = Math.min(this.messages.items.length, at + STEP);
    this.draw();
    const row = this.box.querySelector(`article[data-id="${CSS.escape(id)}"]`);
    if (row) {
      row.scrollIntoView({ block: 'center' });
      row.focus({ preventScroll: true });
      row.classList.add('found');
      setTimeout(() => row.classList.remove('found'), 2000);
    }
    return true;
  }
}
