<?php

/**
 * wabek: the addon, which is a page of the admin area with settings and log. See docs/whmcs.md, and
 * https://developers.whmcs.com/addon-modules/. The functions that the two-factor module has too are in
 * lib/functions.php.
 */

declare(strict_types=1);

use Wabek\Whmcs\Modules;
use Wabek\Whmcs\Page;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/lib/wabek.php';
require_once __DIR__ . '/lib/functions.php';

Modules::$addon = true;

/**
 * @param array<string, mixed> $vars
 */
function wabek_output($vars)
{
    (new Page((string) ($vars['modulelink'] ?? 'addonmodules.php?module=wabek')))->show();
}

/**
 * Tables are made when they are first needed, so there is nothing to do from one version to the next until their
 * columns change. WHMCS calls it with the version that was there before.
 *
 * @param array<string, mixed> $vars
 */
function wabek_upgrade($vars)
{
    Modules::activateAddon();
}
