// What the checks of page.mjs stand on: a browser, files to upload, and a view of the requests.

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { layWire } from './wire.mjs';

export const MIB = 1024 * 1024;
export const DEADLINE_MS = 60_000;

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Polls `probe` until it gives something truthy; fails with `what` at the deadline. */
export async function until(what, probe, deadline = DEADLINE_MS) {
  const end = Date.now() + deadline;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`gave up waiting: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 25);
    });
  }
}

export async function sha256(stream) {
  const digest = createHash('sha256');
  for await (const chunk of stream) digest.update(chunk);
  return digest.digest('hex');
}

export const sha256OfFile = (path) => sha256(createReadStream(path));

export async function sha256OfUrl(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`GET ${url} answered ${response.status}`);
  return sha256(response.body);
}

/** Files with random content in a directory of their own; `name` is unique to the run. */
export async function fixtures() {
  const directory = await mkdtemp(join(tmpdir(), 'tus-page-'));
  const run = randomBytes(3).toString('hex');
  return {
    async make(stem, length) {
      const name = `${stem} ${run}.bin`;
      const path = join(directory, name);
      await writeFile(path, randomBytes(length));
      return { name, path, length };
    },
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Every request to the uploads, in the order in which the page sent them. */
export class Requests {
  constructor(page) {
    this.all = [];
    const known = new Map();
    page.on('request', (request) => {
      const seen = {
        method: request.method(),
        url: request.url(),
        headers: request.headers(),
        status: null,
        location: null,
        offset: null,
        over: false,
      };
      known.set(request, seen);
      this.all.push(seen);
    });
    page.on('response', (response) => {
      const seen = known.get(response.request());
      const { location, 'upload-offset': offset } = response.headers();
      Object.assign(seen, {
        status: response.status(),
        location: location ? new URL(location, seen.url).href : null,
        offset: offset === undefined ? null : Number(offset),
      });
    });
    const over = (request) => {
      known.get(request).over = true;
    };
    page.on('requestfinished', over);
    page.on('requestfailed', over);
  }

  /** A place in the log, from which `since` reads on. */
  get mark() {
    return this.all.length;
  }

  since(mark, method) {
    return this.all.slice(mark).filter((seen) => !method || seen.method === method);
  }

  sending() {
    return this.all.filter((seen) => seen.method === 'PATCH' && !seen.over);
  }
}

/** Starts the browser, with a wire to the server that can be cut. */
export async function open(serverUrl, screenshotDirectory) {
  await mkdir(screenshotDirectory, { recursive: true });
  const wire = await layWire(serverUrl);
  const pageUrl = new URL(new URL(serverUrl).pathname, wire.base).href;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: FLAGS,
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const faults = [];
  page.on('pageerror', (error) => faults.push(`uncaught in the page: ${error.stack}`));
  page.on('console', (message) => {
    // The browser logs every 4xx and broken connection; those are what the checks provoke.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
      faults.push(`console error in the page: ${message.text()}`);
    }
  });
  // With a listener from the start the browser never opens a dialog of its own.
  let chosen = [];
  page.on('filechooser', (chooser) => chosen.push(chooser));
  const chooser = async () => {
    await until('the page opens the file picker', () => chosen.length > 0);
    const [first] = chosen;
    chosen = [];
    return first;
  };
  const requests = new Requests(page);
  const devtools = await context.newCDPSession(page);
  await devtools.send('Network.enable');
  const network = (bytesPerSecond, offline) =>
    devtools.send('Network.emulateNetworkConditions', {
      offline,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: bytesPerSecond,
    });
  const close = async () => {
    await browser.close();
    wire.remove();
  };
  return {
    page,
    pageUrl,
    faults,
    requests,
    close,
    chooser,
    slow: (bytesPerSecond) => network(bytesPerSecond, false),
    fast: () => network(-1, false),
    unplug: async () => {
      await network(-1, true);
      wire.cut();
    },
    plugIn: async () => {
      wire.mend();
      await network(-1, false);
    },
    shot: (name) =>
      page.screenshot({
        path: join(screenshotDirectory, `${name}.png`),
        fullPage: true,
        animations: 'disabled',
      }),
  };
}
