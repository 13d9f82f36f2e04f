// A foreign client in a browser: connect-web over gRPC-web, from another origin than the server's.
// Each check throws on the first thing that is not as it should be. Called by browser.mjs.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { EventService, StreamStart } from "/code/cryptopayment/v1/event_pb.js";
import { InvoiceService, InvoiceStatus } from "/code/cryptopayment/v1/invoice_pb.js";
import { SandboxService } from "/code/cryptopayment/sandbox/v1/sandbox_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "/code/google/rpc/error_details_pb.js";

const MILLISECONDS_MAX = 60_000;

function same(got, wanted, what) {
  const [left, right] = [got, wanted].map((value) => JSON.stringify(value));
  if (left !== right) throw new Error(`${what}: got ${left}, wanted ${right}`);
}

function clients({ url, authorization }) {
  const withKey = (next) => (request) => {
    request.header.set("Authorization", authorization);
    return next(request);
  };
  const transport = createGrpcWebTransport({ baseUrl: url, interceptors: [withKey] });
  return {
    invoices: createClient(InvoiceService, transport),
    events: createClient(EventService, transport),
    sandbox: createClient(SandboxService, transport),
  };
}

/** The code of a call that must fail, with its ErrorInfo and its BadRequest. */
async function failure(call) {
  try {
    await call();
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const [info] = error.findDetails(ErrorInfoSchema);
    const [bad] = error.findDetails(BadRequestSchema);
    return { code: Code[error.code], info, bad };
  }
  throw new Error("the call did not fail");
}

async function all(stream) {
  const messages = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

/** What a page of an origin that is named in the configuration can do. */
export async function allowed(access) {
  const { invoices, events, sandbox } = clients(access);
  const within = { timeoutMs: MILLISECONDS_MAX };

  // unary: create, read, list
  const order = { network: "ltc", amountUsd: "50.00", orderId: "WEB-1", requestId: "web-1" };
  const created = await invoices.createInvoice(order, within);
  const id = created.invoice.id;
  same(created.invoice.amountUsd, "50.00", "amount");
  same(created.checkoutUrl.endsWith(`/pay/${id}`), true, "checkout URL");
  const again = await invoices.createInvoice(order, within);
  same(again.invoice.id, id, "the same request_id is the same invoice");
  const read = await invoices.getInvoice({ id }, within);
  same(InvoiceStatus[read.invoice.status], "PENDING", "status");
  const listed = await invoices.listInvoices({ orderId: "WEB-1" }, within);
  same(listed.invoices.map((invoice) => invoice.id), [id], "list");

  // streams: the log from now on, and this invoice, while it is paid
  const latest = { from: { case: "start", value: StreamStart.LATEST } };
  const log = events.streamEvents(latest, within)[Symbol.asyncIterator]();
  const first = await log.next();
  same(first.value.event, undefined, "the first message tells where the log stands");
  const watched = all(invoices.watchInvoice({ id }, within));
  await sandbox.payInvoice({ invoiceId: id, blocks: 6 }, within);
  const last = (await watched).pop().invoice;
  same([InvoiceStatus[last.status], last.isFinal], ["CONFIRMED", true], "the last message");
  const told = [];
  while (told.length < 2) {
    const { value } = await log.next();
    if (value.event?.invoiceId === id) told.push(value.event.type);
  }
  same(told, ["payment.detected", "payment.confirmed"], "events");
  await log.return?.();

  // errors: the reason, and the field at fault
  const unknown = await failure(() => invoices.createInvoice({ ...order, network: "doge" }, within));
  same([unknown.code, unknown.info.reason], ["InvalidArgument", "UNKNOWN_NETWORK"], "unknown network");
  same(unknown.bad.fieldViolations.map((violation) => violation.field), ["network"], "its field");

  // a wrong key, for both kinds of calls
  const wrong = clients({ ...access, authorization: `${access.authorization}x` });
  const refusals = [
    await failure(() => wrong.invoices.getInvoice({ id }, within)),
    await failure(() => all(wrong.events.streamEvents(latest, within))),
  ];
  for (const { code, info } of refusals) {
    same([code, info.reason], ["Unauthenticated", "CREDENTIALS_INVALID"], "wrong key");
  }

  // a deadline: the stream of a log in which nothing happens is cut in time
  const cut = await failure(() => all(events.streamEvents(latest, { timeoutMs: 1_000 })));
  same(cut.code, "DeadlineExceeded", "deadline");

  // REST on the same port, with its own headers
  const rest = await fetch(`${access.url}/api/v1/invoices/${id}`, {
    headers: { Authorization: access.authorization },
  });
  same((await rest.json()).invoice.status, "confirmed", "over REST");
  same(Boolean(rest.headers.get("x-request-id")), true, "x-request-id can be read");
}

/** What a page of any other origin can do: nothing. */
export async function refused(access) {
  const { invoices } = clients(access);
  const grpc = await failure(() => invoices.listInvoices({}, { timeoutMs: MILLISECONDS_MAX }));
  same(grpc.info, undefined, "nothing of the answer reaches the page");
  const headers = { Authorization: access.authorization };
  const rest = await fetch(`${access.url}/api/v1/balances`, { headers }).then(
    () => "an answer",
    (error) => error.name,
  );
  same(rest, "TypeError", "REST");
}

Object.assign(window, { allowed, refused });
