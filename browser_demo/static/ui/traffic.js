// Live bytes each way: totals, rates and a spark line of the last minute.

import { RateMeter, formatBytes } from '../stats.js';
import { h, svg } from './dom.js';

const WIDTH = 240;
const HEIGHT = 56;

function line(values, peak, length) {
  const step = WIDTH / (length - 1);
  const left = WIDTH - (values.length - 1) * step;
  const y = (value) => (HEIGHT - 2 - (value / peak) * (HEIGHT - 6)).toFixed(1);
  return values.map((value, index) => `${index ? 'L' : 'M'}${(left + index * step).toFixed(1)} ${y(value)}`).join(' ');
}

export class Traffic {
  #meter = new RateMeter(60);

  constructor() {
    const figure = (label, tone) => {
      const total = h('strong', {}, '0 B');
      const rate = h('span.rate', {}, '0 B/s');
      return { total, rate, element: h(`div.figure.${tone}`, {}, h('span.figure-label', {}, label), total, rate) };
    };
    this.up = figure('↑ sent', 'up');
    this.down = figure('↓ received', 'down');
    this.upLine = svg('path.spark.up', {});
    this.downLine = svg('path.spark.down', {});
    this.peak = h('span.quiet', {}, '');
    this.element = h('section.panel.traffic', { 'aria-label': 'Traffic' },
      h('header', {}, h('h3', {}, 'Bytes on the path'), this.peak),
      h('div.figures', {}, this.up.element, this.down.element),
      svg('svg.sparkline', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('path.spark-base', { d: `M0 ${HEIGHT - 2} H${WIDTH}` }), this.downLine, this.upLine));
  }

  update(stats) {
    const { up, down } = this.#meter.push(stats);
    this.up.total.textContent = formatBytes(stats.sent);
    this.down.total.textContent = formatBytes(stats.received);
    this.up.rate.textContent = `${formatBytes(up)}/s`;
    this.down.rate.textContent = `${formatBytes(down)}/s`;
    const { history, length } = this.#meter;
    const highest = Math.max(...history.flatMap((sample) => [sample.up, sample.down]), 0);
    this.peak.textContent = highest > 0 ? `peak ${formatBytes(highest)}/s` : '';
    const peak = Math.max(highest, 1000);
    this.upLine.setAttribute('d', line(history.map((sample) => sample.up), peak, length));
    this.downLine.setAttribute('d', line(history.map((sample) => sample.down), peak, length));
  }

  /** Forget the rates: the next totals belong to a new connection. */
  restart() {
    this.#meter = new RateMeter(60);
  }
}
