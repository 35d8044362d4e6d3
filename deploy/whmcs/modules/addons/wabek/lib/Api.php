<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * Calls wabek's HTTP API, with little patience: a page or a cron waits for the answer.
 */
final class Api
{
    private const CONNECT_MS = 1000;
    private const TOTAL_MS = 3000;

    /** Set once nobody has answered: whatever else this process has for wabek isn't tried. A cron run can have thousands. */
    private static bool $away = false;

    private ?\CurlHandle $curl = null;

    public function __construct(private Config $config)
    {
    }

    public static function isAway(): bool
    {
        return self::$away;
    }

    public static function giveUp(): void
    {
        self::$away = true;
    }

    /**
     * @param array<string, mixed>|null $body
     */
    public function call(string $method, string $path, ?array $body = null, bool $signed = false): Answer
    {
        if (!$this->config->usable()) {
            return new Answer(0, [], 0, 'wabek\'s address or key is not set');
        }
        if (self::$away) {
            return new Answer(0, [], 0, 'it was away a moment ago');
        }
        $raw = $body === null ? '' : json_encode($body, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
        $headers = ['X-API-Key: ' . $this->config->key, 'Content-Type: application/json', 'Expect:'];
        if ($signed) {
            $time = (string) time();
            $mac = hash_hmac('sha256', $time . '.' . $raw, hash('sha256', $this->config->key, true));
            $headers[] = 'X-Wabek-Signature: t=' . $time . ',v1=' . $mac;
        }
        $answer = $this->send($method, $path, $raw, $headers);
        if ($answer->status === 0) {
            self::$away = true;
        }
        $this->log($method . ' ' . $path, $body ?? [], $answer);
        return $answer;
    }

    /**
     * @param string[] $headers
     */
    private function send(string $method, string $path, string $raw, array $headers): Answer
    {
        $this->curl ??= curl_init(); // kept, so that a cron's many events take one connection
        $retry = 0;
        curl_reset($this->curl);
        curl_setopt_array($this->curl, [
            CURLOPT_URL => $this->config->url . $path,
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_HTTPHEADER => $headers,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_CONNECTTIMEOUT_MS => self::CONNECT_MS,
            CURLOPT_TIMEOUT_MS => self::TOTAL_MS,
            CURLOPT_NOSIGNAL => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_HEADERFUNCTION => static function ($curl, string $line) use (&$retry): int {
                if (stripos($line, 'Retry-After:') === 0) {
                    $retry = max(0, (int) trim(substr($line, 12)));
                }
                return strlen($line);
            },
        ]);
        if ($method === 'POST') {
            curl_setopt($this->curl, CURLOPT_POSTFIELDS, $raw);
        }
        $text = curl_exec($this->curl);
        if ($text === false) {
            return new Answer(0, [], 0, 'cURL error ' . curl_errno($this->curl));
        }
        $body = json_decode((string) $text, true);
        $status = (int) curl_getinfo($this->curl, CURLINFO_RESPONSE_CODE);
        if (!is_array($body)) {
            // Something else answers there, like a proxy's page: as good as nobody.
            return $status === 200 ? new Answer(0, [], 0, 'no JSON') : new Answer($status, [], $retry);
        }
        return new Answer($status, $body, $retry);
    }

    /**
     * Tells WHMCS's module log, which an operator turns on to look for a fault
     * (https://developers.whmcs.com/advanced/logging/). What is secret is taken out here and named besides, so that
     * WHMCS blots out whatever might be left.
     *
     * @param array<string, mixed> $body
     */
    private function log(string $what, array $body, Answer $answer): void
    {
        if (!function_exists('logModuleCall')) {
            return;
        }
        try {
            $secrets = [$this->config->key];
            array_walk_recursive($body, static function (&$value, $name) use (&$secrets): void {
                if (in_array($name, ['phone', 'phonenumber', 'otp'], true) && (string) $value !== '') {
                    $secrets[] = (string) $value;
                    $value = $name === 'otp' ? '••••••' : Phone::mask((string) $value);
                }
            });
            logModuleCall('wabek', $what, $body, $answer->body, $answer->says(), $secrets);
        } catch (\Throwable $e) {
            Log::failure('module log', $e);
        }
    }
}
