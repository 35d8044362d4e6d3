<?php

/**
 * What WHMCS's own init.php does: it gives constants, functions and classes, the session, and the hooks of every file
 * in includes/hooks.
 */

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- an entry point
define('WHMCS', true);
define('ROOTDIR', __DIR__);

error_reporting(E_ALL);
// A warning in our own files is a fault: it ends the request with a status that no test overlooks. In what others paste
// into their WHMCS it is none, as there.
set_error_handler(static function (int $level, string $text, string $file, int $line): bool {
    if (basename($file) !== 'snippets.php') {
        throw new \ErrorException($text, 0, $level, $file, $line);
    }
    return true;
});

spl_autoload_register(static function (string $class): void {
    $files = [
        'WHMCS\Exception' => 'Exception', 'WHMCS\Database\Capsule' => 'Capsule', 'WHMCS\User\User' => 'User',
        'WHMCS\Standin\Query' => 'Query', 'WHMCS\Standin\Schema' => 'Schema', 'WHMCS\Standin\Blueprint' => 'Blueprint',
        'WHMCS\Standin\LocalApi' => 'LocalApi', 'WHMCS\Standin\Area' => 'Area',
    ];
    if (isset($files[$class])) {
        require __DIR__ . '/lib/' . $files[$class] . '.php';
    }
});
require __DIR__ . '/lib/functions.php';

if (PHP_SAPI !== 'cli' && session_status() === PHP_SESSION_NONE) {
    session_save_path(__DIR__ . '/sessions');
    session_start();
}
foreach ((array) glob(__DIR__ . '/includes/hooks/*.php') as $hookFile) {
    require $hookFile;
}
