<?php

/**
 * https://developers.whmcs.com/addon-modules/admin-area-output/
 */

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- an entry point
define('ADMINAREA', true);

require dirname(__DIR__) . '/init.php';

$module = basename((string) ($_GET['module'] ?? $_POST['module'] ?? ''));
$active = WHMCS\Database\Capsule::table('tbladdonmodules')->where('module', $module)->count() > 0;
if (empty($_SESSION['adminid']) || !$active) {
    http_response_code(403);
    exit;
}
require_once ROOTDIR . '/modules/addons/' . $module . '/' . $module . '.php';
ob_start();
call_user_func($module . '_output', [
    'modulelink' => 'addonmodules.php?module=' . $module, 'version' => '1.0.0', '_lang' => [],
]);
$output = ob_get_clean();
echo '<!doctype html><html><body><div id="contentarea">' . $output . '</div></body></html>';
