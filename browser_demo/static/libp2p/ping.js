// Ping, /ipfs/ping/1.0.0: every 32 bytes come back as they are.

export const PING = '/ipfs/ping/1.0.0';

export async function pingHandler(stream) {
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) await stream.write(bytes);
  await stream.close();
}
