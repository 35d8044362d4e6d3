<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * Tells wabek what happened: from a hook's variables to POST /api/v1/whmcs-webhook.
 *
 * An event is first its *facts*: ids, and what only the hook knows. Before it is sent it is completed with what WHMCS
 * knows of the client. What wabek doesn't take now lies in the outbox, as facts alone, until a later cron run.
 */
final class Events
{
    /** So much of the outbox at once: a cron run has other things to do. */
    private const FLUSH_ROWS = 2000;
    private const FLUSH_SECONDS = 30;
    /** As long as wabek itself waits for a WHMCS. A notice of last week's invoice helps nobody. */
    private const KEEP_SECONDS = 7 * 86400;
    private const MOST_TRIES = 5;

    private const SENT = 'sent';
    private const REFUSED = 'refused';
    private const LATER = 'later';

    /** @var array<string, true> logins of this process: WHMCS may run both hooks for one */
    private static array $logins = [];

    private Api $api;

    public function __construct(private Config $config)
    {
        $this->api = new Api($config);
    }

    /**
     * The facts of an event, or an empty array where nobody is to be told.
     *
     * @param array<string, mixed> $vars
     * @return array<string, mixed>
     */
    public static function facts(string $action, array $vars): array
    {
        $facts = ['action' => $action, 'time' => time()];
        switch ($action) {
            case 'TicketOpen':
            case 'TicketAdminReply':
                $facts['ticketid'] = (int) ($vars['ticketid'] ?? 0);
                $facts['replyid'] = (int) ($vars['replyid'] ?? 0);
                $facts['userid'] = (int) ($vars['userid'] ?? 0);
                $facts['data'] = ['subject' => (string) ($vars['subject'] ?? '')];
                break;
            case 'AfterModuleCreate':
            case 'AfterModuleSuspend':
                $params = is_array($vars['params'] ?? null) ? $vars['params'] : [];
                $facts['serviceid'] = (int) ($params['serviceid'] ?? $params['accountid'] ?? 0);
                $facts['userid'] = (int) ($params['userid'] ?? 0);
                $facts['data'] = ['domain' => (string) ($params['domain'] ?? '')];
                break;
            default: // invoices
                $facts['invoiceid'] = (int) ($vars['invoiceid'] ?? 0);
                if (isset($vars['type'])) {
                    $facts['type'] = (string) $vars['type'];
                }
        }
        return $facts;
    }

    /**
     * The facts of a login, or an empty array where it was told already.
     *
     * @return array<string, mixed>
     */
    public static function login(int $client): array
    {
        if ($client <= 0 || isset(self::$logins['client ' . $client])) {
            return [];
        }
        self::$logins['client ' . $client] = true;
        $ip = (string) ($_SERVER['REMOTE_ADDR'] ?? '');
        return ['action' => 'UserLogin', 'userid' => $client, 'time' => time(), 'data' => ['ip' => $ip]];
    }

    /**
     * The facts of a domain renewal notice. WHMCS has no hook for it, but EmailPreSend runs for its e-mail.
     *
     * @param array<string, mixed> $vars
     * @return array<string, mixed>
     */
    public static function domain(array $vars): array
    {
        $fields = is_array($vars['mergefields'] ?? null) ? $vars['mergefields'] : [];
        return [
            'action' => 'DomainRenewalNotice',
            'time' => time(),
            'domainid' => (int) ($vars['relid'] ?? 0),
            'userid' => (int) ($fields['client_id'] ?? 0),
            'data' => [
                'domain' => (string) ($fields['domain_name'] ?? ''),
                'days' => (string) ($fields['domain_days_until_expiry'] ?? ''),
            ],
        ];
    }

    /**
     * Tells wabek, or notes the facts for later.
     *
     * @param array<string, mixed> $facts
     */
    public function tell(array $facts): void
    {
        if ($facts === [] || !$this->config->announces((string) $facts['action'])) {
            return;
        }
        $result = self::LATER;
        // Once wabek was away nothing is looked up any more either: the rest of a long run goes at its usual pace.
        if (!Api::isAway()) {
            try {
                $result = $this->send($facts);
            } catch (\Throwable $e) {
                Log::failure((string) $facts['action'], $e); // WHMCS stumbled; the facts are kept all the same
            }
        }
        if ($result === self::LATER) {
            Store::table(Store::OUTBOX)->insert([
                'action' => $facts['action'], 'facts' => json_encode($facts, JSON_INVALID_UTF8_SUBSTITUTE),
                'tries' => 0, 'created' => time(),
            ]);
            Log::once('events wait in the outbox for the next cron run');
        }
    }

    /** Sends what waits, within bounds, and stops at the first thing that wabek can't take now. */
    public function flush(): void
    {
        if (!$this->config->usable() || Api::isAway() || !Store::has(Store::OUTBOX)) {
            return;
        }
        $old = Store::table(Store::OUTBOX)->where('created', '<', time() - self::KEEP_SECONDS)->delete();
        if ($old > 0) {
            Log::note($old . ' events were given up: wabek has taken none for a week');
        }
        $end = microtime(true) + self::FLUSH_SECONDS;
        $rows = Store::table(Store::OUTBOX)->orderBy('id')->limit(self::FLUSH_ROWS)->get();
        foreach ($rows as $row) {
            if (microtime(true) > $end) {
                return;
            }
            $this->again($row);
            if (Api::isAway()) {
                return;
            }
        }
    }

    private function again(object $row): void
    {
        $facts = json_decode((string) $row->facts, true);
        $result = self::REFUSED;
        try {
            if (is_array($facts) && isset($facts['action'])) {
                $result = $this->send($facts);
            }
        } catch (\Throwable $e) {
            // One event that WHMCS itself stumbles over must not hold up those behind it for ever.
            Log::failure('event ' . $row->action, $e);
            $result = (int) $row->tries + 1 < self::MOST_TRIES ? self::LATER : self::REFUSED;
            Store::table(Store::OUTBOX)->where('id', $row->id)->update(['tries' => (int) $row->tries + 1]);
        }
        if ($result !== self::LATER) {
            Store::table(Store::OUTBOX)->where('id', $row->id)->delete();
        }
    }

    /**
     * @param array<string, mixed> $facts
     */
    private function send(array $facts): string
    {
        $body = $this->complete($facts);
        if ($body === []) {
            return self::SENT; // nobody is to be told
        }
        $answer = $this->api->call('POST', '/api/v1/whmcs-webhook', $body, true);
        if ($answer->ok()) {
            return self::SENT;
        }
        if (in_array($answer->status, [400, 413, 422], true)) {
            Log::note($facts['action'] . ' was refused by wabek: ' . $answer->says(), (int) ($body['userid'] ?? 0));
            return self::REFUSED;
        }
        // Also a wrong key or address: it may be mended, and until then each further try is in vain.
        Api::giveUp();
        Log::once('wabek takes no events: ' . $answer->says());
        return self::LATER;
    }

    /**
     * The body of the request, or an empty array where nobody is to be told.
     *
     * @param array<string, mixed> $facts
     * @return array<string, mixed>
     */
    private function complete(array $facts): array
    {
        $data = array_filter((array) ($facts['data'] ?? []), 'strlen');
        if (!empty($facts['invoiceid'])) {
            [$facts, $data] = $this->invoice($facts, $data);
        } elseif (!empty($facts['ticketid'])) {
            $ticket = Clients::ask('GetTicket', ['ticketid' => $facts['ticketid']]);
            $facts['userid'] = (int) ($facts['userid'] ?? 0) ?: (int) ($ticket['userid'] ?? 0);
            $data += ['subject' => self::plain($ticket['subject'] ?? '')];
            $data['ticket'] = (string) ($ticket['tid'] ?? '');
        } elseif (!empty($facts['serviceid'])) {
            [$facts, $data] = $this->service($facts, $data);
        } elseif (!empty($facts['domainid'])) {
            [$facts, $data] = $this->domainOf($facts, $data);
        }
        $client = Clients::details((int) ($facts['userid'] ?? 0), $this->config);
        // A ticket may be a stranger's, and an invoice's client gone: there is nobody to tell.
        if ($client === [] || !Clients::consents($client, $this->config)) {
            return [];
        }
        $currency = (string) ($client['currency_code'] ?? '');
        $told = [
            'phonenumber' => Phone::of($client),
            'country' => (string) ($client['country'] ?? $client['countrycode'] ?? ''),
            'language' => $this->config->language ?: (string) ($client['language'] ?? ''),
            'firstname' => self::plain($client['firstname'] ?? ''),
            'fullname' => self::plain($client['fullname'] ?? ''),
            'companyname' => self::plain($client['companyname'] ?? ''),
            'currency' => $currency,
            'currency_code' => $currency,
        ];
        $facts['client'] = array_filter($told, 'strlen');
        $facts['data'] = array_filter(array_map([self::class, 'plain'], $data), 'strlen');
        if ($facts['data'] === []) {
            unset($facts['data']); // PHP would write an empty object as []
        }
        return $facts;
    }

    /**
     * @param array<string, mixed> $facts
     * @param array<string, string> $data
     * @return array{array<string, mixed>, array<string, string>}
     */
    private function invoice(array $facts, array $data): array
    {
        $invoice = Clients::ask('GetInvoice', ['invoiceid' => $facts['invoiceid']]);
        // The hooks name no client, and the one who did it may be an admin.
        $facts['userid'] = (int) ($invoice['userid'] ?? 0);
        $facts['duedate'] = (string) ($invoice['duedate'] ?? '');
        $balance = (string) ($invoice['balance'] ?? '');
        $reminds = $facts['action'] === 'InvoicePaymentReminder' && (float) $balance > 0;
        $data['invoicenum'] = (string) ($invoice['invoicenum'] ?? '') ?: (string) $facts['invoiceid'];
        $data['total'] = $reminds ? $balance : (string) ($invoice['total'] ?? '');
        $data['duedate'] = $facts['duedate'];
        $url = $this->systemUrl();
        $data['url'] = $url === '' ? '' : $url . '/viewinvoice.php?id=' . $facts['invoiceid'];
        return [$facts, $data];
    }

    /**
     * @param array<string, mixed> $facts
     * @param array<string, string> $data
     * @return array{array<string, mixed>, array<string, string>}
     */
    private function service(array $facts, array $data): array
    {
        $answer = Clients::ask('GetClientsProducts', ['serviceid' => $facts['serviceid']]);
        $service = $answer['products']['product'][0] ?? [];
        $facts['userid'] = (int) ($facts['userid'] ?? 0) ?: (int) ($service['clientid'] ?? 0);
        $data['product'] = (string) ($service['name'] ?? '');
        $data += ['domain' => (string) ($service['domain'] ?? '')];
        return [$facts, $data];
    }

    /**
     * @param array<string, mixed> $facts
     * @param array<string, string> $data
     * @return array{array<string, mixed>, array<string, string>}
     */
    private function domainOf(array $facts, array $data): array
    {
        $answer = Clients::ask('GetClientsDomains', ['domainid' => $facts['domainid']]);
        $domain = $answer['domains']['domain'][0] ?? [];
        $facts['userid'] = (int) ($facts['userid'] ?? 0) ?: (int) ($domain['userid'] ?? 0);
        $facts['duedate'] = (string) ($domain['expirydate'] ?? '');
        $data += ['domain' => (string) ($domain['domainname'] ?? '')];
        $data['duedate'] = $facts['duedate'];
        $ends = strtotime($facts['duedate'] . ' UTC');
        if (!isset($data['days']) && $ends !== false) {
            $data['days'] = (string) max(0, (int) ceil(($ends - (int) $facts['time']) / 86400));
        }
        return [$facts, $data];
    }

    private function systemUrl(): string
    {
        static $url = null;
        $url ??= (string) (Clients::ask('GetConfigurationValue', ['setting' => 'SystemURL'])['value'] ?? '');
        return rtrim($url, '/');
    }

    /**
     * A text as people read it: WHMCS stores what was typed with entities. The webhook takes 500 bytes each.
     *
     * @param mixed $text
     */
    private static function plain($text): string
    {
        $text = html_entity_decode(is_scalar($text) ? (string) $text : '', ENT_QUOTES, 'UTF-8');
        $text = trim((string) preg_replace('/\s+/', ' ', strip_tags($text)));
        if (strlen($text) <= 400) {
            return $text;
        }
        // The cut may be within a character of several bytes: then the rest of it goes too.
        return preg_replace('/[\xC0-\xFF][\x80-\xBF]*$/D', '', substr($text, 0, 400)) . '…';
    }
}
