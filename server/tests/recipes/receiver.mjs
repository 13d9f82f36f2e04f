// Run it with `APP_KEYS=... PORT=9000 node receiver.mjs`. APP_KEYS is the active key; while you rotate,
// the active and the next one with a comma between them.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const appKeys = process.env.APP_KEYS.split(',').map((text) => Buffer.from(text, 'base64'));
const handled = new Set(); // in your system: a unique column in the table of what you shipped

function isGenuine({ invoice_id, event, signature }) {
  const given = Buffer.from(String(signature), 'hex');
  return appKeys.some((key) => {
    const expected = createHmac('sha256', key).update(`${invoice_id}.${event}`).digest();
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

function receive(raw) {
  let body;
  try {
    body = JSON.parse(raw);
  } catch {
    return 400;
  }
  if (!body || !isGenuine(body)) return 400;
  const once = `${body.invoice_id}.${body.event}`;
  if (!handled.has(once) && body.event === 'payment.confirmed' && body.status === 'confirmed') {
    handled.add(once);
    console.log(`ship order ${body.order_id}`);
  }
  return 200;
}

createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => response.writeHead(receive(Buffer.concat(chunks))).end());
}).listen(Number(process.env.PORT), '127.0.0.1');
