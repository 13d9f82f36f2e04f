"""Verifies one delivery with the official library of Standard Webhooks: the body comes on stdin, the
headers and the secret by the environment. Says `accepted` or `refused`."""

import os
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

headers = {
    "webhook-id": os.environ["WEBHOOK_ID"],
    "webhook-timestamp": os.environ["WEBHOOK_TIMESTAMP"],
    "webhook-signature": os.environ["WEBHOOK_SIGNATURE"],
}
try:
    Webhook(os.environ["SIGNING_SECRET"]).verify(sys.stdin.buffer.read(), headers)
    print("accepted")
except WebhookVerificationError:
    print("refused")
