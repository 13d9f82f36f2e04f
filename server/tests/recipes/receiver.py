# Run it with `SIGNING_SECRET=whsec_... PORT=9000 python3 receiver.py` after
# `pip install standardwebhooks`.
import decimal
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["SIGNING_SECRET"])
handled = set()  # in your system: a unique column in the table of what you shipped


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            webhook.verify(raw, dict(self.headers), json_parse=False)
        except WebhookVerificationError:
            return self.answer(400)
        body = json.loads(raw, parse_float=decimal.Decimal)
        once = self.headers["webhook-id"]
        if body["event"] == "payment.confirmed" and once not in handled:
            handled.add(once)
            print("ship order", body["order_id"])
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
