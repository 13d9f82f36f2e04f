// Keeps the checkout page true without reloading it. It asks the server whether anything changed; if
// so it fetches the page anew and replaces the parts that differ: words and looks are made in one
// place, on the server. Not here: any rule about payments.
"use strict";

(() => {
  // How often the server is asked when it does not wait for news by itself, in milliseconds.
  const POLL_MS = 2000;
  // The same after the payment reached its end; only a late payment or a reorganisation follows.
  const POLL_FINAL_MS = 15000;
  // How long to wait after a failure, at first and at most, in milliseconds.
  const RETRY_MS = 1000;
  const RETRY_MS_MAX = 15000;
  // How long one question may take beyond the time the server may wait, in milliseconds.
  const ANSWER_MS_MAX = 10000;
  const COPIED_MS = 2000;

  document.documentElement.classList.add("scripted");
  const page = document.getElementById("checkout");
  if (!page) return;
  const api = page.dataset.api;
  const waitSeconds = Number(page.dataset.waitSeconds);
  const said = document.querySelector("[data-said]");

  // What the server rendered last of each part: the script itself changes some (the countdown).
  const rendered = new Map();
  for (const part of document.querySelectorAll("[data-part]")) {
    rendered.set(part.dataset.part, part.innerHTML);
  }

  // --- Countdown, by the server's time: only the time that passed here is measured here.

  let deadline = null;

  function startCountdown() {
    const clock = document.querySelector("[data-left]");
    deadline = clock ? performance.now() + Number(clock.dataset.left) * 1000 : null;
    tick();
  }

  function tick() {
    const clock = document.querySelector("[data-left]");
    if (!clock || deadline === null) return;
    const left = Math.max(0, Math.ceil((deadline - performance.now()) / 1000));
    const two = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(left / 3600);
    const minutes = Math.floor(left / 60) % 60;
    const head = hours > 0 ? `${hours}:${two(minutes)}` : two(minutes);
    clock.textContent = `${head}:${two(left % 60)}`;
    clock.classList.toggle("soon", left < 300);
  }

  // --- News.

  let wake = () => {};

  function pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      wake = () => { clearTimeout(timer); resolve(); };
    });
  }

  async function ask(url, headers, milliseconds) {
    const signal = AbortSignal.timeout(milliseconds);
    const answer = await fetch(url, { headers, signal, cache: "no-store", credentials: "omit" });
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    return answer;
  }

  async function refresh() {
    const answer = await ask(location.href, {}, ANSWER_MS_MAX);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    for (const part of document.querySelectorAll("[data-part]")) {
      const name = part.dataset.part;
      const now = fresh.querySelector(`[data-part="${name}"]`);
      if (!now || now.innerHTML === rendered.get(name)) continue;
      rendered.set(name, now.innerHTML);
      part.replaceChildren(...now.childNodes);
    }
    startCountdown();
  }

  async function watch() {
    let known = null;
    let etag = null;
    let failures = 0;
    for (;;) {
      let rest = waitSeconds > 0 ? 0 : POLL_MS;
      try {
        const waits = waitSeconds > 0 && etag !== null;
        const headers = waits ? { "If-None-Match": etag } : {};
        const url = waits ? `${api}?wait=${waitSeconds}` : api;
        const answer = await ask(url, headers, (waits ? waitSeconds * 1000 : 0) + ANSWER_MS_MAX);
        const text = await answer.text();
        if (text !== known) await refresh();
        known = text;
        etag = answer.headers.get("ETag");
        if (waitSeconds > 0 && etag === null) rest = POLL_MS;
        // Waiting failed, as it does where too many wait: it is not tried again at once.
        if (failures > 0) rest = Math.max(rest, POLL_MS);
        if (JSON.parse(text).checkout.is_final) rest = Math.max(rest, POLL_FINAL_MS);
        failures = 0;
      } catch {
        // Asked without waiting next: whoever can not wait sees every change all the same.
        etag = null;
        rest = Math.min(RETRY_MS * 2 ** failures, RETRY_MS_MAX);
        failures += 1;
      }
      document.querySelector("[data-offline]").hidden = failures < 2;
      await pause(rest);
    }
  }

  // --- Buttons. One listener for all: parts are replaced.

  async function copy(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without https there is no clipboard to write to; a selection can still be copied.
      const field = document.createElement("textarea");
      field.value = text;
      field.className = "unseen";
      document.body.append(field);
      field.select();
      const copied = document.execCommand("copy");
      field.remove();
      button.focus();
      if (!copied) return;
    }
    const words = button.textContent;
    if (words === page.dataset.copied) return;
    button.textContent = page.dataset.copied;
    said.textContent = `${page.dataset.copied}: ${text}`;
    setTimeout(() => { button.textContent = words; said.textContent = ""; }, COPIED_MS);
  }

  async function play(button) {
    const note = document.querySelector("[data-played]");
    const buttons = document.querySelectorAll("[data-play]");
    for (const other of buttons) other.disabled = true;
    note.textContent = "";
    try {
      const answer = await fetch(`${api}/${button.dataset.play}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: button.dataset.body,
        credentials: "omit",
      });
      const body = await answer.json();
      if (!answer.ok) note.textContent = body.message;
    } catch {
      note.textContent = document.querySelector("[data-offline]").textContent;
    }
    for (const other of buttons) other.disabled = false;
    button.focus();
    wake();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.copy !== undefined) copy(button);
    if (button.dataset.play !== undefined) play(button);
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh().catch(() => {}).then(() => wake());
  });

  startCountdown();
  setInterval(tick, 1000);
  watch();
})();
