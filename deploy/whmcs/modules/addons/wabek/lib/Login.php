<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * A code at each login, where the setting is on. It tells and doesn't guard: WHMCS takes no answer of UserLogin. What
 * guards a login is the two-factor module.
 */
final class Login
{
    /** The session has the id of the OTP under this name, and nothing else of it. */
    public const SESSION = 'wabek_otp_id';

    /** Set where this login has been guarded by a code of ours already, or was told before by WHMCS's other hook. */
    private static bool $done = false;

    public static function guarded(): void
    {
        self::$done = true;
    }

    public static function send(int $client, Config $config): void
    {
        if (!$config->loginOtp || !$config->usable() || self::$done) {
            return;
        }
        self::$done = true;
        unset($_SESSION[self::SESSION]); // that of an earlier login stands for nothing now
        $details = Clients::details($client, $config);
        if ($details === [] || !Clients::consents($details, $config)) {
            return;
        }
        $phone = Phone::of($details);
        if ($phone === '') {
            Log::note('no login code: the client has no phone number', $client);
            return;
        }
        $ask = ['phone' => $phone, 'purpose' => 'login', 'metadata' => ['client' => (string) $client]];
        $ip = (string) ($_SERVER['REMOTE_ADDR'] ?? '');
        if (filter_var($ip, FILTER_VALIDATE_IP) !== false) {
            $ask['ip'] = $ip;
        }
        $answer = (new Api($config))->call('POST', '/api/v1/otp', $ask);
        $id = $answer->text('otpId');
        if (!$answer->ok() || $id === '') {
            Log::note('no login code for ' . Phone::mask($phone) . ': ' . $answer->says(), $client);
            return;
        }
        $_SESSION[self::SESSION] = $id;
        Log::note('login code queued for ' . $answer->text('to'), $client);
    }
}
