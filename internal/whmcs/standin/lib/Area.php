<?php

declare(strict_types=1);

namespace WHMCS\Standin;

use WHMCS\Database\Capsule;

/**
 * Login and two-factor authentication, of users and of admins. The module's functions are called as open modules
 * expect it.
 */
class Area
{
    /** The session's name for who is logged in, and for who has given the right password only. */
    private string $in;
    private string $half;

    public function __construct(private bool $admin)
    {
        $this->in = $admin ? 'adminid' : 'standin_user';
        $this->half = $admin ? '2faadminid' : '2fauserid';
    }

    public function page(): void
    {
        $post = $_SERVER['REQUEST_METHOD'] === 'POST';
        switch ((string) ($_GET['do'] ?? '')) {
            case 'login':
                $this->login();
                return;
            case 'challenge':
                $post ? $this->verify() : $this->challenge();
                return;
            case 'enrol':
                $this->enrol($post);
                return;
            case 'disable':
                $this->disable();
                return;
        }
        header('Content-Type: application/json');
        echo json_encode(['in' => (int) ($_SESSION[$this->in] ?? 0), 'session' => $_SESSION]);
    }

    private function table(): string
    {
        return $this->admin ? 'tbladmins' : 'tblusers';
    }

    private function who(string $name): ?object
    {
        return Capsule::table($this->table())->where('id', (int) ($_SESSION[$name] ?? 0))->first();
    }

    private function login(): void
    {
        $who = Capsule::table($this->table())->where('email', (string) ($_POST['email'] ?? ''))->first();
        if ($who === null || $who->password !== (string) ($_POST['password'] ?? '')) {
            http_response_code(403);
            echo 'Login details incorrect.';
            return;
        }
        if ($who->second_factor !== '') {
            $_SESSION[$this->half] = (int) $who->id;
            header('Location: ?do=challenge');
            return;
        }
        $this->finish($who);
    }

    private function finish(object $who): void
    {
        unset($_SESSION[$this->half]);
        $_SESSION[$this->in] = (int) $who->id;
        if (!$this->admin) {
            $client = Capsule::table('tblusers_clients')->where('auth_user_id', $who->id)->first();
            $_SESSION['uid'] = (int) ($client->client_id ?? 0);
            run_hook('UserLogin', ['user' => new \WHMCS\User\User((int) $who->id, $who->email)]);
            $this->clientLogin((int) ($client->client_id ?? 0));
        }
        header('Location: ?');
    }

    /** Some releases run this hook too. It never had a client array by the documentation, but a snippet reads one. */
    private function clientLogin(int $id): void
    {
        $how = standin_setting('StandinClientLogin');
        if ($how === '' || $id === 0) {
            return;
        }
        $vars = ['userid' => $id];
        if ($how === 'client') {
            $row = Capsule::table('tblclients')->where('id', $id)->first();
            $vars['client'] = ['id' => $id, 'phonenumber' => $row->phonenumber, 'country' => $row->country];
        }
        run_hook('ClientLogin', $vars);
    }

    private function challenge(): void
    {
        $who = $this->who($this->half);
        if ($who === null) {
            header('Location: ?');
            return;
        }
        $this->load((string) $who->second_factor);
        $html = call_user_func($who->second_factor . '_challenge', $this->params($who, []));
        echo isset($_GET['incorrect']) ? '<p>The second factor you supplied was incorrect.</p>' : '';
        echo '<form method="post" action="?do=challenge">' . $html . '</form>'
            . '<form method="post" action="?do=challenge"><input name="backupcode"><button>Backup code</button></form>';
    }

    private function verify(): void
    {
        $who = $this->who($this->half);
        if ($who === null) {
            header('Location: ?');
            return;
        }
        if (isset($_POST['backupcode'])) {
            $right = $who->backup !== '' && hash_equals($who->backup, (string) $_POST['backupcode']);
        } else {
            $this->load((string) $who->second_factor);
            $right = call_user_func($who->second_factor . '_verify', $this->params($who, $_POST)) === true;
        }
        $right ? $this->finish($who) : header('Location: ?do=challenge&incorrect=1');
    }

    private function enrol(bool $post): void
    {
        $who = $this->who($this->in);
        if ($who === null) {
            http_response_code(403);
            return;
        }
        $module = (string) ($_GET['module'] ?? 'wabek');
        $this->load($module);
        $params = $this->params($who, $_POST);
        if ($post) {
            try {
                $answer = call_user_func($module . '_activateverify', $params);
                Capsule::table($this->table())->where('id', $who->id)->update([
                    'second_factor' => $module, 'second_factor_config' => json_encode($answer['settings'] ?? []),
                    'backup' => 'BACKUP-' . $who->id,
                ]);
                echo '<p>Two-Factor Authentication has been enabled. Your backup code: BACKUP-' . $who->id . '</p>';
                return;
            } catch (\WHMCS\Exception $e) {
                if (standin_setting('StandinVerifyError', 'on') === 'on') {
                    $params['verifyError'] = $e->getMessage();
                }
            }
        }
        echo '<form method="post">' . call_user_func($module . '_activate', $params) . '</form>';
    }

    private function disable(): void
    {
        $who = $this->who($this->in);
        if ($who === null || $who->second_factor === '') {
            http_response_code(403);
            return;
        }
        $this->load((string) $who->second_factor);
        if (function_exists($who->second_factor . '_deactivate')) {
            call_user_func($who->second_factor . '_deactivate', $this->params($who, []));
        }
        $none = ['second_factor' => '', 'second_factor_config' => ''];
        Capsule::table($this->table())->where('id', $who->id)->update($none);
        echo '<p>Two-Factor Authentication has been disabled.</p>';
    }

    private function load(string $module): void
    {
        require_once ROOTDIR . '/modules/security/' . basename($module) . '/' . basename($module) . '.php';
    }

    /**
     * @param array<string, mixed> $post
     * @return array<string, mixed>
     */
    private function params(object $who, array $post): array
    {
        $params = [
            'settings' => [],
            'user_info' => ['id' => (int) $who->id, 'email' => $who->email, 'firstname' => $who->first_name],
            'post_vars' => $post,
        ];
        if (standin_setting('StandinUserSettings', 'on') === 'on') {
            $params['user_settings'] = (array) json_decode($who->second_factor_config ?: '[]', true);
        }
        return $params;
    }
}
