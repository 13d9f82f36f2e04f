// Opens the foreign page in Chromium, from an origin that the server's configuration names and from
// one that it does not. Driven by tests/strangers.rs, which serves the page.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { BASE_URL, API_KEY, API_SECRET, ALLOWED, REFUSED, CHROMIUM, PLAYWRIGHT } = process.env;
const { chromium } = createRequire(import.meta.url)(PLAYWRIGHT);

/** How long all of it may take; the machine may be busy. */
const MILLISECONDS_MAX = 240_000;
/** How long the page may take to load. */
const STEP_MILLISECONDS_MAX = 60_000;
setTimeout(() => {
  console.error(`not done after ${MILLISECONDS_MAX} ms`);
  process.exit(1);
}, MILLISECONDS_MAX).unref();

const access = { url: BASE_URL, authorization: `Bearer ${API_KEY}:${API_SECRET}` };
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: MILLISECONDS_MAX,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

/** Runs one of the page's checks; returns what the console said meanwhile. */
async function check(origin, name) {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_MILLISECONDS_MAX);
  const said = [];
  page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(String(error)));
  await page.goto(`${origin}/`);
  try {
    await page.waitForFunction((wanted) => wanted in window, name);
    await page.evaluate(([wanted, given]) => window[wanted](given), [name, access]);
  } catch (error) {
    throw new Error(`${name}: ${error.message}\n${said.join("\n")}`);
  }
  await page.close();
  return said;
}

const quiet = await check(ALLOWED, "allowed");
assert.deepEqual(quiet.filter((line) => !line.includes("status of 401")), []);
const blocked = await check(REFUSED, "refused");
assert.ok(blocked.some((line) => line.includes("CORS policy")), blocked.join("\n"));
await browser.close();
console.log("browser ok");
