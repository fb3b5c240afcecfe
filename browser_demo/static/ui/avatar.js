// A small picture of a peer id: a mirrored pattern in one of a few calm hues, the same on every screen.

import { svg } from './dom.js';

const CELLS = 5;
const HUES = 8;

function bits(peer) {
  let state = 2166136261;
  for (const character of peer) state = Math.imul(state ^ character.charCodeAt(0), 16777619);
  return () => {
    state = Math.imul(state ^ (state >>> 15), 2246822519);
    state = Math.imul(state ^ (state >>> 13), 3266489917);
    return (state ^= state >>> 16) >>> 0;
  };
}

export function avatar(peer) {
  const next = bits(peer);
  const picture = svg('svg', { viewBox: '0 0 7 7', 'aria-hidden': 'true', class: `avatar hue-${next() % HUES}` });
  picture.append(svg('rect', { width: 7, height: 7, rx: 2, class: 'avatar-ground' }));
  for (let column = 0; column < Math.ceil(CELLS / 2); column += 1) {
    for (let row = 0; row < CELLS; row += 1) {
      if (next() % 100 < 48) continue;
      const mirrored = CELLS - 1 - column;
      for (const x of new Set([column, mirrored])) {
        picture.append(svg('rect', { x: x + 1, y: row + 1, width: 1.02, height: 1.02, class: 'avatar-cell' }));
      }
    }
  }
  return picture;
}

/** The end of a peer id, where ids differ. */
export const shortId = (peer) => (peer.length > 12 ? `…${peer.slice(-8)}` : peer);
