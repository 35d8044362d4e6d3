<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * Telephone numbers as WHMCS has them: +CC.NNN where its Phone Numbers setting is on (the default since 7.4), and
 * whatever was typed in older rows.
 */
final class Phone
{
    /**
     * The number of a client (GetClientsDetails), as wabek takes it: +CC and the digits behind it; digits alone where
     * no country code is known, which wabek reads as a number of the app's country. Empty where there is none.
     *
     * A trunk zero stays (+44.01234567890): wabek drops it by the rules of the country. In Italy or Côte d'Ivoire it is
     * part of the number.
     *
     * @param array<string, mixed> $client
     */
    public static function of(array $client): string
    {
        $code = self::digits((string) ($client['phonecc'] ?? ''));
        foreach (['phonenumberformatted', 'telephoneNumber', 'phonenumber'] as $field) {
            $text = trim((string) ($client[$field] ?? ''));
            $digits = self::digits($text);
            if ($digits === '') {
                continue;
            }
            if ($text[0] === '+') {
                return '+' . $digits;
            }
            if (strpos($digits, '00') === 0) {
                return '+' . substr($digits, 2);
            }
            return $code === '' ? $digits : '+' . $code . $digits;
        }
        return '';
    }

    /** A number that somebody typed: international form or nothing. */
    public static function typed(string $text): string
    {
        $text = trim($text);
        $digits = self::digits($text);
        if (strpos($text, '+') !== 0 && strpos($digits, '00') === 0) {
            return '+' . substr($digits, 2);
        }
        return strpos($text, '+') === 0 && strlen($digits) >= 7 && strlen($digits) <= 15 ? '+' . $digits : '';
    }

    /** A number that may stand in a log: its last four digits at most, and never the half of it. */
    public static function mask(string $number): string
    {
        $digits = self::digits($number);
        $first = strpos(trim($number), '+') === 0 ? '+' . substr($digits, 0, 2) : '';
        return strlen($digits) < 10 ? '•••••' : $first . '•••••' . substr($digits, -4);
    }

    private static function digits(string $text): string
    {
        return (string) preg_replace('/[^0-9]/', '', $text);
    }
}
