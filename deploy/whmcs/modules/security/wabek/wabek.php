<?php

/**
 * wabek: two-factor authentication by WhatsApp. Goes with modules/addons/wabek/lib; see docs/whmcs.md.
 *
 * WHMCS doesn't document security modules. What is relied on here is what open modules were seen to rely on;
 * docs/whmcs.md lists it. The functions that the addon has too are in lib/functions.php.
 */

declare(strict_types=1);

use Wabek\Whmcs\Config;
use Wabek\Whmcs\Modules;
use Wabek\Whmcs\TwoFactor;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once dirname(__DIR__, 2) . '/addons/wabek/lib/wabek.php';
require_once dirname(__DIR__, 2) . '/addons/wabek/lib/functions.php';

Modules::$security = true;

/**
 * @param array<string, mixed> $params
 * @return array{settings: array<string, string>}
 * @throws \WHMCS\Exception where the code isn't right, or there is another step
 */
function wabek_activateverify($params)
{
    return (new TwoFactor(Config::load()))->activateVerify((array) $params);
}

/**
 * @param array<string, mixed> $params
 */
function wabek_challenge($params)
{
    return (new TwoFactor(Config::load()))->challenge((array) $params);
}

/**
 * @param array<string, mixed> $params
 */
function wabek_verify($params)
{
    return (new TwoFactor(Config::load()))->verify((array) $params);
}
