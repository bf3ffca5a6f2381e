// What stands beside the messages: members, who has a message, what a search found, invites,
// removals, files. Each is drawn anew into one place.

import * as api from './api.js';
import { bytes, clock, el, h, near, s, several, whole } from './dom.js';
import * as files from './files.js';
import * as group from './group.js';
import { hue, line, nodes } from './text.js';

const TITLES = { members: 'Members', delivery: 'Who has it', search: 'Search', invites: 'Invites', receipts: 'Removals', group: 'The group', files: 'Files' };
const WORDS = { active: 'here', away: 'away', left: 'left', removed: 'removed' };

let open = { name: 'members' };
let on;
let again;

export function start(given) {
  on = given;
  el('side-close').addEventListener('click', () => show('members'));
}

export const current = () => open;

export function show(name, about) {
  open = { name, about };
  const app = el('app');
  app.classList.toggle('wide', name === 'group' || name === 'invites');
  app.dataset.panel = name;
  el('side-title').textContent = TITLES[name];
  el('side-close').hidden = name === 'members';
  for (const button of document.querySelectorAll('[data-panel]')) {
    if (button !== app) button.setAttribute('aria-pressed', String(button.dataset.panel === name));
  }
  el('side-body').replaceChildren();
  clearInterval(again);
  again = name === 'group' ? setInterval(() => { if (!document.hidden) refresh(); }, 2000) : undefined;
  return refresh();
}

// Draws what is open anew, where one of these is.
export async function refresh(...names) {
  if (names.length && !names.includes(open.name)) return;
  const [was, into] = [open, el('side-body')];
  try {
    const made = await DRAW[open.name](open.about, into);
    if (open === was && made) into.replaceChildren(...made.flat(Infinity).filter(Boolean));
  } catch (error) {
    if (open === was) into.replaceChildren(h('p', { class: 'bad', text: error.message }), error.hint && h('p', { class: 'small', text: error.hint }) || '');
  }
}

function person(member, inRoom) {
  const role = inRoom?.role && inRoom.role !== 'member' ? inRoom.role : member.role !== 'member' ? member.role : '';
  const state = member.state === 'active' && !member.linked && !member.self ? 'not linked' : WORDS[member.state] || member.state;
  return h('li', { class: `person ${member.state}` },
    h('span', { class: 'dot', title: state }),
    h('span', { class: 'grow' },
      h('strong', { class: `hue${hue(member.peer_id)}`, text: line(member.name) }), member.self && ' (you)',
      h('span', { class: 'small' }, [state, role, member.name === on.leader() && 'leads'].filter(Boolean).join(' · '))),
    member.verified && h('span', { class: 'tag good', title: 'You compared its key', text: 'verified' }),
    !member.self && h('button', { type: 'button', class: 'plain', text: 'Message', 'aria-label': `Message ${line(member.name)} alone`, onclick: () => on.direct(member.name) }));
}

const rank = (member) => (member.state === 'active' ? 0 : member.state === 'away' ? 1 : 2);
const sorted = (list) => [...list].sort((a, b) => rank(a) - rank(b) || (a.name.toLowerCase() < b.name.toLowerCase() ? -1 : 1));

function members() {
  const room = on.room();
  const inside = new Map((room?.members || []).map((it) => [it.name, it]));
  const all = sorted(on.members().filter((it) => it.state !== 'removed'));
  const [here, others] = [all.filter((it) => inside.has(it.name)), all.filter((it) => !inside.has(it.name))];
  return [
    room && room.description ? h('p', { class: 'small', text: line(room.description) }) : '',
    h('ul', { class: 'people' }, here.map((it) => person(it, inside.get(it.name)))),
    others.length ? h('h3', { text: 'Not in this room' }) : '',
    others.length ? h('ul', { class: 'people' }, others.map((it) => person(it))) : '',
    room?.waiting?.length ? h('p', { class: 'small', text: `Ask to be let in: ${room.waiting.map(line).join(', ')}` }) : '',
  ];
}

async function delivery(item) {
  const it = await api.get(`/v1/messages/${api.part(item.id)}`);
  const states = { queued: 'Nobody else is known to have it', delivered: `${it.to.length} of ${it.of} have it`, all: 'Everybody has it' };
  return [
    h('blockquote', { class: 'text' }, nodes(item.text).slice(0, 20)),
    h('p', {}, h('strong', { text: states[it.state] || it.state })),
    it.to.length ? h('h3', { text: 'Has it' }) : '',
    h('ul', { class: 'plainlist' }, it.to.map((name) => h('li', { text: `✓ ${line(name)}` }))),
    it.lacks.length ? h('h3', { text: 'Not yet' }) : '',
    h('ul', { class: 'plainlist' }, it.lacks.map((lack) => h('li', { text: `${line(lack.name)}${lack.since ? `, since ${near(new Date(lack.since))}` : ''}` }))),
    it.kept_by.length ? h('p', { class: 'small', text: `Kept by ${it.kept_by.map(line).join(', ')} until then` }) : '',
    h('dl', { class: 'facts' }, [
      ['From', line(it.from)], ['Sent', it.sent_at ? whole(new Date(it.sent_at)) : 'not known'], ['Place', `${it.seq} of ${line(it.from)}'s log`], ['Id', it.id],
    ].map(([name, value]) => [h('dt', { text: name }), h('dd', { text: value })])),
  ];
}

async function search(about) {
  const { messages: found } = await api.get(`/v1/search?room=${api.part(about.room)}&words=${api.part(about.words)}&last=50`);
  const messages = found.filter((it) => !it.ignored);
  return [
    h('p', { class: 'small', role: 'status', text: `${several(messages.length, 'message')} with “${line(about.words)}” in ${on.label(about.room)}, newest first` }),
    h('ul', { class: 'found' }, messages.map((it) => h('li', {}, h('button', { type: 'button', onclick: () => on.reveal(it) },
      h('span', {}, h('strong', { class: `hue${hue(it.peer_id)}`, text: line(it.from) }), ' ', h('time', { text: near(new Date(it.sent_at)) })),
      h('span', { class: 'text', text: line(it.text).slice(0, 240) }))))),
  ];
}

async function qr(text) {
  const { size, rows } = await api.post('/v1/qr', { text });
  // One path for all: a square for every run of dark modules.
  const path = rows.map((row, y) => [...row.matchAll(/1+/g)].map((run) => `M${run.index} ${y}h${run[0].length}v1h-${run[0].length}z`).join('')).join('');
  return s('svg', { viewBox: `-4 -4 ${size + 8} ${size + 8}`, class: 'qr', role: 'img', 'aria-label': 'The invite as a QR code', 'shape-rendering': 'crispEdges' },
    s('rect', { x: -4, y: -4, width: size + 8, height: size + 8, class: 'paper' }), s('path', { d: path, class: 'ink' }));
}

// Who asks to be let in, or to write to us alone.
async function requests() {
  const [admissions, strangers] = await Promise.all([
    api.get('/v1/requests').then((it) => it.requests, () => []),
    api.get('/v1/accept').then((it) => it.requests, () => []),
  ]);
  const say = (request, verb, text) => h('button', {
    type: 'button', class: 'plain', text, 'aria-label': `${text}: ${line(request.name)}`,
    onclick: () => on.doing(async () => { await api.post('/v1/commands', { cmd: verb, name: request.name }); await refresh('invites'); }),
  });
  const all = [...admissions, ...strangers].filter((it) => it.state === 'waiting');
  if (!all.length) return '';
  return h('section', { class: 'card', 'aria-label': 'Who waits' }, h('h3', { text: 'Waiting for your yes' }), h('ul', { class: 'rows' }, all.map((it) => h('li', {},
    h('span', { class: 'grow' }, h('strong', { text: line(it.name) }), h('span', { class: 'small', text: it.kind === 'direct' ? 'wants to write to you' : 'wants to be let in' })),
    say(it, it.kind === 'direct' ? 'accept' : 'approve', 'Yes'), say(it, 'refuse', 'No')))));
}

let made;

async function invites() {
  // Who may make none may still be asked by others.
  const rows = await api.get('/v1/invites').then((it) => it.invites, () => null);
  const field = (name, label, control) => h('label', {}, label, Object.assign(control, { name }));
  const form = h('form', {
    class: 'stack',
    onsubmit: async (event) => {
      event.preventDefault();
      const data = new FormData(form);
      const wish = { uses: Number(data.get('uses')) || 1, expires: data.get('expires') };
      if (data.get('name').trim()) wish.name = data.get('name').trim();
      if (data.get('room')) wish.room = data.get('room');
      await on.doing(async () => {
        const invite = await api.post('/v1/invites', wish);
        made = { invite, picture: await qr(invite.invite) };
        await refresh('invites');
      });
    },
  },
  field('uses', 'How many it lets in', h('input', { type: 'number', min: 1, max: 1000, value: 1 })),
  field('expires', 'Until', h('select', {}, [['1h', '1 hour'], ['24h', '1 day'], ['168h', '7 days']].map(([value, text]) => h('option', { value, text, selected: value === '24h' })))),
  field('name', 'For one name alone', h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', placeholder: 'anybody' })),
  field('room', 'Into a room', h('select', {}, h('option', { value: '', text: 'main alone' }), on.rooms().filter((it) => it.in && it.kind !== 'main' && it.kind !== 'direct').map((it) => h('option', { value: it.room, text: `#${line(it.room)}` })))),
  h('button', { type: 'submit', class: 'primary', text: 'Make an invite' }));
  const fresh = made && h('section', { class: 'card made', 'aria-label': 'The new invite' },
    made.picture,
    h('p', { class: 'small', text: 'Pass it on by a way that others do not read. It is shown now and not again.' }),
    h('textarea', { readonly: true, rows: 4, 'aria-label': 'The invite', id: 'invite-text' }, made.invite.invite),
    h('button', { type: 'button', class: 'plain', text: 'Copy', onclick: (event) => navigator.clipboard.writeText(made.invite.invite).then(() => { event.target.textContent = 'Copied'; }, () => el('invite-text').select()) }),
    h('button', { type: 'button', class: 'plain', text: 'Done', onclick: () => { made = undefined; refresh('invites'); } }));
  const waiting = await requests();
  if (!rows) return [waiting, h('p', { class: 'small', text: 'Owners and admins of the network make invites.' })];
  return [waiting, fresh, form, h('h3', { text: rows.length ? 'Made here' : 'None was made here' }), h('ul', { class: 'rows' }, rows.map((it) => h('li', {},
    h('span', { class: 'grow' }, h('strong', { text: it.name ? `for ${line(it.name)}` : 'for anybody' }),
      h('span', { class: 'small', text: `${it.state}, used ${it.used ?? 0} of ${it.uses}, until ${near(new Date(it.expires_at))}${it.room ? `, into #${line(it.room)}` : ''}` })),
    it.state === 'valid' && h('button', { type: 'button', class: 'plain', text: 'Withdraw', onclick: () => on.doing(async () => { await api.del(`/v1/invites/${api.part(it.id)}`); await refresh('invites'); }) }))))];
}

async function receipts() {
  const { receipts: rows } = await api.get('/v1/receipts');
  if (!rows.length) return [h('p', { class: 'small', text: 'Nobody was removed. When somebody is, this shows who has new keys, and the last message the removed one could read.' })];
  return [...rows].reverse().map((it) => h('section', { class: 'card' },
    h('h3', {}, h('strong', { text: line(it.name) }), it.room ? ` put out of #${line(it.room)}` : ' removed'),
    h('p', { class: 'small', text: whole(new Date(it.removed_at)) }),
    h('progress', { max: it.of || 1, value: it.of ? it.done : 1, 'aria-label': 'New keys' }),
    h('p', { text: it.done_at ? `New keys on ${it.done} of ${it.of} by ${clock(new Date(it.done_at))}` : `New keys on ${it.done} of ${it.of}; not yet: ${it.pending.map(line).join(', ')}` }),
    it.last_readable.length ? h('p', { class: 'small', text: `Last it could read: ${it.last_readable.map((last) => `${last.seq} of ${line(last.from)} in #${line(last.room)}`).join('; ')}` }) : ''));
}

function filesPanel() {
  const rows = files.all();
  if (!rows.length) return [h('p', { class: 'small', text: 'No files yet. Send one with File beside the text.' })];
  return [h('ul', { class: 'rows' }, rows.reverse().map((it) => h('li', {},
    h('span', { class: 'grow' }, h('strong', { text: line(it.name) }), h('span', { class: 'small', text: `${bytes(it.size)}, ${it.state}${it.from ? `, from ${line(it.from)}` : ''}` })),
    it.state === 'complete' && h('button', { type: 'button', class: 'plain', text: 'Save', onclick: () => on.doing(() => files.save(it.id, it.name)) }),
    ['offered', 'paused', 'failed'].includes(it.state) && h('button', { type: 'button', class: 'plain', text: 'Fetch', onclick: () => on.doing(() => files.fetchFile(it.id)) }))))];
}

const DRAW = { members, delivery, search, invites, receipts, files: filesPanel, group: (_, into) => group.draw(into) };
