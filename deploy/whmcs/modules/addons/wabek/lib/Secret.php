<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * Encrypts what must not lie in the database in the clear, under WHMCS's own key (cc_encryption_hash), by its API:
 * https://developers.whmcs.com/api-reference/encryptpassword/ and …/decryptpassword/.
 */
final class Secret
{
    public static function seal(string $plain): string
    {
        return self::ask('EncryptPassword', $plain);
    }

    public static function open(string $sealed): string
    {
        return self::ask('DecryptPassword', $sealed);
    }

    private static function ask(string $command, string $text): string
    {
        $answer = localAPI($command, ['password2' => $text]);
        if (($answer['result'] ?? '') !== 'success' || (string) ($answer['password'] ?? '') === '') {
            throw new \RuntimeException($command . ' gave nothing');
        }
        return (string) $answer['password'];
    }
}
