<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * WHMCS's activity log (https://developers.whmcs.com/advanced/logging/). Nothing here may break what called it.
 */
final class Log
{
    /** @var array<string, true> */
    private static array $said = [];

    /**
     * Notes a line. Numbers in it must be masked, and no key or code may be in it.
     */
    public static function note(string $text, int $client = 0): void
    {
        try {
            if (function_exists('logActivity')) {
                $client > 0 ? logActivity('wabek: ' . $text, $client) : logActivity('wabek: ' . $text);
            }
        } catch (\Throwable $e) {
            // There is nowhere left to say it.
        }
    }

    /**
     * Notes a line once in this process: a cron run may meet the same trouble fifty thousand times.
     */
    public static function once(string $text): void
    {
        if (!isset(self::$said[$text])) {
            self::$said[$text] = true;
            self::note($text);
        }
    }

    /**
     * Notes an error by its kind and place alone: the message of a database's error quotes what was stored.
     */
    public static function failure(string $where, \Throwable $e): void
    {
        self::note($where . ': ' . get_class($e) . ' at ' . basename($e->getFile()) . ':' . $e->getLine());
    }
}
