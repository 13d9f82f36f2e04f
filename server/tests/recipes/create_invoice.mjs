// The documented Node client: fetch, nothing else. Prints the checkout URL, then the answer as it
// came.

const { BASE_URL, API_KEY, API_SECRET } = process.env;

const response = await fetch(`${BASE_URL}/api/v1/invoices`, {
  method: 'POST',
  headers: {
    'Authorization': `Bearer ${API_KEY}:${API_SECRET}`,
    'Content-Type': 'application/json',
  },
  body: JSON.stringify({
    network: 'trc20',
    amount_usd: 50.00,
    order_id: 'ORD-001',
  }),
});
const body = await response.text();

const { checkout_url } = JSON.parse(body);
if (!checkout_url) {
  console.error(body);
  process.exit(1);
}
console.log(checkout_url);
console.log(body);
