<?php
// Run it with `APP_KEY=... php -S 127.0.0.1:9000 receiver.php`, or put it behind your web server.

$raw = file_get_contents('php://input');
$data = json_decode($raw, true);
$invoiceId = $data['invoice_id'] ?? '';
$event = $data['event'] ?? '';
$receivedSig = $data['signature'] ?? '';
$appKey = base64_decode(getenv('APP_KEY'));
$expected = hash_hmac('sha256', $invoiceId . '.' . $event, $appKey);
if (!hash_equals($expected, $receivedSig)) { http_response_code(400); exit('Invalid signature'); }
if ($event === 'payment.confirmed' && $data['status'] === 'confirmed') { /* $data['order_id'], $data['amount_usd'] */ }
http_response_code(200);
echo 'OK';
