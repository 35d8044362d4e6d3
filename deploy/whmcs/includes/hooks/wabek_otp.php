<?php

/**
 * wabek: login codes and notices over WhatsApp. Goes with modules/addons/wabek/lib; see docs/whmcs.md.
 *
 * Hooks run inside a page or the cron. So whatever goes wrong here ends in the activity log, and a wabek that is away
 * costs one short wait per process.
 */

declare(strict_types=1);

use Wabek\Whmcs\Clients;
use Wabek\Whmcs\Config;
use Wabek\Whmcs\Events;
use Wabek\Whmcs\Log;
use Wabek\Whmcs\Login;

// phpcs:disable PSR1.Files.SideEffects -- a hook file is nothing but side effects
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

(static function (): void {
    $library = dirname(__DIR__, 2) . '/modules/addons/wabek/lib/wabek.php';
    if (!is_file($library)) {
        add_hook('DailyCronJob', 1, static function (): void {
            logActivity('wabek: modules/addons/wabek/lib is missing, so nothing is sent');
        });
        return;
    }
    require_once $library;

    $hook = static function (string $point, callable $do): void {
        add_hook($point, 1, static function ($vars = []) use ($point, $do): void {
            try {
                $do(is_array($vars) ? $vars : [], Config::load());
            } catch (\Throwable $e) {
                Log::failure($point, $e);
            }
        });
    };

    // https://developers.whmcs.com/hooks-reference/authentication/ has UserLogin alone; some releases of WHMCS 8 run
    // ClientLogin still, and both of them also where an admin logs in as a client, which is none of the client's doing.
    $login = static function (int $client, Config $config): void {
        if ($client > 0 && empty($_SESSION['adminid'])) {
            Login::send($client, $config);
            (new Events($config))->tell(Events::login($client));
        }
    };
    $hook('UserLogin', static function (array $vars, Config $config) use ($login): void {
        $user = $vars['user'] ?? null;
        if ((is_object($user) && isset($user->id)) && ($config->loginOtp || $config->announces('UserLogin'))) {
            $login(Clients::ownedBy((int) $user->id, (string) ($user->email ?? '')), $config);
        }
    });
    $hook('ClientLogin', static function (array $vars, Config $config) use ($login): void {
        if (empty($vars['contactid'])) { // a sub-account's login is not the client's
            $login((int) ($vars['userid'] ?? 0), $config);
        }
    });

    // https://developers.whmcs.com/hooks-reference/invoices-and-quotes/, …/ticket/ and …/module/
    $told = [
        'InvoiceCreated' => 'InvoiceCreated',
        'InvoicePaid' => 'InvoicePaid',
        'InvoicePaymentReminder' => 'InvoicePaymentReminder',
        'InvoiceRefunded' => 'InvoiceRefunded',
        'InvoiceCancelled' => 'InvoiceCancelled',
        'TicketOpen' => 'TicketOpen',
        'TicketOpenAdmin' => 'TicketOpen',
        'TicketAdminReply' => 'TicketAdminReply',
        'AfterModuleCreate' => 'AfterModuleCreate',
        'AfterModuleSuspend' => 'AfterModuleSuspend',
    ];
    foreach ($told as $point => $action) {
        $hook($point, static function (array $vars, Config $config) use ($action): void {
            if ($config->announces($action)) {
                (new Events($config))->tell(Events::facts($action, $vars));
            }
        });
    }
    $hook('EmailPreSend', static function (array $vars, Config $config): void {
        if (in_array((string) ($vars['messagename'] ?? ''), $config->domainMails, true)) {
            (new Events($config))->tell(Events::domain($vars));
        }
    });

    foreach (['DailyCronJob', 'AfterCronJob'] as $point) {
        $hook($point, static function (array $vars, Config $config): void {
            (new Events($config))->flush();
        });
    }
})();
