// SPDX-License-Identifier: Apache-2.0
// Drives a browser for tests/integration/80_page.py: a line of JSON in is a
// command, a line of JSON out its result.

const { chromium } = require('playwright-core');
const axe = require('fs').readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const readline = require('readline');

let browser = null;
let context = null;
let page = null;
let seen = null;

function watch(p) {
  seen = { requests: [], failures: [], console: [], dialogs: 0 };
  p.on('request', (r) => seen.requests.push(r.url()));
  p.on('requestfailed', (r) => seen.failures.push(r.url() + ' ' + r.failure().errorText));
  p.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') seen.console.push(m.text());
  });
  p.on('pageerror', (e) => seen.console.push('exception: ' + e.message));
  p.on('dialog', (d) => {
    seen.dialogs++;
    d.dismiss();
  });
}

const commands = {
  /** A new browser window; nothing of the one before is left. */
  async open({ width = 1440, height = 900, dark = false, script = true, user, password }) {
    if (context) await context.close();
    context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
      javaScriptEnabled: script,
      bypassCSP: false,
      timezoneId: 'UTC',
      ...(user ? { httpCredentials: { username: user, password } } : {}),
    });
    page = await context.newPage();
    watch(page);
    // Violations of the policy, also those that print nothing.
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (e) =>
        window.violations.push(e.violatedDirective + ' ' + e.blockedURI),
      );
    });
    return true;
  },
  /** Goes to a view, until what is selected is there. */
  async goto({ url, wait }) {
    await page.goto(url, { waitUntil: 'load' });
    if (wait) await page.waitForSelector(wait, { timeout: 20000 });
    return page.url();
  },
  async wait({ selector, timeout = 20000 }) {
    await page.waitForSelector(selector, { timeout, state: 'attached' });
    return true;
  },
  async texts({ selector }) {
    return page.$$eval(selector, (all) => all.map((e) => e.textContent.trim()));
  },
  /** A table by its caption: head and rows as text, and the cells' titles. */
  async table({ caption }) {
    return page.evaluate((name) => {
      const table = [...document.querySelectorAll('table')].find((t) => t.caption && t.caption.textContent === name);

      if (!table) return null;
      const cells = (row) => [...row.cells].map((c) => c.textContent.trim());

      return { head: cells(table.tHead.rows[0]), rows: [...table.tBodies[0].rows].map(cells) };
    }, caption);
  },
  async evaluate({ js }) {
    return page.evaluate(js);
  },
  async click({ selector }) {
    await page.click(selector, { timeout: 10000 });
    return true;
  },
  async press({ keys }) {
    for (const key of keys) await page.keyboard.press(key);
    return true;
  },
  async type({ text }) {
    await page.keyboard.type(text);
    return true;
  },
  async seen() {
    const violations = await page.evaluate(() => window.violations || []).catch(() => []);

    return { ...seen, violations };
  },
  async forget() {
    seen.requests = [];
    return true;
  },
  async axe() {
    // Its script may run where the page's own policy would not let it.
    const session = await context.newCDPSession(page);
    await session.send('Page.enable');
    const world = await session.send('Page.createIsolatedWorld', {
      frameId: (await session.send('Page.getFrameTree')).frameTree.frame.id,
    });
    const run = (expression, awaitPromise) =>
      session.send('Runtime.evaluate', {
        expression,
        contextId: world.executionContextId,
        awaitPromise,
        returnByValue: true,
      });
    await run(axe, false);
    const result = await run(
      `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then((r) =>
        r.violations.map((v) => v.id + ' (' + v.impact + '): ' +
          v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0] ? n.any[0].message : n.failureSummary)).join(' | ')))`,
      true,
    );
    await session.detach();
    if (result.exceptionDetails) throw new Error(result.exceptionDetails.text);
    return result.result.value;
  },
  async paint() {
    return page.evaluate(
      () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null,
    );
  },
  async screenshot({ path, full = true, clip }) {
    await page.screenshot({ path, fullPage: full && !clip, clip });
    return true;
  },
};

async function main() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  process.stdout.write(JSON.stringify({ ready: browser.version() }) + '\n');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);

    try {
      const result = await commands[command.do](command);

      process.stdout.write(JSON.stringify({ result }) + '\n');
    } catch (e) {
      process.stdout.write(JSON.stringify({ error: String(e.message || e) }) + '\n');
    }
  }
  await browser.close();
}

main().catch((e) => {
  process.stderr.write(String(e) + '\n');
  process.exit(1);
});
