// Opens a page in Chromium and waits until it shows every line of a file; prints those lines. A page
// that does not show them in time is an error, and what it shows instead is said.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const { CHROMIUM, PLAYWRIGHT } = process.env;
const { chromium } = createRequire(import.meta.url)(PLAYWRIGHT);
const MILLISECONDS_MAX = 120_000;

const [url, expected] = process.argv.slice(2);
const lines = (await readFile(expected, "utf8")).split("\n").filter((line) => line.trim() !== "");
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: MILLISECONDS_MAX,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const page = await browser.newPage();
const said = [];
page.on("console", (message) => said.push(message.text()));
page.on("pageerror", (error) => said.push(String(error)));
await page.goto(url);
try {
  const shows = (wanted) => wanted.every((line) => document.body.innerText.includes(line.trim()));
  await page.waitForFunction(shows, lines, { timeout: MILLISECONDS_MAX });
  console.log(lines.join("\n"));
} catch (error) {
  const text = await page.evaluate(() => document.body.innerText).catch(String);
  console.error(`${error.message}\nthe page shows:\n${text}\nand said:\n${said.join("\n")}`);
  process.exitCode = 1;
}
await browser.close();
