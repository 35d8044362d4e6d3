<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * What WHMCS asks of the two modules when it lists them and turns them on and off.
 */
final class Modules
{
    public const VERSION = '1.0.0';

    /** Which of the two WHMCS has loaded in this request. */
    public static bool $addon = false;
    public static bool $security = false;

    /**
     * No fields: WHMCS would write the key back into its page. The addon's own page has the settings.
     *
     * @return array<string, mixed>
     */
    public static function addonConfig(): array
    {
        return [
            'name' => 'wabek',
            'description' => 'One-time passwords and notices over WhatsApp, by your own wabek. Settings and log are on '
                . 'its page under Addons.',
            'version' => self::VERSION,
            'author' => 'wabek',
            'language' => 'english',
            'fields' => [],
        ];
    }

    /**
     * @return array<string, mixed>
     */
    public static function securityConfig(): array
    {
        return [
            'FriendlyName' => ['Type' => 'System', 'Value' => 'WhatsApp (wabek)'],
            'ShortDescription' => ['Type' => 'System', 'Value' => 'A code by WhatsApp at each login.'],
            'Description' => ['Type' => 'System', 'Value' => 'At each login a code comes by WhatsApp, sent by your own '
                . 'wabek. Address and key are set on the page of the addon, or in includes/hooks/wabek_config.php.'],
        ];
    }

    /**
     * @return array<string, string>
     */
    public static function activateAddon(): array
    {
        try {
            Store::table(Store::SETTINGS);
            Store::table(Store::OUTBOX);
            Store::table(Store::TWO_FACTOR);
        } catch (\Throwable $e) {
            return ['status' => 'error', 'description' => 'The tables could not be made: ' . get_class($e)];
        }
        return ['status' => 'success', 'description' => 'Now set address and key on the page of the addon.'];
    }

    /**
     * Ends notices and login codes. Address and key stay, because the two-factor module lets nobody in without them.
     *
     * @return array<string, string>
     */
    public static function deactivateAddon(): array
    {
        try {
            foreach (['events', 'login_otp'] as $name) {
                Store::table(Store::SETTINGS)->updateOrInsert(['name' => $name], ['value' => '']);
            }
        } catch (\Throwable $e) {
            return ['status' => 'error', 'description' => 'The settings could not be changed: ' . get_class($e)];
        }
        return ['status' => 'success', 'description' => 'No notices and login codes are sent any more. Address and key '
            . 'are kept for the two-factor module.'];
    }
}
