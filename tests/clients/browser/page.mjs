// Drives the upload page in a headless Chromium.
//   node page.mjs <page-url> <screenshot-dir> [--destination-dir DIR]
// With --destination-dir, every finished upload must also lie there under its own name.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MIB, fixtures, open, sha256OfFile, sha256OfUrl, until } from './harness.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'destination-dir': { type: 'string' } },
});
if (positionals.length !== 2) {
  console.error('usage: node page.mjs <page-url> <screenshot-dir> [--destination-dir DIR]');
  process.exit(2);
}
const [serverUrl, screenshotDirectory] = positionals;

const files = await fixtures();

async function giveUp(error) {
  console.error(`FAILED: ${serverUrl} does not open\n${error.message}`);
  await files.remove();
  process.exit(1);
}

const { page, pageUrl, faults, requests, close, chooser, slow, fast, unplug, plugIn, shot } =
  await open(serverUrl, screenshotDirectory).catch(giveUp);

// ---------------------------------------------------------------- what a check says

const inRow = (name) => {
  const row = page.getByTestId('upload-row').filter({ hasText: name });
  return {
    row,
    part: (id) => row.getByTestId(`row-${id}`),
    state: () => row.getAttribute('data-state'),
    is: (state) =>
      until(`${name} is ${state}`, async () => {
        const now = await row.getAttribute('data-state');
        if (now === 'failed' && state !== 'failed') {
          throw new Error(`${name} failed: ${await row.getByTestId('row-error').innerText()}`);
        }
        return now === state;
      }),
    percent: async () =>
      Number(await row.getByTestId('row-progress').getAttribute('aria-valuenow')),
    reaches(percent) {
      return until(`${name} shows ${percent}%`, async () => (await this.percent()) >= percent);
    },
  };
};

const choose = (...chosen) =>
  page.getByTestId('file-input').setInputFiles(chosen.map((file) => file.path));
const rememberedRow = (name) => page.getByTestId('remembered-row').filter({ hasText: name });
const rememberedKeys = () => page.evaluate(() => Object.keys(localStorage));
const focused = () => page.evaluate(() => document.activeElement?.dataset.testid ?? '');
const announced = () => page.evaluate(() => window.announcements.join(' | '));

/** The finished upload has the bytes of `file`, where the page links to and where it was placed. */
async function arrived(file) {
  const row = inRow(file.name);
  await row.is('done');
  await row.part('link').waitFor();
  const href = new URL(await row.part('link').getAttribute('href'), pageUrl).href;
  const expected = await sha256OfFile(file.path);
  assert.equal(await sha256OfUrl(href), expected, `GET of ${file.name} gives other bytes`);
  if (options['destination-dir']) {
    const placed = await sha256OfFile(join(options['destination-dir'], file.name));
    assert.equal(placed, expected, `${file.name} lies in the destination with other bytes`);
  }
  return href;
}

/** Presses Tab until the element with this test id has the focus, and sees that focus shows. */
async function tabTo(testid) {
  for (let presses = 0; presses < 40 && (await focused()) !== testid; presses += 1) {
    await page.keyboard.press('Tab');
  }
  assert.equal(await focused(), testid, `Tab does not reach ${testid}`);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, 'none', `the focus on ${testid} is invisible`);
}

const visit = () => page.goto(pageUrl);

const checks = [];
const check = (name, body) => checks.push({ name, body });

// ---------------------------------------------------------------- the checks

check('progress, speed and time left are seen, and the bytes arrive', async () => {
  const file = await files.make('progress ünï–文', 6 * MIB);
  await slow(MIB);
  await choose(file);
  const row = inRow(file.name);
  await row.row.waitFor();
  const seen = new Set();
  await until('two values of progress between 0 and 100', async () => {
    const percent = await row.percent();
    if (percent > 0 && percent < 100) seen.add(percent);
    return seen.size >= 2;
  });
  await until('speed and time left', async () =>
    /iB\/s · .+ left/.test(await row.part('pace').textContent()),
  );
  await fast();
  await arrived(file);
  await until('the end is announced', async () =>
    (await announced()).includes(`${file.name} is uploaded`),
  );
  const said = await announced();
  assert.ok(said.startsWith(`Uploading ${file.name}.`), `the start is not announced: ${said}`);
  assert.doesNotMatch(said, /%/, 'progress is announced');
});

check('pause stops the transfer, resume asks for the offset and goes on from there', async () => {
  const file = await files.make('pause', 8 * MIB);
  await slow(MIB);
  await choose(file);
  const row = inRow(file.name);
  await row.reaches(20);
  await row.part('pause').click();
  await row.is('paused');
  await until('the request has ended', () => requests.sending().length === 0);
  const mark = requests.mark;
  await fast();
  await row.part('resume').click();
  await arrived(file);
  assert.equal(requests.since(mark, 'POST').length, 0, 'resuming created another upload');
  const [first, second] = requests.since(mark);
  assert.equal(first.method, 'HEAD', 'resuming does not begin with HEAD');
  assert.equal(second.method, 'PATCH');
  assert.ok(first.offset > 0, 'the server kept nothing of the paused request');
  assert.equal(Number(second.headers['upload-offset']), first.offset);
});

check(
  'after a reload the upload is remembered, and goes on when its file is chosen again',
  async () => {
    const file = await files.make('reload', 8 * MIB);
    await slow(MIB);
    await choose(file);
    await inRow(file.name).reaches(25);
    await page.reload();
    await rememberedRow(file.name).waitFor();
    assert.match(await rememberedRow(file.name).getByTestId('row-status').textContent(), /% of/);
    const mark = requests.mark;
    await fast();
    await choose(file);
    await arrived(file);
    assert.equal(requests.since(mark, 'POST').length, 0, 'another upload was created');
    const [patch] = requests.since(mark, 'PATCH');
    assert.ok(Number(patch.headers['upload-offset']) > 0, 'the first PATCH begins at zero');
    assert.equal(await rememberedRow(file.name).count(), 0);
    assert.deepEqual(await rememberedKeys(), [], 'a finished upload is still remembered');
  },
);

check('a remembered upload that the server no longer has is dropped', async () => {
  const file = await files.make('vanished', 4 * MIB);
  const mark = requests.mark;
  await slow(MIB / 2);
  await choose(file);
  await inRow(file.name).reaches(10);
  await inRow(file.name).part('pause').click();
  await inRow(file.name).is('paused');
  const { location: upload } = requests.since(mark, 'POST')[0];
  const answer = await fetch(upload, { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } });
  assert.equal(answer.status, 204);
  await fast();
  await page.reload();
  await until('the entry is dropped', async () => (await rememberedKeys()).length === 0);
  assert.equal(await page.getByTestId('remembered-row').count(), 0);
});

check('a lost connection is survived: HEAD first, then the rest', async () => {
  const file = await files.make('offline', 8 * MIB);
  await slow(MIB);
  await choose(file);
  const row = inRow(file.name);
  await row.reaches(20);
  await unplug();
  await row.is('waiting');
  assert.match(await row.part('error').innerText(), /offline|reached/);
  const mark = requests.mark;
  await plugIn();
  await arrived(file);
  const answered = requests
    .since(mark)
    .filter((seen) => seen.status !== null && seen.method !== 'GET');
  assert.equal(answered[0].method, 'HEAD');
  assert.equal(answered[1].method, 'PATCH');
  assert.ok(Number(answered[1].headers['upload-offset']) > 0);
});

check('a passing refusal is retried by itself, and its reason shown meanwhile', async () => {
  const file = await files.make('busy', MIB);
  let refusals = 0;
  await page.route(`${endpoint}**`, (route) => {
    if (route.request().method() !== 'PATCH' || refusals >= 2) return route.fallback();
    refusals += 1;
    return route.fulfill({
      status: 507,
      contentType: 'text/plain',
      body: 'disk of the house is full',
    });
  });
  await choose(file);
  const row = inRow(file.name);
  await until(
    'the reason is shown',
    async () =>
      (await row.part('error').isVisible()) &&
      /disk of the house is full/.test(await row.part('error').innerText()),
  );
  await arrived(file);
  assert.equal(refusals, 2);
  assert.equal(await row.part('error').isVisible(), false);
  await page.unroute(`${endpoint}**`);
});

check(
  'a final refusal is shown in words with what the server says, and can be tried again',
  async () => {
    const file = await files.make('refused', MIB);
    const refuse = (route) =>
      route.request().method() === 'POST'
        ? route.fulfill({ status: 413, contentType: 'text/plain', body: 'one kilobyte is plenty' })
        : route.fallback();
    await page.route(`${endpoint}**`, refuse);
    const mark = requests.mark;
    await choose(file);
    const row = inRow(file.name);
    await row.is('failed');
    const error = await row.part('error').innerText();
    assert.match(error, /larger than the server accepts/);
    assert.match(error, /one kilobyte is plenty/);
    assert.equal(requests.since(mark, 'POST').length, 1, 'a final refusal was retried');
    await page.unroute(`${endpoint}**`, refuse);
    await row.part('resume').click();
    await arrived(file);
  },
);

check('a file over Tus-Max-Size is refused before anything is sent', async () => {
  const file = await files.make('oversize', 2 * MIB);
  await page.route(`${endpoint}**`, async (route) => {
    if (route.request().method() !== 'OPTIONS') return route.fallback();
    const response = await route.fetch();
    return route.fulfill({
      response,
      headers: { ...response.headers(), 'tus-max-size': String(MIB) },
    });
  });
  await page.reload();
  const mark = requests.mark;
  await choose(file);
  const row = inRow(file.name);
  await row.is('failed');
  assert.match(await row.part('error').innerText(), /at most 1\.00 MiB/);
  assert.deepEqual(requests.since(mark, 'POST'), []);
  await page.unroute(`${endpoint}**`);
  await page.reload();
});

check('without permission to read there is no link', async () => {
  const file = await files.make('unreadable', 1000);
  await page.route(`${endpoint}**`, (route) =>
    route.request().method() === 'GET'
      ? route.fulfill({ status: 405, body: 'no' })
      : route.fallback(),
  );
  const mark = requests.mark;
  await choose(file);
  const row = inRow(file.name);
  await row.is('done');
  await until('the page has asked', () => requests.since(mark, 'GET').some((seen) => seen.over));
  assert.equal(await row.part('link').isVisible(), false);
  await page.unroute(`${endpoint}**`);
});

check('cancel removes the row and terminates the upload', async () => {
  const file = await files.make('cancel', 8 * MIB);
  const mark = requests.mark;
  await slow(MIB / 2);
  await choose(file);
  const row = inRow(file.name);
  await row.reaches(10);
  const { location: upload } = requests.since(mark, 'POST')[0];
  await row.part('cancel').click();
  await row.row.waitFor({ state: 'detached' });
  await fast();
  await until('the upload is terminated', async () => {
    const { status } = await fetch(upload, {
      method: 'HEAD',
      headers: { 'Tus-Resumable': '1.0.0' },
    });
    return status === 404 || status === 410;
  });
  assert.deepEqual(await rememberedKeys(), []);
});

check('an empty file is uploaded', async () => {
  const file = await files.make('empty', 0);
  await choose(file);
  await arrived(file);
  assert.equal(await inRow(file.name).percent(), 100);
});

check('of several files three go at once, the others wait their turn, all arrive', async () => {
  const several = await Promise.all(
    [1, 2, 3, 4, 5].map((n) => files.make(`several ${n}`, MIB + n)),
  );
  await slow(MIB / 2);
  await choose(...several);
  const states = () => Promise.all(several.map((file) => inRow(file.name).state()));
  await until(
    'three are under way',
    async () => (await states()).filter((state) => state === 'uploading').length === 3,
  );
  assert.deepEqual((await states()).slice(3), ['queued', 'queued']);
  await fast();
  for (const file of several) await arrived(file);
});

check('files are taken by drag and drop', async () => {
  const content = 'dropped on the page';
  await page.evaluate((text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], 'dropped one.txt', { type: 'text/plain', lastModified: 1 }));
    data.items.add(new File([text], 'dropped two.txt', { type: 'text/plain', lastModified: 1 }));
    const zone = document.querySelector('[data-testid=dropzone]');
    for (const kind of ['dragenter', 'dragover', 'drop']) {
      zone.dispatchEvent(
        new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }),
      );
    }
  }, content);
  for (const name of ['dropped one.txt', 'dropped two.txt']) {
    const row = inRow(name);
    await row.is('done');
    await row.part('link').waitFor();
    const response = await fetch(new URL(await row.part('link').getAttribute('href'), pageUrl));
    assert.equal(await response.text(), content);
  }
});

check('the keyboard alone chooses a file, pauses and resumes it', async () => {
  const file = await files.make('keyboard', 6 * MIB);
  await visit();
  await slow(MIB / 2);
  await tabTo('choose');
  await page.keyboard.press('Enter');
  await (await chooser()).setFiles(file.path);
  const row = inRow(file.name);
  await row.reaches(5);
  await tabTo('row-pause');
  await page.keyboard.press('Enter');
  await row.is('paused');
  assert.equal(await focused(), 'row-resume', 'the focus is lost when the button changes');
  await page.keyboard.press('Space');
  await row.is('uploading');
  assert.equal(await focused(), 'row-pause');
  await fast();
  await arrived(file);
});

check('it looks right in mid-upload: light, dark, and 360 pixels wide', async () => {
  await visit();
  const earlier = await files.make('Interview, first cut', 12 * MIB);
  await slow(2 * MIB);
  await choose(earlier);
  await inRow(earlier.name).reaches(30);
  await page.reload();
  await rememberedRow(earlier.name).waitFor();
  await fast();
  const small = await files.make('Contract, signed', 40_000);
  const refused = await files.make('Floor plan', 30_000);
  const refuse = (route) =>
    route.request().method() === 'POST'
      ? route.fulfill({ status: 403, contentType: 'text/plain', body: 'plans are kept elsewhere' })
      : route.fallback();
  await choose(small);
  await arrived(small);
  await page.route(`${endpoint}**`, refuse);
  await choose(refused);
  await inRow(refused.name).is('failed');
  await page.unroute(`${endpoint}**`, refuse);
  await slow(2 * MIB);
  const paused = await files.make('Holiday in the mountains, the whole day uncut', 8 * MIB);
  await choose(paused);
  await inRow(paused.name).reaches(30);
  await inRow(paused.name).part('pause').click();
  const moving = await files.make('Archive of the year', 60 * MIB);
  await choose(moving);
  await inRow(moving.name).reaches(5);
  await page.mouse.move(0, 0);
  for (const [name, width, colorScheme] of [
    ['light-1280', 1280, 'light'],
    ['dark-1280', 1280, 'dark'],
    ['light-360', 360, 'light'],
    ['dark-360', 360, 'dark'],
  ]) {
    await page.setViewportSize({ width, height: 1000 });
    await page.emulateMedia({ colorScheme });
    assert.equal(await inRow(moving.name).state(), 'uploading');
    await shot(name);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels do not fit at a width of ${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: 'light' });
  for (const file of [moving, paused]) await inRow(file.name).part('cancel').click();
  await rememberedRow(earlier.name).getByTestId('row-cancel').click();
  await until('nothing is remembered', async () => (await rememberedKeys()).length === 0);
  await fast();
});

check(
  'a large file goes in parallel parts, through a pause and a reload, and arrives whole',
  async () => {
    const discovery = await fetch(endpoint, { method: 'OPTIONS' });
    assert.match(
      discovery.headers.get('tus-extension') ?? '',
      /(^|,)\s*concatenation\s*(,|$)/,
      'the server does not advertise concatenation',
    );
    const file = await files.make('large', 66 * MIB + 3);
    const mark = requests.mark;
    await slow(4 * MIB);
    await choose(file);
    const row = inRow(file.name);
    await until('four bodies are sent at the same time', () => requests.sending().length === 4);
    await row.reaches(15);
    await row.part('pause').click();
    await until('the requests have ended', () => requests.sending().length === 0);
    const resumed = requests.mark;
    await row.part('resume').click();
    await row.reaches(30);
    const patches = requests.since(resumed, 'PATCH');
    assert.equal(patches.length, 4);
    assert.ok(
      patches.every((seen) => Number(seen.headers['upload-offset']) > 0),
      'a part began again',
    );
    await page.reload();
    await rememberedRow(file.name).waitFor();
    const reloaded = requests.mark;
    await fast();
    await choose(file);
    await arrived(file);
    const after = requests.since(reloaded, 'PATCH');
    assert.ok(
      after.length > 0 && after.every((seen) => Number(seen.headers['upload-offset']) > 0),
      'a part began again after the reload',
    );
    const kinds = requests
      .since(mark, 'POST')
      .map((seen) => seen.headers['upload-concat'].split(';')[0]);
    assert.deepEqual(kinds, ['partial', 'partial', 'partial', 'partial', 'final']);
  },
);

// ---------------------------------------------------------------- the run

await page.addInitScript(() => {
  window.announcements = [];
  addEventListener('DOMContentLoaded', () => {
    const live = document.querySelector('[aria-live]');
    const note = () => {
      if (live.textContent) window.announcements.push(live.textContent);
    };
    new MutationObserver(note).observe(live, {
      childList: true,
      characterData: true,
      subtree: true,
    });
  });
});
await visit().catch(giveUp);
const endpoint = new URL(
  await page.locator('meta[name=tus-endpoint]').getAttribute('content'),
  pageUrl,
).href;

let failed = false;
for (const { name, body } of checks) {
  try {
    await body();
    assert.deepEqual(faults, []);
    console.log(`ok: ${name}`);
  } catch (error) {
    failed = true;
    console.error(`FAILED: ${name}\n${error.stack}`);
    await shot('failure').catch((reason) => console.error(`no screenshot: ${reason.message}`));
    break;
  }
}
await close();
await files.remove();
if (failed) process.exit(1);
console.log(`${checks.length} checks passed`);
