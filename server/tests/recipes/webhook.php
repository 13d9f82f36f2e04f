<?php
// The documented webhook handler, run as `php -S 127.0.0.1:PORT webhook.php`. Only APP_KEY and
// WEBHOOK_LOG are not in the documentation: a delivery that passed the documented checks becomes one
// line of that file, `{"shipped": bool, "body": "as it came"}`; what they refuse leaves no line.

$raw = file_get_contents('php://input');
$data = json_decode($raw, true);
$invoiceId = $data['invoice_id'] ?? '';
$event = $data['event'] ?? '';
$receivedSig = $data['signature'] ?? '';
$appKey = base64_decode(getenv('APP_KEY'));
$expected = hash_hmac('sha256', $invoiceId . '.' . $event, $appKey);
if (!hash_equals($expected, $receivedSig)) { http_response_code(400); exit('Invalid signature'); }
$shipped = false;
if ($event === 'payment.confirmed' && $data['status'] === 'confirmed') { $shipped = true; /* $data['order_id'], $data['amount_usd'] */ }
file_put_contents(getenv('WEBHOOK_LOG'), json_encode(['shipped' => $shipped, 'body' => $raw]) . "\n", FILE_APPEND | LOCK_EX);
http_response_code(200);
echo 'OK';
