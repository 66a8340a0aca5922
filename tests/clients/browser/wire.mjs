// The wire between the browser and the server: a plain TCP relay that can be cut like a cable.

import { connect, createServer } from 'node:net';

/** Relays connections to `target`; resolves when it listens, with its own base URL. */
export async function layWire(target) {
  const { protocol, hostname, port } = new URL(target);
  if (protocol !== 'http:') throw new Error(`the page's URL must be http, not ${protocol}`);
  const sockets = new Set();
  let whole = true;
  const keep = (socket, other) => {
    sockets.add(socket);
    // A broken connection on one side is passed on as such; the browser and the server judge it.
    socket.on('error', () => other.destroy());
    socket.on('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const relay = createServer((near) => {
    if (!whole) {
      near.destroy();
      return;
    }
    const far = connect({ host: hostname, port: Number(port || 80) });
    keep(near, far);
    keep(far, near);
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise((resolve, reject) => {
    relay.on('error', reject);
    relay.listen(0, '127.0.0.1', resolve);
  });
  const cut = () => {
    whole = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    base: `http://127.0.0.1:${relay.address().port}`,
    cut,
    mend: () => {
      whole = true;
    },
    remove: () => {
      cut();
      relay.close();
    },
  };
}
