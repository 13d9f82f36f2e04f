// Opens checkout pages in Chromium as a payer would and plays payments with the sandbox's buttons.
// Fails on the first thing that is not as it should be. Takes pictures of each state into PICTURES.
// Driven by tests/browser.rs, which starts the server.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const { BASE_URL, AUTHORIZATION, CHROMIUM, PLAYWRIGHT, PICTURES } = process.env;
const { chromium } = createRequire(import.meta.url)(PLAYWRIGHT);

const WAIT_MS_MAX = 90_000;
/** How long all of it may take; the machine may be busy. */
const ALL_MS_MAX = 600_000;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };

async function call(method, route, body) {
  const answer = await fetch(`${BASE_URL}${route}`, {
    method,
    headers: { Authorization: AUTHORIZATION, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${route}: ${text}`);
  return JSON.parse(text);
}

/** A new invoice over 50 dollars, with things of the merchant's that no payer may see. */
async function invoice(network) {
  const order = { order_id: "ORDER-<i>secret</i>", metadata: { note: "for-the-shop-alone" } };
  const created = await call("POST", "/api/v1/invoices", { network, amount_usd: 50, ...order });
  return created.invoice;
}

setTimeout(() => {
  console.error(`not done after ${ALL_MS_MAX} ms`);
  process.exit(1);
}, ALL_MS_MAX).unref();

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: WAIT_MS_MAX,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

/** A page that notes whatever a strict page never does. */
async function open(id, options = {}) {
  const { expected = 200, ...settings } = options;
  const context = await browser.newContext({ viewport: DESKTOP, locale: "en-US", ...settings });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS_MAX);
  const faults = [];
  page.on("console", (message) => {
    // What the sandbox refuses is said on the page; Chromium notes its status besides.
    const refused = message.location().url.endsWith("/pay") && message.text().includes("400");
    const bad = ["error", "warning"].includes(message.type());
    if (bad && !refused) faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== BASE_URL) faults.push(`asks ${request.url()}`);
  });
  const answer = await page.goto(`${BASE_URL}/pay/${id}`);
  assert.equal(answer.status(), expected);
  const close = async () => {
    if (expected === 200) assert.deepEqual(faults, [], `faults of /pay/${id}`);
    await context.close();
  };
  return { page, context, close };
}

const shows = (page, heading) =>
  page.getByRole("heading", { level: 1, name: heading }).waitFor({ timeout: WAIT_MS_MAX });
const shot = async (page, name) => {
  await page.waitForTimeout(100);
  await page.screenshot({ path: path.join(PICTURES, `${name}.png`), fullPage: true });
};
/** Photographs the code and says what whoever scans it must get; tests/browser.rs reads the picture. */
async function scans(page, name, expected) {
  await page.getByRole("img", { name: /^QR code/ }).screenshot({
    path: path.join(PICTURES, `code-${name}.png`),
  });
  console.log(`code ${name} ${expected}`);
}
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
const confirmations = (page, said) =>
  page.locator(".depth .count").filter({ hasText: said }).waitFor({ timeout: WAIT_MS_MAX });

/** Nothing is cut off or scrolls sideways. */
async function fits(page) {
  const [wide, view] = await page.evaluate(() => {
    const root = document.documentElement;
    return [root.scrollWidth, root.clientWidth];
  });
  assert.ok(wide <= view, `the page is ${wide} pixels wide on a screen of ${view}`);
}

/** Text can be read: at least 4.5 to 1 against what is behind it (WCAG 2.2, level AA). */
async function readable(page) {
  const faint = await page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const paint = (colors) => {
      for (const color of colors) {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
      }
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = (rgb) => {
      const [r, g, b] = [...rgb].slice(0, 3).map((part) => {
        const value = part / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode;
      const element = text.parentElement;
      if (!text.data.trim() || !element.checkVisibility() || element.closest(".unseen, noscript")) {
        continue;
      }
      const behind = [];
      for (let at = element; at; at = at.parentElement) {
        behind.unshift(getComputedStyle(at).backgroundColor);
      }
      const ground = light(paint(["Canvas", ...behind]));
      const ink = light(paint(["Canvas", ...behind, getComputedStyle(element).color]));
      const ratio = (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
      if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${text.data.trim()}`);
    }
    return found;
  });
  assert.deepEqual(faint, [], "text too faint to read");
}

async function paysInParts() {
  const { id, address } = await invoice("ltc");
  const grants = { permissions: ["clipboard-read", "clipboard-write"] };
  const { page, close } = await open(id, grants);
  // Lost by any reload.
  await page.evaluate(() => { window.sameDocument = true; });
  await shows(page, "Waiting for your payment");
  assert.match(await page.title(), /0\.625 LTC/);
  const link = page.getByRole("link", { name: "Open in wallet" });
  assert.equal(await link.getAttribute("href"), `litecoin:${address}?amount=0.625`);
  await page.getByRole("img", { name: `QR code: pay 0.625 LTC to ${address}` }).waitFor();
  const seen = await page.content();
  for (const secret of ["ORDER-", "secret", "for-the-shop-alone"]) {
    assert.ok(!seen.includes(secret), `the page tells ${secret}`);
  }
  const left = page.getByRole("timer");
  const before = await left.textContent();
  assert.match(before, /^(30:00|29:\d\d)$/);
  await page.waitForFunction(
    (text) => document.querySelector("[role=timer]").textContent !== text, before,
  );
  // Watched before the press: it says so for a moment only.
  const copied = page.getByText("Copied", { exact: true }).waitFor();
  await press(page, "Copy address");
  await copied;
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), address);
  await fits(page);
  await readable(page);
  await shot(page, "waiting-desktop");

  await press(page, "Pay half");
  await shows(page, "0.3125 LTC still missing");
  assert.equal(await link.getAttribute("href"), `litecoin:${address}?amount=0.3125`);
  await readable(page);
  await shot(page, "partly-paid-desktop");
  await scans(page, "ltc-rest", `litecoin:${address}?amount=0.3125`);

  await press(page, "Pay");
  await shows(page, "Payment detected");
  await confirmations(page, "0 of 6");
  assert.equal(await link.count(), 0, "nothing is asked for any more");
  await press(page, "Mine a block");
  await confirmations(page, "1 of 6");
  await press(page, "Mine a block");
  await confirmations(page, "2 of 6");
  await readable(page);
  await shot(page, "detected-desktop");
  await press(page, "Reorganise");
  await confirmations(page, "0 of 6");
  for (let block = 0; block < 6; block += 1) {
    const button = page.getByRole("button", { name: "Mine a block" });
    await page.waitForFunction(() => !document.querySelector("[data-play]").disabled);
    await button.click();
  }
  await shows(page, "Paid");
  await readable(page);
  await shot(page, "paid-desktop");

  await press(page, "Double-spend");
  await shows(page, "Your payment was undone");
  await readable(page);
  await shot(page, "undone-desktop");
  assert.ok(await page.evaluate(() => window.sameDocument), "it was reloaded");
  await close();
}

async function overpays() {
  const { id } = await invoice("btc");
  const { page, close } = await open(id, { viewport: PHONE });
  await press(page, "Overpay");
  await shows(page, "Payment detected");
  await fits(page);
  await shot(page, "detected-phone");
  await press(page, "Mine a block");
  await confirmations(page, "1 of 2");
  await press(page, "Mine a block");
  await shows(page, "Paid, and more than asked");
  await press(page, "Pay");
  await page.getByText("paid in full").waitFor();
  await shot(page, "overpaid-phone");
  await close();
}

async function everyNetworkFitsAPhone() {
  for (const network of ["trc20", "bep20", "btc", "ltc", "eth"]) {
    const { id, address } = await invoice(network);
    const full = await call("GET", `/api/v1/invoices/${id}?view=full`);
    const uri = full.invoice.payment_uri;
    assert.equal(!uri, network === "trc20", `${network}: ${uri}`);
    const { page, close } = await open(id, { viewport: PHONE });
    await shows(page, "Waiting for your payment");
    await fits(page);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await readable(page);
      await scans(page, `${network}-${colorScheme}`, uri || address);
      await shot(page, `waiting-${network}-phone-${colorScheme}`);
    }
    await close();
  }
  const { id } = await invoice("eth");
  const { page, close } = await open(id, { colorScheme: "dark" });
  await shot(page, "waiting-desktop-dark");
  await close();
}

async function readsWithoutScript() {
  const { id, address } = await invoice("trc20");
  const { page, close } = await open(id, { javaScriptEnabled: false });
  await shows(page, "Waiting for your payment");
  // Chromium renders it only where script is off for good, which nothing here could look into.
  assert.match(await page.locator("noscript").innerHTML(), /Reload it to see/);
  await page.getByText(address, { exact: true }).waitFor();
  assert.equal(await page.getByRole("button").count(), 0, "buttons that do nothing");
  await shot(page, "no-script");
  await close();
}

async function toldWhenTheTimeIsOver() {
  const [nothing, part, late] = [await invoice("ltc"), await invoice("ltc"), await invoice("ltc")];
  const { page, close } = await open(part.id, { viewport: PHONE });
  await press(page, "Pay half");
  await shows(page, "0.3125 LTC still missing");
  await shot(page, "partly-paid-phone");
  const canceled = await invoice("ltc");
  await call("POST", `/api/v1/invoices/${canceled.id}/cancel`, {});
  // The countdown follows the sandbox's clock: from 30 minutes down to less than 10.
  await call("POST", "/sandbox/v1/clock/advance", { seconds: 1_200 });
  await page.getByRole("timer").filter({ hasText: /^0\d:\d\d$/ }).waitFor();
  await call("POST", "/sandbox/v1/clock/advance", { seconds: 660 });
  await shows(page, "The time is over, and a part is missing");
  await fits(page);
  await readable(page);
  await shot(page, "expired-underpaid-phone");
  await close();

  const ended = [
    [nothing.id, "The time is over", "expired-desktop"],
    [canceled.id, "Canceled by the shop", "canceled-desktop"],
  ];
  for (const [id, heading, name] of ended) {
    const { page, close } = await open(id);
    await shows(page, heading);
    assert.equal(await page.getByRole("img").count(), 0, "no code to pay by");
    await readable(page);
    await shot(page, name);
    await close();
  }
  const lately = await open(late.id);
  await shows(lately.page, "The time is over");
  await press(lately.page, "Pay");
  await shows(lately.page, "Your payment came too late");
  await shot(lately.page, "late-desktop");
  await lately.close();
}

async function strangersSeeNothing() {
  for (const id of ["00000000-0000-7000-8000-000000000000", "nonsense", "%3Cscript%3E"]) {
    const { page, close } = await open(id, { expected: 404 });
    await shows(page, "There is no such payment");
    await shot(page, "not-found");
    await close();
  }
}

try {
  for (const step of [
    paysInParts, overpays, everyNetworkFitsAPhone, readsWithoutScript, strangersSeeNothing,
    // Moves the deployment's clock: last.
    toldWhenTheTimeIsOver,
  ]) {
    console.log(step.name);
    await step();
  }
} finally {
  await browser.close();
}
