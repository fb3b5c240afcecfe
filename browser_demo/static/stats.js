// What getStats() says about the path: the candidate pairs, the selected one, bytes each way.

const USED = new Set(['succeeded', 'in-progress', 'waiting', 'frozen', 'failed']);

function candidateView(candidate) {
  if (!candidate) return { address: '?', type: '?', protocol: '?' };
  const host = candidate.address || candidate.ip || (candidate.candidateType === 'host' ? 'hidden (mDNS)' : 'hidden');
  const address = host.includes(':') ? `[${host}]` : host;
  return {
    address: candidate.port ? `${address}:${candidate.port}` : address,
    type: candidate.candidateType,
    protocol: candidate.protocol,
  };
}

/** Read a connection's statistics into {pairs, selected, sent, received, at}. */
export async function readStats(connection) {
  const report = await connection.getStats();
  const transports = [...report.values()].filter((entry) => entry.type === 'transport');
  const selectedId = transports.find((transport) => transport.selectedCandidatePairId)?.selectedCandidatePairId;
  const pairs = [...report.values()]
    .filter((entry) => entry.type === 'candidate-pair' && USED.has(entry.state))
    .map((pair) => ({
      id: pair.id,
      state: pair.state,
      nominated: Boolean(pair.nominated),
      selected: pair.id === selectedId || (selectedId === undefined && pair.selected === true),
      local: candidateView(report.get(pair.localCandidateId)),
      remote: candidateView(report.get(pair.remoteCandidateId)),
      roundTripMs: pair.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      sent: pair.bytesSent ?? 0,
      received: pair.bytesReceived ?? 0,
    }))
    .sort((a, b) => b.selected - a.selected || (a.state === 'succeeded' ? -1 : 1) - (b.state === 'succeeded' ? -1 : 1));
  return {
    pairs,
    selected: pairs.find((pair) => pair.selected) ?? null,
    sent: transports.reduce((sum, transport) => sum + (transport.bytesSent ?? 0), 0),
    received: transports.reduce((sum, transport) => sum + (transport.bytesReceived ?? 0), 0),
    at: performance.now(),
  };
}

/** Turns successive totals into rates, and remembers the last of them. */
export class RateMeter {
  #last = null;
  history = [];

  constructor(length = 60) {
    this.length = length;
  }

  push({ sent, received, at }) {
    if (this.#last && at > this.#last.at) {
      const seconds = (at - this.#last.at) / 1000;
      this.history.push({
        up: Math.max(0, sent - this.#last.sent) / seconds,
        down: Math.max(0, received - this.#last.received) / seconds,
      });
      if (this.history.length > this.length) this.history.shift();
    }
    this.#last = { sent, received, at };
    return this.history.at(-1) ?? { up: 0, down: 0 };
  }
}

export function formatBytes(count) {
  const units = ['B', 'KB', 'MB', 'GB'];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const formatMs = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
