// A foreign client: @grpc/grpc-js, with the contract's protos loaded as they are. Calls as a merchant,
// plays a payment, and fails on the first thing that is not as it should be. Driven by
// tests/strangers.rs.
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const { BASE_URL, API_KEY, API_SECRET, PROTOS } = process.env;
const MILLISECONDS_MAX = 60_000;

const definition = protoLoader.loadSync(
  [
    "cryptopayment/v1/invoice.proto", "cryptopayment/v1/event.proto",
    "cryptopayment/sandbox/v1/sandbox.proto", "google/rpc/status.proto",
    "google/rpc/error_details.proto",
  ],
  { includeDirs: PROTOS.split(":"), keepCase: true, enums: String, longs: String, defaults: true },
);
const { cryptopayment } = grpc.loadPackageDefinition(definition);
const target = new URL(BASE_URL).host;
const plain = grpc.credentials.createInsecure();
const invoices = new cryptopayment.v1.InvoiceService(target, plain);
const events = new cryptopayment.v1.EventService(target, plain);
const sandbox = new cryptopayment.sandbox.v1.SandboxService(target, plain);

function as(secret) {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${API_KEY}:${secret}`);
  return metadata;
}
const merchant = as(API_SECRET);
const within = (milliseconds) => ({ deadline: Date.now() + milliseconds });

/** Calls a unary method. */
function call(client, method, request, metadata = merchant) {
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    client[method](request, metadata, within(MILLISECONDS_MAX), done);
  });
}

/** The code of a call that must fail, with its ErrorInfo and its BadRequest. */
async function failure(promise) {
  const error = await promise.then(() => assert.fail("the call did not fail"), (reason) => reason);
  const details = {};
  for (const bytes of error.metadata?.get("grpc-status-details-bin") ?? []) {
    for (const detail of definition["google.rpc.Status"].deserialize(bytes).details) {
      const name = detail.type_url.split("/").pop();
      details[name] = definition[name].deserialize(detail.value);
    }
  }
  return { code: error.code, info: details["google.rpc.ErrorInfo"], bad: details["google.rpc.BadRequest"] };
}

/** Reads a stream to its end. */
async function all(stream) {
  const messages = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

// unary: create, read, list
const order = { network: "ltc", amount_usd: "50.00", order_id: "JS-1", request_id: "js-1" };
const created = await call(invoices, "CreateInvoice", order);
const { invoice } = created;
assert.equal(invoice.amount_usd, "50.00");
assert.equal(invoice.status, "INVOICE_STATUS_PENDING");
assert.ok(created.checkout_url.endsWith(`/pay/${invoice.id}`), created.checkout_url);
const again = await call(invoices, "CreateInvoice", order);
assert.equal(again.invoice.id, invoice.id, "the same request_id is the same invoice");
const read = await call(invoices, "GetInvoice", { id: invoice.id });
assert.deepEqual(read.invoice, invoice);
const listed = await call(invoices, "ListInvoices", { order_id: "JS-1" });
assert.deepEqual(listed.invoices.map((entry) => entry.id), [invoice.id]);

// streams: the log from now on, and this invoice, while it is paid
const latest = { start: "STREAM_START_LATEST" };
const log = events.StreamEvents(latest, merchant, within(MILLISECONDS_MAX));
const messages = log[Symbol.asyncIterator]();
const first = await messages.next();
assert.equal(first.value.event, null, "the first message tells where the log stands");
const watch = invoices.WatchInvoice({ id: invoice.id }, merchant, within(MILLISECONDS_MAX));
const watched = all(watch);
await call(sandbox, "PayInvoice", { invoice_id: invoice.id, blocks: 6 });
const last = (await watched).pop().invoice;
assert.deepEqual([last.status, last.is_final], ["INVOICE_STATUS_CONFIRMED", true]);
const told = [];
while (told.length < 2) {
  const { value } = await messages.next();
  if (value.event?.invoice_id === invoice.id) told.push(value.event.type);
}
assert.deepEqual(told, ["payment.detected", "payment.confirmed"]);
log.on("error", () => {});
log.cancel();

// errors: the reason, and the field at fault
let { code, info, bad } = await failure(
  call(invoices, "CreateInvoice", { network: "doge", amount_usd: "50" }),
);
assert.equal(code, grpc.status.INVALID_ARGUMENT);
assert.deepEqual([info.reason, info.domain], ["UNKNOWN_NETWORK", "cryptopayment"]);
assert.deepEqual(bad.field_violations.map((violation) => violation.field), ["network"]);
({ code, info } = await failure(
  call(invoices, "GetInvoice", { id: "00000000-0000-0000-0000-000000000000" }),
));
assert.deepEqual([code, info.reason], [grpc.status.NOT_FOUND, "INVOICE_NOT_FOUND"]);

// a wrong key, for both kinds of calls
const wrong = as(`${API_SECRET}x`);
({ code, info } = await failure(call(invoices, "GetInvoice", { id: invoice.id }, wrong)));
assert.deepEqual([code, info.reason], [grpc.status.UNAUTHENTICATED, "CREDENTIALS_INVALID"]);
({ code, info } = await failure(
  all(events.StreamEvents({ after: 0 }, wrong, within(MILLISECONDS_MAX))),
));
assert.deepEqual([code, info.reason], [grpc.status.UNAUTHENTICATED, "CREDENTIALS_INVALID"]);

// a deadline: the stream of a log in which nothing happens is cut in time
({ code } = await failure(all(events.StreamEvents(latest, merchant, within(1_000)))));
assert.equal(code, grpc.status.DEADLINE_EXCEEDED);

for (const client of [invoices, events, sandbox]) client.close();
console.log("node ok");
