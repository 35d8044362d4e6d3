<?php

/**
 * Loads what the hook file, the two-factor module and the addon share. There is no Composer on the server.
 */

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

$names = [
    'Log', 'Secret', 'Store', 'Config', 'Answer', 'Api', 'Phone', 'Clients', 'Events', 'Login', 'Lang', 'TwoFactor',
    'Modules', 'Page',
];
foreach ($names as $name) {
    require_once __DIR__ . '/' . $name . '.php';
}
unset($names, $name);
