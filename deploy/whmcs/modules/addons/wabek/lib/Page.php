<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

use WHMCS\Database\Capsule;

/**
 * The addon's page: what was sent to whom, and the settings.
 */
final class Page
{
    private const TOKEN = 'wabek_token';
    private const ROWS = 50;
    /** A file of more is better had from wabek itself; each 200 rows are a request. */
    private const CSV_ROWS = 10000;
    private const STATES = [
        'accepted', 'queued', 'sending', 'sent', 'delivered', 'read', 'failed', 'expired', 'skipped',
    ];
    private const SETTLED = ['sent', 'delivered', 'read', 'failed', 'expired'];
    private const LANGUAGES = ['', 'english', 'turkish', 'arabic', 'german'];

    private string $message = '';

    public function __construct(private string $link)
    {
    }

    public function show(): void
    {
        try {
            $this->act();
            if (($_GET['wabek'] ?? '') === 'csv') {
                $this->csv();
                return;
            }
            $body = ($_GET['wabek'] ?? '') === 'settings' ? $this->settings() : $this->log();
        } catch (\Throwable $e) {
            Log::failure('addon page', $e);
            $body = '<p>This page could not be made. The activity log says where it failed.</p>';
        }
        $said = $this->message === '' ? '' : '<div class="alert alert-info">' . self::e($this->message) . '</div>';
        echo '<ul class="nav nav-tabs"><li><a href="' . self::e($this->link) . '">Log</a></li><li><a href="'
            . self::e($this->link . '&wabek=settings') . '">Settings</a></li></ul>' . $said . $body;
    }

    // What is done: by POST alone, and with the token of this session.

    private function act(): void
    {
        $do = (string) ($_POST['wabek_do'] ?? '');
        if ($do === '') {
            return;
        }
        $posted = ($_SERVER['REQUEST_METHOD'] ?? '') === 'POST';
        if (!$posted || !hash_equals(self::token(), (string) ($_POST[self::TOKEN] ?? ''))) {
            $this->message = 'Nothing was done: the page was too old. Try again.';
            return;
        }
        switch ($do) {
            case 'save':
                $this->save();
                break;
            case 'test':
                $this->message = implode(' ', $this->test());
                break;
            case 'resend':
                $this->resend((string) ($_POST['wabek_id'] ?? ''));
                break;
            case 'flush':
                (new Events(Config::load()))->flush();
                $this->message = 'The outbox was gone through.';
                break;
        }
    }

    private static function token(): string
    {
        return $_SESSION[self::TOKEN] ??= bin2hex(random_bytes(16));
    }

    private function save(): void
    {
        $url = rtrim(trim((string) ($_POST['url'] ?? '')), '/');
        if (preg_match('~^https?://[^\s/?#@]+$~i', $url) !== 1) {
            $this->message = 'Nothing was saved: the address must be like https://otp.example.com, without a path.';
            return;
        }
        $key = trim((string) ($_POST['key'] ?? ''));
        $before = Config::stored()['url'] ?? '';
        if ($key === '' && $before !== '' && $before !== $url) {
            // Else whoever may open this page could have the key sent to an address of theirs.
            $this->message = 'Nothing was saved: enter the key too where the address changes.';
            return;
        }
        $values = [
            'url' => $url,
            'login_otp' => empty($_POST['login_otp']) ? '' : '1',
            'events' => implode(',', array_intersect(array_keys(Config::ACTIONS), (array) ($_POST['events'] ?? []))),
            'language' => (string) ($_POST['language'] ?? ''),
            'consent_field' => (string) (int) ($_POST['consent_field'] ?? 0),
            'number_field' => (string) (int) ($_POST['number_field'] ?? 0),
            'domain_mails' => (string) ($_POST['domain_mails'] ?? ''),
        ];
        if ($key !== '') { // empty: as it is
            $values['key'] = Secret::seal($key);
        }
        foreach ($values as $name => $value) {
            Store::table(Store::SETTINGS)->updateOrInsert(['name' => $name], ['value' => $value]);
        }
        Config::forget();
        $this->message = 'Saved.';
        Log::note('the settings were changed');
    }

    /**
     * Asks wabek whether it is there and what the key may do. Nothing is sent.
     *
     * @return string[]
     */
    private function test(): array
    {
        $api = new Api(Config::load());
        $ready = $api->call('GET', '/readyz');
        if ($ready->status === 0) {
            return ['wabek gives no answer: ' . $ready->error . '.'];
        }
        $said = [
            $ready->ok() ? 'wabek is ready.' : 'wabek answers, but can send nothing now: is its WhatsApp connected?',
        ];
        // There is no such OTP: 404 is what a key gets that may look for one.
        $otp = $api->call('GET', '/api/v1/otp/01900000-0000-7000-8000-000000000000');
        $notices = $api->call('GET', '/api/v1/notices?limit=1');
        if ($otp->status === 401) {
            $said[] = 'The key is wrong.';
            return $said;
        }
        $codes = $otp->code() === 'otp_not_found';
        $said[] = $codes ? 'The key may send codes.' : 'The key may NOT send codes: ' . $otp->says() . '.';
        $also = $notices->ok();
        $said[] = $also ? 'The key may send notices.' : 'The key may NOT send notices: ' . $notices->says() . '.';
        return $said;
    }

    private function resend(string $id): void
    {
        if (preg_match('/^[0-9a-f-]{36}$/', $id) !== 1) {
            return;
        }
        $answer = (new Api(Config::load()))->call('POST', '/api/v1/notices/' . $id . '/resend');
        $this->message = 'It is sent once more.';
        if (!$answer->ok()) {
            $this->message = 'It could not be sent once more: ' . $answer->says() . '.';
        }
    }

    // The log.

    /**
     * @return array<string, string>
     */
    private static function filters(): array
    {
        $given = [
            'userid' => (string) ((int) ($_GET['userid'] ?? 0) ?: ''),
            'action' => (string) ($_GET['event'] ?? ''), // "action" is a name of WHMCS's own
            'state' => (string) ($_GET['state'] ?? ''),
        ];
        $given['action'] = isset(Config::ACTIONS[$given['action']]) ? $given['action'] : '';
        $given['state'] = in_array($given['state'], self::STATES, true) ? $given['state'] : '';
        return array_filter($given, 'strlen');
    }

    private function log(): string
    {
        $filters = self::filters();
        $before = (string) ($_GET['before'] ?? '');
        $ask = ['limit' => self::ROWS] + $filters + ($before === '' ? [] : ['before' => $before]);
        $answer = (new Api(Config::load()))->call('GET', '/api/v1/notices?' . http_build_query($ask));
        $html = $this->filterForm($filters) . $this->outbox();
        if (!$answer->ok()) {
            return $html . '<p>wabek gives no log: ' . self::e($answer->says()) . '.</p>';
        }
        $notices = array_filter((array) ($answer->body['notices'] ?? []), 'is_array');
        $names = self::names(array_column($notices, 'userid'));
        $heads = ['Time', 'Client', 'Event', 'About', 'To', 'State', 'Sent', 'Delivered', 'Read', ''];
        $html .= '<table class="table table-striped"><thead><tr><th>' . implode('</th><th>', $heads)
            . '</th></tr></thead><tbody>';
        foreach ($notices as $n) {
            $html .= $this->row($n, $names);
        }
        $html .= '</tbody></table>' . ($notices === [] ? '<p>Nothing was sent.</p>' : '');
        $next = $answer->text('next');
        $link = $this->link . self::query($filters);
        return $html . '<p>' . ($next === '' ? '' : '<a class="btn btn-default" href="'
            . self::e($link . '&before=' . rawurlencode($next)) . '">Older</a> ')
            . '<a class="btn btn-default" href="' . self::e($link . '&wabek=csv') . '">CSV</a></p>';
    }

    /**
     * @param array<string, mixed> $n
     * @param array<int, string> $names
     */
    private function row(array $n, array $names): string
    {
        $client = (int) ($n['userid'] ?? 0);
        $who = $client === 0 ? '' : '<a href="clientssummary.php?userid=' . $client . '">'
            . self::e($names[$client] ?? '#' . $client) . '</a>';
        $again = in_array(self::of($n, 'state'), self::SETTLED, true)
            ? $this->button('resend', 'Resend', ['wabek_id' => self::of($n, 'id')]) : '';
        $state = trim(self::of($n, 'state') . ' ' . str_replace('_', ' ', self::of($n, 'reason')));
        $cells = [self::of($n, 'createdAt'), null, self::of($n, 'action'), self::about($n), self::of($n, 'to'), $state,
            self::of($n, 'sentAt'), self::of($n, 'deliveredAt'), self::of($n, 'readAt')];
        $html = '';
        foreach ($cells as $cell) {
            $html .= '<td>' . ($cell === null ? $who : self::e($cell)) . '</td>';
        }
        return '<tr>' . $html . '<td>' . $again . '</td></tr>';
    }

    /**
     * @param array<string, mixed> $n
     */
    private static function about(array $n): string
    {
        foreach (['invoice', 'ticket', 'service', 'domain'] as $word) {
            if (!empty($n[$word . 'id'])) {
                return $word . ' ' . (int) $n[$word . 'id'];
            }
        }
        return '';
    }

    /**
     * @param array<int, mixed> $ids
     * @return array<int, string>
     */
    private static function names(array $ids): array
    {
        $names = [];
        $ids = array_values(array_unique(array_filter(array_map('intval', $ids))));
        if ($ids !== []) {
            foreach (Capsule::table('tblclients')->whereIn('id', $ids)->get() as $c) {
                $company = (string) $c->companyname === '' ? '' : ' (' . $c->companyname . ')';
                // WHMCS stores names with entities
                $name = html_entity_decode($c->firstname . ' ' . $c->lastname . $company, ENT_QUOTES, 'UTF-8');
                $names[(int) $c->id] = trim($name);
            }
        }
        return $names;
    }

    /**
     * @param array<string, string> $filters
     */
    private function filterForm(array $filters): string
    {
        $states = ['' => 'all'] + array_combine(self::STATES, self::STATES);
        // A form of method GET loses the query of its address: the module's name must be one of its fields.
        return '<form method="get" action="addonmodules.php" class="form-inline">'
            . '<input type="hidden" name="module" value="wabek"> Client <input type="number" name="userid"'
            . ' class="form-control" value="' . self::e($filters['userid'] ?? '') . '">'
            . ' Event ' . self::select('event', ['' => 'all'] + Config::ACTIONS, $filters['action'] ?? '')
            . ' State ' . self::select('state', $states, $filters['state'] ?? '')
            . ' <input type="submit" class="btn btn-default" value="Filter"></form>';
    }

    private function outbox(): string
    {
        $waiting = (int) Store::table(Store::OUTBOX)->count();
        return $waiting === 0 ? '' : '<div class="alert alert-warning">' . $waiting
            . ' events wait until wabek takes them. ' . $this->button('flush', 'Try now', []) . '</div>';
    }

    private function csv(): void
    {
        $fields = ['createdAt', 'userid', 'action', 'invoiceid', 'ticketid', 'serviceid', 'domainid', 'to', 'state',
            'reason', 'sentAt', 'deliveredAt', 'readAt', 'id'];
        $api = new Api(Config::load());
        $lines = [$fields];
        $before = [];
        do {
            $ask = http_build_query(['limit' => 200] + self::filters() + $before);
            $answer = $api->call('GET', '/api/v1/notices?' . $ask);
            if (!$answer->ok()) {
                $this->message = 'wabek gives no log: ' . $answer->says() . '.';
                break;
            }
            foreach (array_filter((array) ($answer->body['notices'] ?? []), 'is_array') as $n) {
                $lines[] = array_map(static fn (string $field): string => self::safe(self::of($n, $field)), $fields);
            }
            $before = ['before' => $answer->text('next')];
        } while ($before['before'] !== '' && count($lines) <= self::CSV_ROWS);
        if ($this->message !== '') { // half a file would look like a whole one
            echo '<p>' . self::e($this->message) . '</p>';
            return;
        }
        while (ob_get_level() > 0) { // WHMCS holds back the page around this
            ob_end_clean();
        }
        header('Content-Type: text/csv; charset=utf-8');
        header('Content-Disposition: attachment; filename="wabek-notices.csv"');
        header('X-Content-Type-Options: nosniff');
        header('Cache-Control: no-store');
        $out = fopen('php://output', 'wb');
        foreach ($lines as $line) {
            fputcsv($out, $line, ',', '"', '');
        }
        exit;
    }

    /** A cell that a spreadsheet takes for text: what begins like a formula would be run (OWASP, CSV Injection). */
    private static function safe(string $cell): string
    {
        return preg_match('/^[=+\-@\t\r]/', $cell) === 1 ? "'" . $cell : $cell;
    }

    // The settings.

    private function settings(): string
    {
        $stored = Config::stored();
        $c = Config::load();
        $source = $c->source === 'addon' ? '' : '<p>Nothing is saved here yet, so the settings of the '
            . self::e($c->source) . ' are in force.</p>';
        $fields = self::customFields();
        $consent = ['0' => 'none: everybody gets them'] + $fields;
        $number = ['0' => 'none: the phone number'] + $fields;
        $keyHint = ($stored['key'] ?? '') === '' ? 'none yet' : 'saved; leave empty to keep it';
        $events = '';
        foreach (Config::ACTIONS as $action => $label) {
            $events .= '<label><input type="checkbox" name="events[]" value="' . $action . '"'
                . (in_array($action, $c->events, true) ? ' checked' : '') . '> ' . self::e($label) . '</label><br>';
        }
        $languages = array_combine(self::LANGUAGES, ['each client\'s own', 'English', 'Turkish', 'Arabic', 'German']);
        $rows = [
            'Address of wabek' => '<input type="url" name="url" class="form-control" value="' . self::e($c->url)
                . '" placeholder="https://otp.example.com">',
            // The key goes in and never out again.
            'API key' => '<input type="password" name="key" class="form-control" autocomplete="new-password"'
                . ' value="" placeholder="' . $keyHint . '">',
            'Code at each login' => '<label><input type="checkbox" name="login_otp" value="1"'
                . ($c->loginOtp ? ' checked' : '') . '> send one and keep its id in the session. It guards nothing: '
                . 'for that use two-factor authentication.</label>',
            'Clients are told of' => $events,
            'E-mails that are domain renewal notices' => '<input type="text" name="domain_mails" class="form-control"'
                . ' value="' . self::e(implode(', ', $c->domainMails)) . '">',
            'Language of notices' => self::select('language', $languages, $c->language),
            'Custom field that says yes' => self::select('consent_field', $consent, (string) $c->consentField),
            'Custom field with the WhatsApp number' => self::select('number_field', $number, (string) $c->numberField),
        ];
        $html = '';
        foreach ($rows as $label => $input) {
            $html .= '<tr><td class="fieldlabel">' . self::e($label) . '</td><td class="fieldarea">' . $input
                . '</td></tr>';
        }
        $html = '<table class="form">' . $html . '</table>';
        return $source . '<form method="post" action="' . self::e($this->link . '&wabek=settings') . '">'
            . self::hidden('save') . $html
            . '<p><input type="submit" class="btn btn-primary" value="Save"></p></form>'
            . $this->button('test', 'Test what is saved', []);
    }

    /**
     * @return array<string, string>
     */
    private static function customFields(): array
    {
        $fields = [];
        foreach (Capsule::table('tblcustomfields')->where('type', 'client')->get() as $field) {
            $fields[(string) $field->id] = html_entity_decode((string) $field->fieldname, ENT_QUOTES, 'UTF-8');
        }
        return $fields;
    }

    /**
     * @param array<string, string> $values
     */
    private function button(string $do, string $label, array $values): string
    {
        $html = self::hidden($do);
        foreach ($values as $name => $value) {
            $html .= '<input type="hidden" name="' . $name . '" value="' . self::e($value) . '">';
        }
        $back = $this->link . ($do === 'test' ? '&wabek=settings' : self::query(self::filters()));
        return '<form method="post" action="' . self::e($back) . '" style="display:inline">' . $html
            . '<input type="submit" class="btn btn-default btn-sm" value="' . self::e($label) . '"></form>';
    }

    private static function hidden(string $do): string
    {
        return '<input type="hidden" name="wabek_do" value="' . $do . '"><input type="hidden" name="' . self::TOKEN
            . '" value="' . self::token() . '">';
    }

    /**
     * @param array<string, string> $filters
     */
    private static function query(array $filters): string
    {
        if (isset($filters['action'])) {
            $filters['event'] = $filters['action'];
            unset($filters['action']);
        }
        return $filters === [] ? '' : '&' . http_build_query($filters);
    }

    /**
     * @param array<int|string, string> $options
     */
    private static function select(string $name, array $options, string $chosen): string
    {
        $html = '';
        foreach ($options as $value => $label) {
            $html .= '<option value="' . self::e((string) $value) . '"'
                . ((string) $value === $chosen ? ' selected' : '') . '>' . self::e($label) . '</option>';
        }
        return '<select name="' . $name . '" class="form-control">' . $html . '</select>';
    }

    /**
     * @param array<string, mixed> $n
     */
    private static function of(array $n, string $field): string
    {
        return is_scalar($n[$field] ?? null) ? (string) $n[$field] : '';
    }

    private static function e(string $text): string
    {
        return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
    }
}
