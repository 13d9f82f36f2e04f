"""The documented Python client: requests. Prints the checkout URL, then the answer as it came."""

import os
import sys

import requests

base_url = os.environ["BASE_URL"]
api_key = os.environ["API_KEY"]
api_secret = os.environ["API_SECRET"]

response = requests.post(
    f"{base_url}/api/v1/invoices",
    headers={"Authorization": f"Bearer {api_key}:{api_secret}"},
    json={"network": "trc20", "amount_usd": 50.00, "order_id": "ORD-001"},
    timeout=30,
)
checkout_url = response.json().get("checkout_url")
if not checkout_url:
    sys.exit(response.text)
print(checkout_url)
print(response.text)
