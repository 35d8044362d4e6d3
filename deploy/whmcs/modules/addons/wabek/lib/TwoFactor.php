<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * Two-factor authentication with codes that wabek sends and checks. The functions of the security module lead here.
 *
 * Each enrolment is a row: whose it is, its verified number (encrypted by WHMCS, and masked), and the id of the latest
 * OTP. The code itself is nowhere: only wabek can tell whether one is right, and its tries, lockouts and pauses hold
 * for the number, whatever sessions somebody opens.
 *
 * WHMCS keeps the row's name, `ref`, with the user. Nothing is found by the user's id alone, but where WHMCS doesn't
 * hand the ref back: an admin and a client may have the same id.
 */
final class TwoFactor
{
    private const LOGIN = 'two-factor';
    private const SETUP = 'two-factor-setup';
    /** The session has the ref of an enrolment that isn't finished. */
    private const PENDING = 'wabek_2fa_setup';
    /** A number that was typed and not confirmed is forgotten after an hour. */
    private const PENDING_SECONDS = 3600;

    private Api $api;

    public function __construct(private Config $config)
    {
        $this->api = new Api($config);
    }

    // The enrolment: a number, a code to it, and the code back.

    /**
     * @param array<string, mixed> $params
     */
    public function activate(array $params): string
    {
        $who = self::who($params);
        if ($who === '') {
            return self::alert(Lang::text('unknown_user'));
        }
        $row = $this->pending($who);
        // Some releases hand back what activateverify has thrown; else it is our own note.
        $said = (string) ($params['verifyError'] ?? '') ?: ($_SESSION[self::PENDING . '_said'] ?? '');
        unset($_SESSION[self::PENDING . '_said']);
        $html = $said === '' ? '' : self::alert((string) $said);
        if ($row !== null) {
            try {
                $about = $this->state($row) ?? Lang::text('expired');
            } catch (\Throwable $e) {
                Log::failure('two-factor setup', $e);
                $about = Lang::text('away');
            }
            return $html . self::about($about) . self::codeInput()
                . self::tick('wabek_resend', Lang::text('send_again'))
                . self::tick('wabek_restart', Lang::text('other_number'))
                . self::submit(Lang::text('confirm'));
        }
        $own = $this->accountNumber($who, $params);
        return $html . '<p>' . self::e(Lang::text('explain')) . '</p>'
            . ($own === '' ? '' : self::tick('wabek_account', Lang::text('use_account', Phone::mask($own))))
            . '<p><input type="tel" name="wabek_number" class="form-control" autocomplete="tel" maxlength="30"'
            . ' placeholder="' . self::e(Lang::text('number')) . '"></p>' . self::submit(Lang::text('send_code'));
    }

    /**
     * One step of the enrolment. WHMCS takes any return for success, so whatever isn't the last step is an exception,
     * and what it says is shown.
     *
     * @param array<string, mixed> $params
     * @return array{settings: array<string, string>}
     * @throws \WHMCS\Exception
     */
    public function activateVerify(array $params): array
    {
        $who = self::who($params);
        if ($who === '') {
            throw new \WHMCS\Exception(Lang::text('unknown_user'));
        }
        try {
            [$row, $said] = $this->step($who, $params);
        } catch (\Throwable $e) {
            Log::failure('two-factor setup', $e);
            [$row, $said] = [null, Lang::text('away')];
        }
        if ($row === null) {
            $_SESSION[self::PENDING . '_said'] = $said;
            throw new \WHMCS\Exception($said);
        }
        return ['settings' => ['ref' => (string) $row->ref]];
    }

    /**
     * @param array<string, mixed> $params
     * @return array{?object, string} the row that is enrolled now, or what to say
     */
    private function step(string $who, array $params): array
    {
        $post = self::post($params);
        $row = $this->pending($who);
        if ($row !== null && !empty($post['wabek_restart'])) {
            $this->drop($row);
            return [null, Lang::text('bad_number')];
        }
        // A number in the request is always a new one to be verified, also where a code is under way to another.
        if ($row === null || trim((string) ($post['wabek_number'] ?? '')) !== '') {
            return [null, $this->begin($who, $params, $row)];
        }
        if (!empty($post['wabek_resend'])) {
            return [null, $this->again($row, self::SETUP)];
        }
        $said = $this->check($row, (string) ($post['wabek_code'] ?? ''), self::SETUP);
        if ($said !== '') {
            return [null, $said];
        }
        // The enrolment before is dropped where WHMCS names it. By the id alone it might be somebody else's.
        $before = (string) ($params['user_settings']['ref'] ?? '');
        Store::table(Store::TWO_FACTOR)->where('ref', $before)->delete();
        self::change($row, ['enrolled' => 1, 'otp_id' => '', 'note' => '']);
        unset($_SESSION[self::PENDING]);
        return [$row, ''];
    }

    /**
     * Sends the first code to a number.
     *
     * @param array<string, mixed> $params
     */
    private function begin(string $who, array $params, ?object $before): string
    {
        $post = self::post($params);
        $number = Phone::typed((string) ($post['wabek_number'] ?? ''));
        if ($number === '' && !empty($post['wabek_account'])) {
            $number = $this->accountNumber($who, $params);
        }
        if ($number === '') {
            return Lang::text('bad_number');
        }
        $row = (object) [
            'ref' => bin2hex(random_bytes(16)), 'who' => $who, 'enrolled' => 0, 'number' => Secret::seal($number),
            'masked' => Phone::mask($number), 'otp_id' => '', 'note' => '', 'created' => time(),
        ];
        $old = time() - self::PENDING_SECONDS;
        Store::table(Store::TWO_FACTOR)->where('enrolled', 0)->where('created', '<', $old)->delete();
        Store::table(Store::TWO_FACTOR)->insert((array) $row);
        $said = $this->issue($row, self::SETUP);
        if ($row->otp_id === '') {
            $this->drop($row);
            return $said;
        }
        if ($before !== null) {
            $this->drop($before);
        }
        $_SESSION[self::PENDING] = $row->ref;
        return $said;
    }

    private function pending(string $who): ?object
    {
        $ref = (string) ($_SESSION[self::PENDING] ?? '');
        if ($ref === '') {
            return null;
        }
        $row = Store::table(Store::TWO_FACTOR)->where('ref', $ref)->where('who', $who)->where('enrolled', 0)->first();
        return $row !== null && (int) $row->created > time() - self::PENDING_SECONDS ? $row : null;
    }

    private function drop(object $row): void
    {
        Store::table(Store::TWO_FACTOR)->where('ref', $row->ref)->delete();
        unset($_SESSION[self::PENDING]);
    }

    /**
     * @param array<string, mixed> $params
     */
    public function deactivate(array $params): void
    {
        $row = $this->enrolled($params);
        if ($row !== null) {
            $this->drop($row);
        }
    }

    // The login.

    /**
     * What is shown after a right password. It has inputs alone: a form of its own was seen to break the login of
     * WHMCS 9. Opening it once more shows the same code's state; another code is sent only when asked for.
     *
     * @param array<string, mixed> $params
     */
    public function challenge(array $params): string
    {
        try {
            $row = $this->enrolled($params);
            if ($row === null) {
                return self::alert(Lang::text('not_set_up'));
            }
            $note = $this->note($row);
            $about = $this->state($row) ?? $this->issue($row, self::LOGIN);
        } catch (\Throwable $e) {
            Log::failure('two-factor login', $e);
            [$note, $about] = ['', Lang::text('away')];
        }
        return ($note === '' || $note === $about ? '' : self::alert($note))
            . self::about($about) . self::codeInput()
            . '<p><button type="submit" class="btn btn-primary">' . self::e(Lang::text('sign_in')) . '</button> '
            . '<button type="submit" name="wabek_resend" value="1" class="btn btn-link">'
            . self::e(Lang::text('send_again')) . '</button></p>';
    }

    /**
     * Whether the code is right. Anything but wabek's own yes is no.
     *
     * @param array<string, mixed> $params
     */
    public function verify(array $params): bool
    {
        try {
            $row = $this->enrolled($params);
            if ($row === null) {
                return false;
            }
            $post = self::post($params);
            $said = empty($post['wabek_resend'])
                ? $this->check($row, (string) ($post['wabek_code'] ?? ''), self::LOGIN)
                : $this->again($row, self::LOGIN);
            if ($said === '') {
                Login::guarded();
                return true;
            }
            $this->say($row, $said);
        } catch (\Throwable $e) {
            Log::failure('two-factor login', $e);
        }
        return false;
    }

    // Both.

    /** What is to be said of the latest code; null where there is none, or only that of an earlier login. */
    private function state(object $row): ?string
    {
        if ((string) $row->otp_id === '') {
            return null;
        }
        $is = $this->api->call('GET', '/api/v1/otp/' . rawurlencode((string) $row->otp_id));
        if ($is->status === 404) {
            return null;
        }
        if (!$is->ok()) {
            return Lang::text('away');
        }
        if ($is->text('state') === 'locked') {
            return Lang::text('locked'); // five more tries are never to be had by opening the page again
        }
        if ($is->text('state') !== 'open') {
            return null;
        }
        $masked = (string) $row->masked;
        switch ($is->text('status')) {
            case 'sent':
            case 'delivered':
            case 'read':
                return Lang::text('sent', $masked);
            case 'failed':
            case 'expired':
            case 'cancelled':
                $name = $is->text('reason') === 'not_on_whatsapp' ? 'not_on_whatsapp' : 'not_delivered';
                return Lang::text($name, $masked);
        }
        return Lang::text('queued', $masked);
    }

    /** Asks wabek for a new code. Says what came of it. */
    private function issue(object $row, string $purpose): string
    {
        $answer = $this->api->call('POST', '/api/v1/otp', [
            'phone' => Secret::open((string) $row->number),
            'purpose' => $purpose,
            'template' => $purpose === self::SETUP ? 'verification' : 'login',
        ]);
        $id = $answer->text('otpId');
        if (!$answer->ok() || $id === '') {
            return $this->refusal($answer);
        }
        self::change($row, ['otp_id' => $id, 'masked' => $answer->text('to') ?: (string) $row->masked]);
        return Lang::text('queued', (string) $row->masked);
    }

    /** Sends the open code once more, or a new one where it isn't open any more. Says what came of it. */
    private function again(object $row, string $purpose): string
    {
        if ((string) $row->otp_id === '') {
            return $this->issue($row, $purpose);
        }
        $answer = $this->api->call('POST', '/api/v1/otp/' . rawurlencode((string) $row->otp_id) . '/resend');
        if (in_array($answer->code(), ['otp_not_open', 'otp_not_found'], true)) {
            return $this->issue($row, $purpose);
        }
        return $answer->ok() ? Lang::text('again', (string) $row->masked) : $this->refusal($answer);
    }

    /** Checks a code. Empty where it is right, else what to say. */
    private function check(object $row, string $typed, string $purpose): string
    {
        $code = (string) preg_replace('/[^0-9]/', '', $typed);
        if ($code === '') {
            return Lang::text('empty');
        }
        if ((string) $row->otp_id === '') {
            return Lang::text('none');
        }
        // Number and purpose go along: the code proves this number and no other, and for this alone.
        $answer = $this->api->call('POST', '/api/v1/otp-verify', [
            'otp_id' => (string) $row->otp_id,
            'otp' => $code,
            'phone' => Secret::open((string) $row->number),
            'purpose' => $purpose,
        ]);
        if (!$answer->ok()) {
            return $this->refusal($answer, 'wait_try');
        }
        if (($answer->body['valid'] ?? null) === true) {
            return '';
        }
        switch ($answer->text('reason')) {
            case 'Invalid OTP':
                $left = $answer->text('attemptsLeft');
                return $left === '0' ? Lang::text('locked') : Lang::text('wrong', $left);
            case 'Too many attempts':
                return Lang::text('locked');
            case 'OTP already used':
                return Lang::text('used');
        }
        return Lang::text('expired');
    }

    private function refusal(Answer $answer, string $wait = 'wait'): string
    {
        if (!$answer->away() && $answer->status !== 429) {
            Log::note('two-factor: wabek answered ' . $answer->says());
        }
        if ($answer->status === 429) {
            return $answer->text('limit') === 'wrong_tries'
                ? Lang::text('barred')
                : Lang::text($wait, (string) max(1, $answer->retryAfter));
        }
        $number = $answer->code() === 'country_not_allowed' || $answer->text('field') === 'phone';
        return Lang::text($number ? 'refused' : 'away');
    }

    /** The number of the client that a user owns. */
    private function accountNumber(string $who, array $params): string
    {
        if (strpos($who, 'client:') !== 0) {
            return '';
        }
        $email = (string) ($params['user_info']['email'] ?? '');
        $client = Clients::details(Clients::ownedBy((int) substr($who, 7), $email), $this->config);
        $number = Phone::of($client);
        return strpos($number, '+') === 0 ? $number : '';
    }

    /**
     * The row of who is logging in; null where there is none.
     *
     * @param array<string, mixed> $params
     */
    private function enrolled(array $params): ?object
    {
        $ref = (string) ($params['user_settings']['ref'] ?? '');
        $rows = Store::table(Store::TWO_FACTOR)->where('enrolled', 1);
        if ($ref !== '') {
            return $rows->where('ref', $ref)->first();
        }
        $who = self::who($params);
        return $who === '' ? null : $rows->where('who', $who)->orderBy('created', 'desc')->first();
    }

    /**
     * Whom this is about: admins and users are numbered apart, and WHMCS doesn't say which of them it is.
     *
     * @param array<string, mixed> $params
     */
    private static function who(array $params): string
    {
        $id = (int) ($params['user_info']['id'] ?? 0);
        return $id > 0 ? (defined('ADMINAREA') ? 'admin:' : 'client:') . $id : '';
    }

    /**
     * @param array<string, mixed> $params
     * @return array<string, mixed>
     */
    private static function post(array $params): array
    {
        $post = is_array($params['post_vars'] ?? null) ? $params['post_vars'] : [];
        return array_filter($post, 'is_scalar');
    }

    /**
     * @param array<string, mixed> $fields
     */
    private static function change(object $row, array $fields): void
    {
        foreach ($fields as $name => $value) {
            $row->$name = $value;
        }
        Store::table(Store::TWO_FACTOR)->where('ref', $row->ref)->update($fields);
    }

    /** Notes what the next challenge is to say: WHMCS shows no more of a verify than that it failed. */
    private function say(object $row, string $said): void
    {
        self::change($row, ['note' => $said]);
    }

    private function note(object $row): string
    {
        $note = (string) $row->note;
        if ($note !== '') {
            self::change($row, ['note' => '']);
        }
        return $note;
    }

    private static function about(string $text): string
    {
        return '<p class="wabek-state">' . self::e($text) . '</p>';
    }

    private static function codeInput(): string
    {
        return '<p><input type="text" name="wabek_code" class="form-control" inputmode="numeric" maxlength="12"'
            . ' autocomplete="one-time-code" autofocus placeholder="' . self::e(Lang::text('code')) . '"></p>';
    }

    private static function tick(string $name, string $label): string
    {
        return '<p><label><input type="checkbox" name="' . $name . '" value="1"> ' . self::e($label) . '</label></p>';
    }

    private static function submit(string $label): string
    {
        return '<p><input type="submit" class="btn btn-primary" value="' . self::e($label) . '"></p>';
    }

    private static function alert(string $text): string
    {
        return '<div class="alert alert-warning">' . self::e($text) . '</div>';
    }

    private static function e(string $text): string
    {
        return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
    }
}
