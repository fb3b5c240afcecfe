// Echo, /lastresort/echo/1.0.0: every byte comes back, then the end of the stream.

export const ECHO = '/lastresort/echo/1.0.0';

export async function echoHandler(stream) {
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) await stream.write(bytes);
  await stream.closeWrite();
}
