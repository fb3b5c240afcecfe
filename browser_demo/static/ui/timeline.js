// The time line of a connection: relayed signalling, checks, direct; each as wide as it took.

import { formatMs } from '../stats.js';
import { h } from './dom.js';

/** The phases: name, where it starts and where it ends among a session's marks. */
const PHASES = [
  ['Relayed signalling', 'start', 'answered', 'relay'],
  ['Checks', 'answered', 'connected', 'checks'],
  ['Secured, direct', 'connected', 'direct', 'direct'],
];

/** Return [{name, tone, ms, running}] of the phases that have begun. */
export function phases(marks, now) {
  return PHASES.filter(([, from]) => from in marks).map(([name, from, to, tone]) => ({
    name,
    tone,
    ms: Math.max(0, (marks[to] ?? now) - marks[from]),
    running: !(to in marks),
  }));
}

export class Timeline {
  constructor() {
    this.rows = PHASES.map(([name, , , tone]) => {
      const value = h('span.phase-value', {}, '–');
      return { value, element: h(`li.phase.${tone}`, {}, h('span.phase-name', {}, name), value) };
    });
    this.segments = PHASES.map(([, , , tone]) => h(`span.segment.${tone}`));
    this.total = h('strong.total', {}, '');
    this.element = h('section.panel.timeline', { 'aria-label': 'Time line' },
      h('header', {}, h('h3', {}, 'Time line'), this.total),
      h('div.segments', { 'aria-hidden': 'true' }, this.segments),
      h('ol.phases', {}, this.rows.map((row) => row.element)));
  }

  update(session, now = performance.now()) {
    const stopped = session.over && !session.marks.direct;
    const seen = phases(session.marks, stopped ? (this.stoppedAt ??= now) : now);
    this.rows.forEach(({ value, element }, index) => {
      const phase = seen[index];
      value.textContent = phase ? formatMs(phase.ms) : '–';
      element.classList.toggle('running', Boolean(phase?.running) && !session.over);
      this.segments[index].style.flexGrow = phase ? String(Math.max(phase.ms, 4)) : '0';
    });
    const { start, direct } = session.marks;
    this.total.textContent = direct ? `direct after ${formatMs(direct - start)}` : '';
  }
}
