"""A foreign client: grpcio with what grpcio-tools made of the contract. Calls as a merchant, plays a
payment, and fails on the first thing that is not as it should be. Driven by tests/strangers.rs."""

import os
import time

import grpc
from cryptopayment.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cryptopayment.v1 import event_pb2, event_pb2_grpc, invoice_pb2, invoice_pb2_grpc
from google.rpc import error_details_pb2, status_pb2

SECONDS_MAX = 60

address = os.environ["BASE_URL"].removeprefix("http://")
credentials = f"Bearer {os.environ['API_KEY']}:{os.environ['API_SECRET']}"
metadata = [("authorization", credentials)]
channel = grpc.insecure_channel(address)
invoices = invoice_pb2_grpc.InvoiceServiceStub(channel)
events = event_pb2_grpc.EventServiceStub(channel)
sandbox = sandbox_pb2_grpc.SandboxServiceStub(channel)


def failure(call):
    """The code of a call that must fail, with its ErrorInfo and its BadRequest."""
    try:
        call()
    except grpc.RpcError as error:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        trailers = dict(error.trailing_metadata())
        status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
        for detail in status.details:
            detail.Unpack(info) or detail.Unpack(bad)
        return error.code(), info, bad
    raise AssertionError("the call did not fail")


def create(**fields):
    request = invoice_pb2.CreateInvoiceRequest(**fields)
    return invoices.CreateInvoice(request, metadata=metadata, timeout=SECONDS_MAX)


# unary: create, read, list
created = create(network="ltc", amount_usd="50.00", order_id="PY-1", request_id="py-1")
invoice = created.invoice
assert invoice.amount_usd == "50.00" and invoice.status == invoice_pb2.INVOICE_STATUS_PENDING
assert created.checkout_url.endswith(f"/pay/{invoice.id}"), created.checkout_url
again = create(network="ltc", amount_usd="50.00", order_id="PY-1", request_id="py-1")
assert again.invoice.id == invoice.id, "the same request_id is the same invoice"
request = invoice_pb2.GetInvoiceRequest(id=invoice.id)
read = invoices.GetInvoice(request, metadata=metadata, timeout=SECONDS_MAX).invoice
assert read == invoice, read
request = invoice_pb2.ListInvoicesRequest(order_id="PY-1")
listed = invoices.ListInvoices(request, metadata=metadata, timeout=SECONDS_MAX)
assert [entry.id for entry in listed.invoices] == [invoice.id] and listed.pagination.total == 1

# streams: the log from now on, and this invoice, while it is paid
request = event_pb2.StreamEventsRequest(start=event_pb2.STREAM_START_LATEST)
log = events.StreamEvents(request, metadata=metadata, timeout=SECONDS_MAX)
assert not next(log).HasField("event"), "the first message tells where the log stands"
request = invoice_pb2.WatchInvoiceRequest(id=invoice.id)
watch = invoices.WatchInvoice(request, metadata=metadata, timeout=SECONDS_MAX)
seen = [next(watch).invoice.status]
payment = sandbox_pb2.PayInvoiceRequest(invoice_id=invoice.id, blocks=6)
sandbox.PayInvoice(payment, metadata=metadata, timeout=SECONDS_MAX)
for message in watch:
    seen.append(message.invoice.status)
    last = message.invoice
assert seen[0] == invoice_pb2.INVOICE_STATUS_PENDING and last.is_final, seen
assert last.status == invoice_pb2.INVOICE_STATUS_CONFIRMED, last
told = []
for message in log:
    if message.event.invoice_id == invoice.id:
        told.append(message.event.type)
    if told == ["payment.detected", "payment.confirmed"]:
        break
log.cancel()

# errors: the reason, and the field at fault
code, info, bad = failure(lambda: create(network="doge", amount_usd="50"))
assert code == grpc.StatusCode.INVALID_ARGUMENT, code
assert (info.reason, info.domain) == ("UNKNOWN_NETWORK", "cryptopayment"), info
assert [v.field for v in bad.field_violations] == ["network"], bad
missing = invoice_pb2.GetInvoiceRequest(id="00000000-0000-0000-0000-000000000000")
code, info, _ = failure(lambda: invoices.GetInvoice(missing, metadata=metadata))
assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "INVOICE_NOT_FOUND"), (code, info)

# a wrong key, for both kinds of calls
wrong = [("authorization", credentials + "x")]
request = invoice_pb2.GetInvoiceRequest(id=invoice.id)
code, info, _ = failure(lambda: invoices.GetInvoice(request, metadata=wrong))
assert (code, info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"), code
request = event_pb2.StreamEventsRequest(after=0)
code, info, _ = failure(lambda: next(events.StreamEvents(request, metadata=wrong)))
assert (code, info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"), code

# a deadline: the stream of a log in which nothing happens is cut in time
began = time.monotonic()
request = event_pb2.StreamEventsRequest(start=event_pb2.STREAM_START_LATEST)
code, _, _ = failure(lambda: list(events.StreamEvents(request, metadata=metadata, timeout=1)))
assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code
assert time.monotonic() - began < SECONDS_MAX

print("python ok")
