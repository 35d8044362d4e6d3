<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * The settings: the addon's, where it has been set up; else those of includes/hooks/wabek_config.php; else WABEK_URL
 * and WABEK_API_KEY of the environment.
 */
final class Config
{
    /** Everything that can be announced, and what it is called on the addon's page. */
    public const ACTIONS = [
        'InvoiceCreated' => 'Invoice created',
        'InvoicePaid' => 'Invoice paid',
        'InvoicePaymentReminder' => 'Invoice reminder, and the three overdue notices',
        'InvoiceRefunded' => 'Invoice refunded',
        'InvoiceCancelled' => 'Invoice cancelled',
        'UserLogin' => 'Login alert',
        'TicketOpen' => 'Ticket opened',
        'TicketAdminReply' => 'Ticket answered',
        'AfterModuleCreate' => 'Service set up',
        'AfterModuleSuspend' => 'Service suspended',
        'DomainRenewalNotice' => 'Domain renewal notice',
    ];

    public string $url = '';
    public string $key = '';
    /** Whether a login sends a code; see Login. */
    public bool $loginOtp = false;
    /** @var string[] actions that are announced */
    public array $events = [];
    /** WHMCS's name of a language for all notices; empty for the client's own. */
    public string $language = '';
    /** Id of the client custom field that says yes to notices; 0 for none: everybody gets them. */
    public int $consentField = 0;
    /** Id of the client custom field with the WhatsApp number; 0 for none: the phone number is it. */
    public int $numberField = 0;
    /** @var string[] names of the e-mails that are domain renewal notices */
    public array $domainMails = ['Upcoming Domain Renewal Notice'];
    /** Where the settings are from: addon, file or environment. */
    public string $source = 'environment';

    private static ?self $loaded = null;

    public static function load(): self
    {
        return self::$loaded ??= self::read();
    }

    /** Reads the settings anew at the next load: they were changed. */
    public static function forget(): void
    {
        self::$loaded = null;
    }

    public function usable(): bool
    {
        return $this->url !== '' && $this->key !== '';
    }

    public function announces(string $action): bool
    {
        return $this->usable() && in_array($action, $this->events, true);
    }

    private static function read(): self
    {
        $stored = self::stored();
        if (($stored['url'] ?? '') !== '') {
            $stored['key'] = ($stored['key'] ?? '') === '' ? '' : Secret::open($stored['key']);
            return self::of($stored, 'addon');
        }
        $file = dirname(__DIR__, 4) . '/includes/hooks/wabek_config.php';
        if (is_file($file)) {
            $said = include $file;
            if (is_array($said)) {
                return self::of($said, 'file');
            }
        }
        $said = ['url' => (string) getenv('WABEK_URL'), 'key' => (string) getenv('WABEK_API_KEY')];
        return self::of($said, 'environment');
    }

    /**
     * The addon's settings as they are stored, the key encrypted.
     *
     * @return array<string, string>
     */
    public static function stored(): array
    {
        $all = [];
        if (Store::has(Store::SETTINGS)) {
            foreach (Store::table(Store::SETTINGS)->get() as $row) {
                $all[(string) $row->name] = (string) $row->value;
            }
        }
        return $all;
    }

    /**
     * @param array<string, mixed> $said
     */
    private static function of(array $said, string $source): self
    {
        $c = new self();
        $c->source = $source;
        $c->url = rtrim(trim((string) ($said['url'] ?? '')), '/');
        if (preg_match('~^https?://[^\s/]~i', $c->url) !== 1) {
            $c->url = '';
        }
        $c->key = trim((string) ($said['key'] ?? ''));
        $c->loginOtp = !empty($said['login_otp']);
        // A login alert for every login is much; whoever wants it says so.
        $usual = array_values(array_diff(array_keys(self::ACTIONS), ['UserLogin']));
        $c->events = array_key_exists('events', $said) ? self::names($said['events']) : $usual;
        $c->language = trim((string) ($said['language'] ?? ''));
        $c->consentField = (int) ($said['consent_field'] ?? 0);
        $c->numberField = (int) ($said['number_field'] ?? 0);
        if (array_key_exists('domain_mails', $said)) {
            $c->domainMails = self::names($said['domain_mails']);
        }
        return $c;
    }

    /**
     * @param mixed $said an array, or names parted by commas
     * @return string[]
     */
    private static function names($said): array
    {
        $all = is_array($said) ? $said : explode(',', (string) $said);
        return array_values(array_filter(array_map(static fn ($name): string => trim((string) $name), $all), 'strlen'));
    }
}
