// The picture of the trip: you and the peer, the relay above, and the line that carries the bytes.

import { State } from '../session.js';
import { h, svg } from './dom.js';

const CAPTION = {
  [State.SIGNALLING]: 'Offer and answer travel through the relay',
  [State.CHECKING]: 'Both sides try every pair of addresses',
  [State.DIRECT]: 'Direct path: the relay carries nothing any more',
  [State.UNSURE]: 'The peer has not answered for a while',
  [State.LOST]: 'The path is gone',
  [State.CLOSED]: 'Closed',
};

const node = (x, y, label, kind) =>
  svg(`g.node.${kind}`, {},
    svg('circle', { cx: x, cy: y, r: kind === 'relay' ? 13 : 19 }),
    svg('text', { x, y: kind === 'relay' ? y - 21 : y + 38, 'text-anchor': 'middle' }, label));

export class RoutePicture {
  constructor() {
    this.peerLabel = svg('text', { x: 520, y: 138, 'text-anchor': 'middle' });
    this.direct = svg('path.line.direct-line', { d: 'M122 100 H498' });
    this.badge = svg('text.route-badge', { x: 310, y: 90, 'text-anchor': 'middle' });
    this.picture = svg('svg.route', { viewBox: '40 0 540 150', role: 'img' },
      svg('path.line.relay-line', { d: 'M116 90 Q 200 30 296 30' }),
      svg('path.line.relay-line', { d: 'M324 30 Q 420 30 504 90' }),
      this.direct,
      svg('path.line.flow', { d: 'M122 100 H498' }),
      node(310, 30, 'relay', 'relay'),
      node(100, 100, 'you', 'peer'),
      svg('g.node.peer', {}, svg('circle', { cx: 520, cy: 100, r: 19 }), this.peerLabel),
      this.badge);
    this.caption = h('figcaption', {});
    this.element = h('figure.route-figure', {}, this.picture, this.caption);
  }

  update(session, peerName, pair) {
    this.element.dataset.state = session.state;
    this.peerLabel.textContent = peerName;
    const isRelayed = pair && [pair.local.type, pair.remote.type].includes('relay');
    this.badge.textContent =
      session.state === State.DIRECT && pair ? `${pair.local.protocol} · ${pair.local.type} ↔ ${pair.remote.type}` : '';
    const caption = isRelayed ? 'Connected over a TURN relay, still looking for better' : CAPTION[session.state];
    this.caption.textContent = session.state === State.LOST && session.reason ? `The path is gone: ${session.reason}` : caption;
    this.picture.setAttribute('aria-label', this.caption.textContent);
  }
}
