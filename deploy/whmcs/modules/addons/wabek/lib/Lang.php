<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * What users of the two-factor module read, in the languages that wabek's notices are shipped in.
 */
final class Lang
{
    /** @var array<string, array<string, string>> */
    private static array $read = [];

    /**
     * A text with %s filled in. It is no HTML yet.
     */
    public static function text(string $name, string ...$with): string
    {
        $all = self::in(self::current()) + self::in('english');
        return vsprintf($all[$name] ?? $name, $with);
    }

    /** WHMCS keeps the language of the page in the session. */
    private static function current(): string
    {
        return strtolower((string) ($_SESSION['Language'] ?? $_SESSION['adminlang'] ?? 'english'));
    }

    /**
     * @return array<string, string>
     */
    private static function in(string $language): array
    {
        if (!isset(self::$read[$language])) {
            $file = __DIR__ . '/lang/' . preg_replace('/[^a-z_-]/', '', $language) . '.php';
            self::$read[$language] = is_file($file) ? (array) include $file : [];
        }
        return self::$read[$language];
    }
}
