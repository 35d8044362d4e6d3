<?php

/**
 * The functions that WHMCS looks for under the same name in the addon and in the two-factor module. A request may load
 * both, so they stand here once.
 */

declare(strict_types=1);

use Wabek\Whmcs\Config;
use Wabek\Whmcs\Modules;
use Wabek\Whmcs\TwoFactor;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * What WHMCS shows of the module: https://developers.whmcs.com/addon-modules/configuration/ for the addon.
 *
 * @return array<string, mixed>
 */
function wabek_config()
{
    return (Modules::$addon ? Modules::addonConfig() : []) + (Modules::$security ? Modules::securityConfig() : []);
}

/**
 * Activates the addon (without params), or gives the HTML of the two-factor module's enrolment.
 *
 * @param array<string, mixed>|null $params
 * @return array<string, string>|string
 */
function wabek_activate($params = null)
{
    if (is_array($params) && isset($params['user_info'])) {
        return (new TwoFactor(Config::load()))->activate($params);
    }
    return Modules::activateAddon();
}

/**
 * Deactivates the addon, or takes back a user's enrolment.
 *
 * @param array<string, mixed>|null $params
 * @return array<string, string>|bool
 */
function wabek_deactivate($params = null)
{
    if (is_array($params) && isset($params['user_info'])) {
        (new TwoFactor(Config::load()))->deactivate($params);
        return true;
    }
    return Modules::deactivateAddon();
}
