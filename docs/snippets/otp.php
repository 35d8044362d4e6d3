<?php
// Send a one-time password with wabek, ask for it, verify it. Needs PHP 7.4 or later with its curl extension.
//
//   WABEK_API_KEY=... php otp.php +905551234567
declare(strict_types=1);

// Posts JSON and returns the answer. After a lost connection or a 503 it posts the same again. That is safe: the
// Idempotency-Key names the request, so it happens once.
function post(string $path, array $body): array
{
    $url = getenv('WABEK_URL') ?: 'http://127.0.0.1:8080';
    $once = bin2hex(random_bytes(16));
    foreach ([1, 2, 4, null] as $pause) {
        $request = curl_init($url . $path);
        curl_setopt_array($request, [
            CURLOPT_POSTFIELDS => json_encode($body),
            CURLOPT_HTTPHEADER => ['Content-Type: application/json', 'X-API-Key: ' . getenv('WABEK_API_KEY'), 'Idempotency-Key: ' . $once],
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 30,
        ]);
        $text = curl_exec($request);
        $status = $text === false ? 0 : curl_getinfo($request, CURLINFO_RESPONSE_CODE);
        $answer = json_decode((string) $text, true) ?? [];
        if ($status === 200) {
            return $answer;
        }
        $again = $status === 0 || $status === 503 || ($answer['code'] ?? '') === 'idempotency_key_in_flight';
        if (!$again || $pause === null) {
            throw new RuntimeException($status === 0 ? curl_error($request) : "$status " . ($answer['code'] ?? '') . ': ' . ($answer['detail'] ?? ''));
        }
        sleep($pause);
    }
}

try {
    $issued = post('/api/v1/otp', ['phone' => $argv[1] ?? '', 'purpose' => 'login']);
    echo "Sent to {$issued['to']}. The code: ";
    $code = trim((string) fgets(STDIN));

    $verdict = post('/api/v1/otp-verify', ['otp_id' => $issued['otpId'], 'otp' => $code]);
    echo $verdict['valid'] ? "It is right.\n" : "It is not: {$verdict['reason']}.\n";
    exit($verdict['valid'] ? 0 : 1);
} catch (RuntimeException $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
