// The page: what is known of the member, which room is open, and what keys and clicks do.

import * as api from './api.js';
import { eachFrame, el, h, several } from './dom.js';
import * as files from './files.js';
import { Messages } from './messages.js';
import * as panels from './panels.js';
import { Log } from './room.js';
import { isNamed, line, naming } from './text.js';

const PAGE = 100;
const state = { me: '', peer: '', rooms: new Map(), members: [], status: {}, room: undefined, online: false, answering: undefined };
let pattern;
let log;

// What comes back after a reload: room, place, drafts.
const PLACE = 'p2pgroup.place';
const kept = (() => { try { return JSON.parse(sessionStorage.getItem(PLACE)) || {}; } catch { return {}; } })();
const drafts = kept.drafts || {};

function keep() {
  if (!state.room) return;
  const text = el('text').value;
  if (text) drafts[state.room] = text; else delete drafts[state.room];
  const place = { room: state.room, at: log.place(), drafts, panel: panels.current().name };
  sessionStorage.setItem(PLACE, JSON.stringify(place));
}

const label = (room) => (room.startsWith('@') ? line(room) : `#${line(room)}`);
const held = (name) => {
  if (!state.rooms.has(name)) state.rooms.set(name, { name, messages: new Messages(), unread: 0, mentions: 0, seen: undefined, isLoaded: false });
  return state.rooms.get(name);
};
const opened = () => state.rooms.get(state.room);
const own = (item) => item.peer_id === state.peer;
const others = (room) => Math.max(0, (room?.view?.members?.length || 1) - 1);

let bannerTimer;
function banner(text, isBad = true) {
  const place = el('banner');
  place.textContent = text;
  place.classList.toggle('bad', isBad);
  place.hidden = !text;
  clearTimeout(bannerTimer);
  if (text) bannerTimer = setTimeout(() => { place.hidden = true; }, 8000);
}

const why = (error) => [error.message, error.hint].filter(Boolean).join(' — ');

async function doing(work) {
  try { return await work(); } catch (error) {
    if (error.status === 401) leave();
    else banner(error instanceof TypeError ? 'The member does not answer.' : why(error));
    return undefined;
  }
}

// What is asked without a person waiting for it.
const quietly = (work) => work().catch((error) => { if (error.status === 401) leave(); });

// ------------------------------------------------------------------ rooms

function drawRooms() {
  const list = el('rooms');
  const rooms = [...state.rooms.values()].filter((it) => it.view?.in && !it.view.deleted);
  rooms.sort((a, b) => (a.name !== 'main') - (b.name !== 'main') || a.name.startsWith('@') - b.name.startsWith('@') || (a.name < b.name ? -1 : 1));
  state.order = rooms.map((it) => it.name);
  const focused = document.activeElement?.dataset?.room;
  list.replaceChildren(...rooms.map((room) => h('li', {}, h('button', {
    type: 'button', class: room.unread ? 'unread' : '', 'data-room': room.name, 'aria-current': room.name === state.room ? 'true' : undefined,
    onclick: () => { open(room.name); pane('room'); },
  }, h('span', { class: 'grow', text: label(room.name) }),
  room.mentions > 0 && h('span', { class: 'count call', 'aria-label': `${room.mentions} for you`, text: `@${room.mentions}` }),
  room.unread > 0 && h('span', { class: 'count', 'aria-label': `${room.unread} unread`, text: room.more ? `${room.unread}+` : room.unread })))));
  const free = [...state.rooms.values()].filter((it) => it.view && !it.view.in && !it.view.deleted && it.view.kind === 'listed');
  if (free.length) {
    list.append(h('li', { class: 'heading', text: 'You may join' }), ...free.map((room) => h('li', {}, h('button', {
      type: 'button', class: 'join', title: line(room.view.description || ''),
      onclick: () => doing(async () => {
        const code = room.view.entry === 'code' ? prompt(`The code of ${label(room.name)}`) : undefined;
        if (room.view.entry === 'code' && !code) return;
        await api.post(`/v1/rooms/${api.part(room.name)}/join`, code ? { code } : {});
        await loadRooms();
        open(room.name);
      }),
    }, h('span', { class: 'grow', text: label(room.name) }), h('span', { class: 'small', text: 'join' })))));
  }
  list.append(h('li', {}, h('button', { type: 'button', class: 'join', id: 'make-room', onclick: makeRoom }, '+ New room')));
  if (focused) list.querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
  const unread = rooms.reduce((sum, it) => sum + it.unread, 0);
  const calls = rooms.reduce((sum, it) => sum + it.mentions, 0);
  document.title = `${calls ? `(${calls}) ` : unread ? '• ' : ''}${state.room ? label(state.room) : ''} – ${state.me}`;
  document.querySelector('.only-narrow[data-pane="nav"]').textContent = unread ? `‹ ${unread}` : '‹';
}
const roomsSoon = eachFrame(drawRooms);

function makeRoom() {
  const name = prompt('The name of a new private room');
  if (!name?.trim()) return;
  doing(async () => {
    await api.post(`/v1/rooms/${api.part(name.trim())}`, {});
    await loadRooms();
    open(name.trim());
  });
}

function drawHead() {
  const room = opened();
  if (!room) return;
  el('room-name').textContent = label(room.name);
  el('room-topic').textContent = line(room.view?.topic || room.view?.description || '');
  el('members-button').textContent = several(room.view?.members?.length || 0, 'member');
  el('text').placeholder = room.view?.archived ? 'This room is archived' : `Message ${label(room.name)}`;
}

async function loadRooms() {
  const { rooms } = await api.get('/v1/rooms');
  const names = new Set(rooms.map((it) => it.room));
  for (const view of rooms) held(view.room).view = view;
  for (const room of state.rooms.values()) if (!names.has(room.name)) room.view = undefined;
  await Promise.all([...state.rooms.values()].filter((it) => it.view?.in && !it.isLoaded).map(load));
  if (log && opened()) { log.others = others(opened()); log.update(); }
  drawHead();
  roomsSoon();
}

// The newest page of a room, and what of it is unread.
async function load(room) {
  const path = `/v1/rooms/${api.part(room.name)}`;
  const [page, seen] = await Promise.all([api.get(`${path}/messages?last=${PAGE}`), api.get(`${path}/seen`).catch(() => ({}))]);
  room.messages.takePage(page.messages);
  room.messages.isWhole = page.messages.length < PAGE;
  room.isLoaded = true;
  room.seen = seen.id || undefined;
  count(room);
}

function count(room) {
  const { items, byId } = room.messages;
  let [unread, mentions] = [0, 0];
  for (let at = items.length - 1; at >= 0 && items[at].id !== room.seen; at -= 1) {
    if (own(items[at])) continue;
    unread += 1;
    if (isCall(room, items[at])) mentions += 1;
  }
  room.unread = unread;
  room.mentions = mentions;
  room.more = unread > 0 && !byId.has(room.seen) && !room.messages.isWhole;
}

const isCall = (room, item) => room.name.startsWith('@') || (!item.app && isNamed(item.text, pattern));

const isLooking = () => document.visibilityState === 'visible' && document.hasFocus();

function seen() {
  const room = opened();
  if (!room || !log.follows || !isLooking()) return;
  const last = room.messages.items.at(-1);
  if (room.unread) { room.unread = 0; room.mentions = 0; room.more = false; roomsSoon(); }
  if (!last || last.id === room.seen) return;
  room.seen = last.id;
  clearTimeout(room.seenTimer);
  const note = () => api.post(`/v1/rooms/${api.part(room.name)}/seen`, { id: room.seen }).catch(() => {});
  room.seenTimer = setTimeout(note, 700);
}

function open(name, place) {
  const room = state.rooms.get(name);
  if (!room) return;
  if (state.room && state.room !== name) { seen(); keep(); }
  const isOther = state.room !== name;
  state.room = name;
  answer(undefined);
  el('text').value = drafts[name] || '';
  grow();
  const { items } = room.messages;
  const fresh = room.unread && room.messages.byId.has(room.seen) && items.at(-1)?.id !== room.seen ? room.seen : undefined;
  log.show(room.messages, others(room), fresh, place);
  drawHead();
  roomsSoon();
  seen();
  marks(room);
  if (isOther) { panels.refresh('members'); if (panels.current().name === 'delivery') panels.show('members'); }
  keep();
}

// How far own messages of a page have come: the newest, or those before one.
async function marks(room, size = PAGE, before = '') {
  let page;
  try {
    page = await api.get(`/v1/rooms/${api.part(room.name)}/deliveries?last=${size}${before && `&before=${before}`}`);
  } catch { return; }
  for (const { id, to } of page.messages) {
    const item = room.messages.byId.get(id);
    // What came in meanwhile counts as well.
    if (item) item.to = new Set([...to, ...(item.to || [])]);
  }
  if (state.room === room.name) log.update();
}

let isReading = false;
async function older(size = PAGE) {
  const room = opened();
  if (!room || isReading || room.messages.isWhole || !room.messages.oldest) return false;
  isReading = true;
  try {
    const before = room.messages.place();
    const page = await api.get(`/v1/rooms/${api.part(room.name)}/messages?last=${size}&before=${before}`);
    const was = room.messages.items.length;
    room.messages.takePage(page.messages);
    if (!page.messages.length) room.messages.isWhole = true;
    if (state.room === room.name) log.prepended(room.messages.items.length - was);
    marks(room, size, before);
    return page.messages.length > 0;
  } catch (error) {
    banner(why(error));
    return false;
  } finally {
    isReading = false;
  }
}

// Reads back until a message is held, not for ever.
async function reach(id) {
  for (let pages = 0; pages < 8 && !opened().messages.byId.has(id); pages += 1) {
    if (!await older(500)) break;
  }
  return opened().messages.byId.has(id);
}

async function reveal(found) {
  if (found.room !== state.room) open(found.room);
  pane('room');
  const id = ['edit', 'deletion', 'reaction'].includes(found.kind) ? found.of : found.id;
  if (await reach(id)) log.reveal(id); else banner('That message lies too far back to be shown here.');
}

// ------------------------------------------------------------------ saying

function answer(what) {
  state.answering = what;
  const place = el('context');
  place.hidden = !what;
  place.firstElementChild.textContent = !what ? '' : what.deed === 'edit' ? 'Edit your message' : `Reply to ${line(what.item.from)}: ${line(what.item.text).slice(0, 80)}`;
}

function grow() {
  const text = el('text');
  text.rows = Math.min(8, Math.max(1, text.value.split('\n').length));
}

async function say() {
  const typed = el('text').value;
  const room = opened();
  if (!typed.trim() || !room) return;
  if (typed.startsWith('/') && !typed.startsWith('//') && !typed.startsWith('/me ')) {
    banner('The page knows no command but /me. Begin with // to send a text that begins with /.');
    return;
  }
  const text = typed.startsWith('//') ? typed.slice(1) : typed;
  const what = state.answering;
  el('text').value = '';
  delete drafts[room.name];
  grow();
  answer(undefined);
  if (what) {
    const path = `/v1/messages/${what.item.id}/${what.deed}`;
    const done = await doing(() => api.post(path, { room: room.name, text }));
    if (!done && !el('text').value) { el('text').value = typed; answer(what); grow(); }
    keep();
    return;
  }
  const item = {
    id: crypto.randomUUID(), room: room.name, from: state.me, peer_id: state.peer, lamport: Infinity, seq: 0, text,
    sent_at: new Date().toISOString(), at: new Date(), version: 0, marks: new Map(), state: 'sending',
  };
  room.messages.pending.push(item);
  log.follows = true;
  log.update();
  keep();
  send(room, item);
}

async function send(room, item) {
  item.state = 'sending';
  try {
    // The key makes it one message, however often it is tried.
    const sent = await api.post(`/v1/rooms/${api.part(room.name)}/messages`, { text: item.text }, { 'idempotency-key': item.id });
    settle(room, item);
    const shown = room.messages.byId.get(sent.id);
    if (shown) shown.to ||= new Set(sent.to);
  } catch (error) {
    item.state = error instanceof TypeError ? 'the member does not answer' : error.message;
    item.version += 1;
  }
  log.update();
}

// A message that came takes the place of the one that waits.
function settle(room, item) {
  room.messages.pending = room.messages.pending.filter((it) => it !== item);
}

const deeds = {
  reply: (item) => { answer({ deed: 'reply', item }); el('text').focus(); },
  edit: (item) => { answer({ deed: 'edit', item }); el('text').value = item.text; grow(); el('text').focus(); },
  delete: (item) => { if (confirm('Delete this message for everybody?')) doing(() => api.del(`/v1/messages/${item.id}?room=${api.part(state.room)}`)); },
  info: (item) => { panels.show('delivery', item); pane('side'); },
  react: (item, mark) => doing(() => api.post(`/v1/messages/${item.id}/react`, { room: state.room, text: mark })),
  unreact: (item, mark) => doing(() => api.post(`/v1/messages/${item.id}/unreact`, { room: state.room, text: mark })),
  retry: (item) => send(opened(), item),
  discard: (item) => { settle(opened(), item); log.update(); },
  save: (item) => doing(() => files.save(item.file.id, item.file.name)),
  fetch: (item) => doing(() => files.fetchFile(item.file.id)),
  stop: (item) => doing(() => files.stop(item.file.id)),
};

async function direct(name) {
  const room = `@${name}`;
  if (state.rooms.get(room)?.view) { open(room); pane('room'); return; }
  const text = prompt(`A message to ${line(name)} alone`);
  if (!text?.trim()) return;
  await doing(async () => {
    await api.post(`/v1/members/${api.part(name)}/messages`, { text });
    await loadRooms();
    open(room);
    pane('room');
  });
}

// ------------------------------------------------------------------ events

const soon = (work, ms) => { let timer; return () => { clearTimeout(timer); timer = setTimeout(work, ms); }; };
const roomsAnew = soon(() => quietly(loadRooms), 150);
const receiptsAnew = soon(() => panels.refresh('receipts'), 150);
const membersAnew = soon(() => quietly(loadStatus), 100);
const filesAnew = soon(() => panels.refresh('files'), 250);

function heard(event) {
  const about = on[event.event];
  if (about) about(event);
}

const on = {
  message(event) {
    const room = held(event.room);
    if (!room.view) roomsAnew();
    const isNew = !room.messages.known.has(event.id);
    const changed = room.messages.take(event);
    const item = room.messages.byId.get(event.id);
    if (own(event)) {
      const waits = room.messages.pending.find((it) => it.text === event.text);
      if (waits && item) settle(room, waits);
      if (item) item.to ||= new Set();
      // Who writes has read what stands before.
      if (item && !room.unread) room.seen = item.id;
    }
    const isShown = room.name === state.room;
    if (isNew && item && !own(event)) {
      const isRead = isShown && log.follows && isLooking();
      if (!isRead) {
        room.unread += 1;
        if (isCall(room, item)) room.mentions += 1;
        roomsSoon();
      }
      if (isShown) log.arrived(1);
    }
    if (room.messages.items.length > 5500 && (!isShown || log.follows)) {
      const gone = room.messages.bound();
      if (isShown) log.dropped(gone);
    }
    if (isShown && changed) { log.update(); seenSoon(); }
  },
  delivered(event) {
    for (const room of state.rooms.values()) {
      const item = room.messages.byId.get(event.id);
      if (!item) continue;
      item.to ||= new Set();
      item.to.add(event.to);
      if (room.name === state.room) log.update();
      if (panels.current().name === 'delivery' && panels.current().about?.id === event.id) panels.refresh('delivery');
    }
  },
  member: () => membersAnew(),
  leader: () => membersAnew(),
  room: () => roomsAnew(),
  epoch: () => {},
  receipt: () => { receiptsAnew(); roomsAnew(); },
  invite: () => panels.refresh('invites'),
  request(event) { if (event.state === 'waiting') banner(`${line(event.name)} waits ${event.kind === 'direct' ? 'to write to you' : 'to be let in'}: see Invites.`, false); panels.refresh('invites'); },
  alarm(event) { banner(`Alarm: ${line(event.message)}`); },
  file(event) {
    const message = files.take(event);
    for (const room of state.rooms.values()) {
      const item = room.messages.byId.get(message);
      if (item) { item.fileState = `${event.state} ${event.have}`; if (room.name === state.room) log.update(); }
    }
    filesAnew();
  },
  exited: () => { state.online = false; drawStatus(); },
};
const seenSoon = soon(seen, 60);

async function loadStatus() {
  state.status = await api.get('/v1/status');
  state.me = state.status.name;
  state.members = state.status.members;
  state.peer = state.members.find((it) => it.self)?.peer_id || state.peer;
  pattern = naming(state.me);
  drawStatus();
  panels.refresh('members');
}

function drawStatus() {
  const { status } = state;
  el('me').textContent = line(state.me);
  const link = el('link-state');
  link.textContent = state.online ? 'connected' : 'reconnecting …';
  link.className = state.online ? 'good' : 'bad';
  const names = new Set(state.members.map((it) => it.name));
  const links = (status.links || []).filter((it) => names.has(it.name));
  const relayed = links.filter((it) => it.transport === 'relay').length;
  const direct = links.length - relayed;
  el('status').replaceChildren(
    h('p', {}, status.leader ? ['Leader ', h('strong', { text: line(status.leader.name) }), `, term ${status.leader.term}`] : h('span', { class: 'bad', text: 'Nobody leads' })),
    h('p', { title: status.bootstrap ? 'The bootstrap is linked' : 'The bootstrap is not linked' }, `${several(direct, 'direct link')}${relayed ? `, ${relayed} relayed` : ''}${status.queued ? `, ${status.queued} queued` : ''}`),
    !status.quorum ? h('p', { class: 'bad', text: line(status.frozen_because || 'No majority is reached') }) : '');
}

// ------------------------------------------------------------------ panes, keys

// On a narrow screen one pane is seen at a time.
function pane(name) {
  el('app').dataset.pane = name;
  if (matchMedia('(max-width: 60rem)').matches && name === 'side') el('side-body').focus({ preventScroll: true });
}

function step(by) {
  if (!state.order?.length) return;
  const at = state.order.indexOf(state.room);
  open(state.order[(at + by + state.order.length) % state.order.length]);
}

function keys(event) {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
    step(event.key === 'ArrowUp' ? -1 : 1);
    event.preventDefault();
  } else if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    pane(matchMedia('(max-width: 44rem)').matches ? 'nav' : 'room');
    el('search-words').focus();
    event.preventDefault();
  } else if (event.key === 'Escape') {
    if (state.answering) { if (state.answering.deed === 'edit') el('text').value = ''; answer(undefined); grow(); }
    else if (panels.current().name !== 'members') panels.show('members');
    pane('room');
    el('text').focus();
  }
}

function listen() {
  document.addEventListener('keydown', keys);
  for (const button of document.querySelectorAll('button[data-pane]')) button.addEventListener('click', () => pane(button.dataset.pane));
  for (const button of document.querySelectorAll('button[data-panel]')) {
    button.addEventListener('click', () => {
      const name = button.dataset.panel;
      panels.show(panels.current().name === name && name !== 'members' ? 'members' : name);
      pane('side');
    });
  }
  el('search').addEventListener('submit', (event) => {
    event.preventDefault();
    const words = el('search-words').value.trim();
    if (words) { panels.show('search', { room: state.room, words }); pane('side'); }
  });
  el('composer').addEventListener('submit', (event) => { event.preventDefault(); say(); });
  el('context').querySelector('button').addEventListener('click', () => { answer(undefined); el('text').focus(); });
  const text = el('text');
  text.addEventListener('input', () => { grow(); keepSoon(); });
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.altKey && !event.isComposing) { event.preventDefault(); say(); }
    if (event.key === 'ArrowUp' && !text.value) {
      const last = [...opened().messages.items].reverse().find((it) => own(it) && !it.deleted && !it.app && !it.file);
      if (last) { deeds.edit(last); event.preventDefault(); }
    }
  });
  el('attach').addEventListener('click', () => el('file').click());
  el('file').addEventListener('change', () => {
    const [file] = el('file').files;
    if (file) doing(() => files.send(state.room, file));
    el('file').value = '';
  });
  addEventListener('pagehide', keep);
  for (const name of ['focus', 'visibilitychange']) addEventListener(name, () => seen());
}
const keepSoon = soon(keep, 200);

// ------------------------------------------------------------------ start

function lock(reason) {
  el('app').hidden = true;
  el('gate').hidden = false;
  el('gate-why').textContent = reason || 'This page needs the token of your member.';
  el('gate-token').focus();
}

// The token was taken back: nothing that it showed stays in the page.
function leave() {
  api.dropToken();
  sessionStorage.setItem(WHY, 'The token is not known any more.');
  location.reload();
}
const WHY = 'p2pgroup.why';

// Everything from the store, and where the stream goes on.
async function anew() {
  const cursor = await api.newest();
  for (const room of state.rooms.values()) {
    const { pending } = room.messages;
    room.messages = new Messages();
    room.messages.pending = pending;
    room.isLoaded = false;
  }
  await loadStatus();
  await files.load();
  await loadRooms();
  return cursor;
}

async function start() {
  panels.start({
    doing, direct, reveal, label,
    room: () => opened()?.view, rooms: () => [...state.rooms.values()].map((it) => it.view).filter(Boolean),
    members: () => state.members, leader: () => state.status.leader?.name,
  });
  log ||= new Log({
    own, me: () => state.me, pattern: () => pattern, seen, older, moved: keepSoon,
    named: (item) => isNamed(item.text, pattern),
    deed: (item, deed, text) => deeds[deed]?.(item, text),
    jump: (id) => reveal({ room: state.room, id }),
    reopen: () => open(state.room),
  });
  let cursor;
  try {
    cursor = await anew();
  } catch (error) {
    if (error.status === 401) { api.dropToken(); lock('That token is not known here.'); return; }
    if (error.status === 403) { lock(why(error)); return; }
    banner(error instanceof TypeError ? 'The member does not answer.' : why(error));
    setTimeout(start, 2000);
    return;
  }
  el('gate').hidden = true;
  el('app').hidden = false;
  const name = state.rooms.get(kept.room)?.view?.in ? kept.room : 'main';
  open(name);
  if (kept.at && name === kept.room && await reach(kept.at.id)) open(name, kept.at);
  await panels.show(['group', 'invites', 'receipts'].includes(kept.panel) ? kept.panel : 'members');
  if (!matchMedia('(pointer: coarse)').matches) el('text').focus({ preventScroll: true });
  setInterval(() => { if (!document.hidden && state.online) quietly(loadStatus); }, 5000);
  api.follow(cursor, {
    event: heard,
    state: (isUp) => { if (state.online !== isUp) { state.online = isUp; drawStatus(); if (isUp) membersAnew(); } },
    locked: leave,
    lost: async () => {
      for (;;) {
        try {
          const next = await anew();
          open(state.room);
          return next;
        } catch { await new Promise((done) => { setTimeout(done, 1000); }); }
      }
    },
  });
}

el('gate-form').addEventListener('submit', (event) => {
  event.preventDefault();
  api.keepToken(el('gate-token').value.trim());
  el('gate-token').value = '';
  start();
});

listen();
const reason = sessionStorage.getItem(WHY);
sessionStorage.removeItem(WHY);
if (api.takeToken()) start(); else lock(reason);
