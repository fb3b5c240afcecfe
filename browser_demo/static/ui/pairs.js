// The candidate pairs, the selected one first.

import { formatBytes, formatMs } from '../stats.js';
import { h, renderOnce } from './dom.js';

const TYPE = { host: 'host', srflx: 'server reflexive', prflx: 'peer reflexive', relay: 'relay' };
const MAX_ROWS = 8;

const side = ({ address, type }) =>
  h('td', {}, h('span.address', {}, address), h('span.candidate-type', {}, TYPE[type] ?? type));

function row(pair) {
  const state = pair.selected ? 'selected' : pair.state;
  return h('tr', { 'aria-current': pair.selected ? 'true' : null },
    h('td', {}, h(`span.tag.${state}`, {}, state)),
    side(pair.local),
    side(pair.remote),
    h('td.number', {}, pair.roundTripMs === null ? '–' : formatMs(pair.roundTripMs)),
    h('td.number', {}, formatBytes(pair.sent + pair.received)));
}

export class Pairs {
  constructor() {
    this.body = h('tbody');
    this.note = h('p.quiet', {}, 'No pair yet.');
    this.element = h('section.panel.pairs', { 'aria-label': 'Candidate pairs' },
      h('header', {}, h('h3', {}, 'Candidate pairs'), this.note),
      h('div.scroll', { tabIndex: 0 },
        h('table', {},
          h('thead', {}, h('tr', {}, ...['State', 'Here', 'There', 'Round trip', 'Bytes'].map((title, index) =>
            h('th', { scope: 'col', class: index > 2 ? 'number' : null }, title)))),
          this.body)));
  }

  update({ pairs }) {
    const key = JSON.stringify(pairs);
    renderOnce(this.body, key, () => pairs.slice(0, MAX_ROWS).map(row));
    const hidden = pairs.length - MAX_ROWS;
    this.note.textContent = pairs.length === 0 ? 'no pair yet' : hidden > 0 ? `${hidden} more not shown` : `${pairs.length} tried`;
  }
}
