<?php
// The documented PHP client: curl, nothing else. Prints the checkout URL, then the answer as it came.

$baseUrl = getenv('BASE_URL');
$apiKey = getenv('API_KEY');
$apiSecret = getenv('API_SECRET');

$ch = curl_init($baseUrl . '/api/v1/invoices');
curl_setopt($ch, CURLOPT_POST, true);
curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
curl_setopt($ch, CURLOPT_HTTPHEADER, [
    'Authorization: Bearer ' . $apiKey . ':' . $apiSecret,
    'Content-Type: application/json',
]);
curl_setopt($ch, CURLOPT_POSTFIELDS, json_encode([
    'network' => 'trc20',
    'amount_usd' => 50.00,
    'order_id' => 'ORD-001',
]));
$body = curl_exec($ch);
if ($body === false) {
    fwrite(STDERR, curl_error($ch) . "\n");
    exit(1);
}

$response = json_decode($body, true);
if (!($response['success'] ?? false)) {
    fwrite(STDERR, $body . "\n");
    exit(1);
}
echo $response['checkout_url'], "\n", $body, "\n";
