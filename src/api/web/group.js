// The group as a picture and as a list: who leads, who is linked with whom and how, who is away; and
// how the terms went. Links of others are drawn by their word, and thinner.

import * as api from './api.js';
import { h, near, s, several, whole } from './dom.js';
import { hue, line } from './text.js';

const [WIDE, HIGH] = [460, 400];

function round(members) {
  const places = new Map();
  const [x, y, rx, ry] = [WIDE / 2, HIGH / 2, WIDE / 2 - 66, HIGH / 2 - 52];
  members.forEach((member, at) => {
    const angle = (at / members.length) * 2 * Math.PI - Math.PI / 2;
    places.set(member.name, { x: x + rx * Math.cos(angle), y: y + ry * Math.sin(angle) });
  });
  return places;
}

const millis = (ms) => (ms === null || ms === undefined ? '' : ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

const LISTED = 100;

// One's own links first. The bootstrap is no member.
function between(group) {
  const names = new Set(group.members.map((it) => it.name));
  const others = (group.others || []).map((it) => ({ ...it, other: true }));
  return [...group.links, ...others].filter((it) => names.has(it.from) && names.has(it.name));
}

const way = (link) => (link.direct ? 'direct' : 'relayed');
const ends = (link) => `${line(link.from)} and ${line(link.name)}`;
const said = (link) => [way(link), millis(link.rtt_ms), link.other && (link.told_by.length > 1 ? 'both say' : `${line(link.told_by[0])} says`)].filter(Boolean).join(', ');

function picture(group) {
  const members = group.members.filter((it) => it.state !== 'removed')
    .sort((a, b) => (b.name === group.name) - (a.name === group.name) || (a.name < b.name ? -1 : 1));
  const places = round(members);
  const lines = s('g', {});
  const labels = s('g', {});
  for (const link of between(group)) {
    const [from, to] = [places.get(link.from), places.get(link.name)];
    if (!from || !to) continue;
    const classes = link.other ? `${way(link)} other` : way(link);
    lines.append(s('line', { x1: from.x, y1: from.y, x2: to.x, y2: to.y, class: classes }, s('title', {}, `${ends(link)}: ${said(link)}`)));
    // Among others there are so many lines that few have room for words.
    if (members.length <= (link.other ? 6 : 16)) {
      const [x, y] = [from.x + (to.x - from.x) * 0.55, from.y + (to.y - from.y) * 0.55];
      const text = [millis(link.rtt_ms), link.transport].filter(Boolean).join(' ');
      labels.append(s('text', { x, y, class: 'rtt' }, text));
    }
  }
  const nodes = s('g', {});
  const silent = new Set(untold(group));
  for (const member of members) {
    const { x, y } = places.get(member.name);
    const leads = group.leader?.name === member.name;
    const isUntold = silent.has(member.name);
    const classes = ['node', leads && 'leads', member.name === group.name && 'me', member.state !== 'active' && 'away', isUntold && 'untold'];
    const size = members.length > 24 ? 8 : 15;
    nodes.append(s('g', { class: classes.filter(Boolean).join(' '), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
      s('title', {}, `${line(member.name)}: ${member.state}, ${member.role}${leads ? ', leads' : ''}${member.voter ? ', votes' : ''}${isUntold ? '; with whom it is linked was not told' : ''}`),
      leads && s('circle', { r: size + 5, class: 'crown' }),
      s('circle', { r: size, class: `fill hue${hue(member.peer_id)}` }),
      s('text', { y: size + 19, class: 'name' }, [...line(member.name)].slice(0, 16).join('') + (leads ? ' · leads' : ''))));
  }
  const links = between(group);
  const others = links.filter((it) => it.other).length;
  const told = `${several(members.length, 'member')}; ${several(links.length - others, 'link')} of this member, ${others} among others; ${group.leader ? `${line(group.leader.name)} leads` : 'nobody leads'}`;
  return s('svg', { viewBox: `0 0 ${WIDE} ${HIGH}`, class: 'picture', role: 'img', 'aria-label': told }, lines, labels, nodes);
}

// Terms side by side: the longer one lasted the wider, none too narrow to be seen.
function strip(rows) {
  const ends = rows.map((row, at) => (at + 1 < rows.length ? rows[at + 1].at : Date.now()));
  const shares = rows.map((row, at) => Math.sqrt(Math.max(1, (ends[at] - row.at) / 1000)));
  const sum = shares.reduce((a, b) => a + b, 0);
  const picture = s('svg', { viewBox: '0 0 460 46', class: 'strip', role: 'img', 'aria-label': 'Who led when' });
  let x = 0;
  rows.forEach((row, at) => {
    const width = Math.max(6, (shares[at] / sum) * (460 - rows.length * 2));
    picture.append(s('g', {}, s('title', {}, `${row.name || 'nobody'}, ${whole(new Date(row.at))}`),
      s('rect', { x: x.toFixed(1), y: 4, width: width.toFixed(1), height: 20, rx: 3, class: row.name ? `fill hue${row.hue}` : 'none' }),
      width > 34 && s('text', { x: (x + width / 2).toFixed(1), y: 40, class: 'rtt' }, row.name ? `${[...row.name].slice(0, 8).join('')} ${row.term}` : 'nobody')));
    x += width + 2;
  });
  return picture;
}

function timeline(group) {
  const peers = new Map(group.members.map((it) => [it.name, it.peer_id]));
  const row = (at, name, generation, term, what) => ({ at: new Date(at).getTime(), name: name ? line(name) : '', generation, term, what, hue: hue(peers.get(name)) });
  const rows = [
    ...group.terms.map((it) => row(it.since, it.leader, it.generation, it.term, 'first entry of its term')),
    ...group.elections.map((it) => row(it.at, it.name, it.generation, it.term, 'seen here')),
  ].sort((a, b) => a.at - b.at);
  const told = [];
  for (const it of rows) {
    const last = told.at(-1);
    if (last && last.name === it.name && last.term === it.term && last.generation === it.generation) continue;
    told.push(it);
  }
  if (!told.length) return [];
  const shown = told.slice(-24);
  return [
    h('h3', { text: 'Terms' }), strip(shown),
    h('ol', { class: 'terms' }, shown.reverse().map((it) => h('li', {},
      h('time', { datetime: new Date(it.at).toISOString(), title: whole(new Date(it.at)), text: near(new Date(it.at)) }),
      h('span', {}, it.name ? h('strong', { class: `hue${it.hue}`, text: it.name }) : 'nobody', it.name ? ' leads' : ' leads'),
      h('span', { class: 'small', text: it.name ? `term ${it.term}${it.generation ? `, generation ${it.generation}` : ''}` : '' })))),
  ];
}

// What the picture shows, in words.
function list(links) {
  if (!links.length) return [];
  const rows = links.slice(0, LISTED).map((it) => h('li', {},
    h('span', { text: line(it.from) }), h('span', { text: line(it.name) }),
    h('span', { class: 'small', text: said(it) })));
  const more = links.length - rows.length;
  const rest = more > 0 ? [h('p', { class: 'small', text: `and ${more} more` })] : [];
  return [h('h3', { text: 'Links' }), h('ul', { class: 'linked' }, rows), ...rest];
}

// Those of whom it is not known with whom they are linked, away ones aside.
function untold(group) {
  const here = new Set(group.members.filter((it) => it.state === 'active').map((it) => it.name));
  return (group.untold || []).filter((it) => here.has(it));
}

function silence(names) {
  if (!names.length) return [];
  const shown = names.slice(0, LISTED).map(line).join(', ');
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
  return [['Not told', `with whom these are linked, so there may be more links than are shown: ${shown}${more}`]];
}

// Draws it into a place while that is open.
export async function draw(into) {
  const group = await api.get('/v1/group');
  const links = between(group);
  const direct = links.filter((it) => it.direct).length;
  const silent = untold(group);
  const facts = [
    ['Leader', group.leader ? `${line(group.leader.name)}, term ${group.leader.term}` : 'nobody'],
    ['Majority', group.quorum ? 'reached' : `missing${group.frozen_because ? `: ${line(group.frozen_because)}` : ''}`],
    ['Voters', group.voters.map(line).join(', ')],
    ['Links', `${silent.length ? 'as far as told, ' : ''}${direct} direct, ${links.length - direct} relayed`],
    ['Bootstrap', group.bootstrap ? 'linked' : 'not linked'],
    ...silence(silent),
  ];
  into.replaceChildren(
    picture(group),
    h('p', { class: 'legend' }, h('span', { class: 'line-direct' }), 'direct ', h('span', { class: 'line-relayed' }), 'relayed ', h('span', { class: 'line-other' }), 'among others ', h('span', { class: 'ring' }), `leads; pale: away${silent.length ? '; dashed: not told its links' : ''}`),
    h('dl', { class: 'facts' }, facts.map(([name, value]) => [h('dt', { text: name }), h('dd', { text: value })])),
    ...list(links), ...timeline(group));
}
