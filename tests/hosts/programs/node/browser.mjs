// A browser, driven by lines of JSON on stdin, each answered by one: {page, url} opens a page, {page, add} types a note and
// sends it, {page, note} waits until the page shows it, {page, problem} until it shows a problem. The answer is {at}, the time,
// and what the page shows.
import { chromium } from 'playwright-core';
import readline from 'node:readline';

const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox'] });
const pages = {};

async function act({ page: name, url, add, note, problem }) {
  if (url) {
    pages[name] = await browser.newPage();
    await pages[name].goto(url);
  }
  const page = pages[name];
  if (add) {
    await page.fill('input[name=text]', add);
    await page.click('button');
  }
  if (note) await page.locator('#notes li', { hasText: note }).waitFor();
  if (problem) await page.locator('#error', { hasText: problem }).waitFor();
  const at = Date.now();
  return { at, notes: await page.locator('#notes li').allTextContents(), error: await page.textContent('#error') };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify(await act(JSON.parse(line))));
  } catch (error) {
    console.log(JSON.stringify({ failed: error.message }));
  }
}
await browser.close();
