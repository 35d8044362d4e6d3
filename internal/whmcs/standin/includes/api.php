<?php

/**
 * https://developers.whmcs.com/api/authentication/ and …/api/response-types/
 */

declare(strict_types=1);

use WHMCS\Database\Capsule;
use WHMCS\Standin\LocalApi;

require dirname(__DIR__) . '/init.php';

header('Content-Type: application/json');
$how = standin_setting('StandinAPI', 'well');
$who = Capsule::table('tblapi')->where('identifier', (string) ($_POST['identifier'] ?? ''))->first();
if ($how === 'html') {
    header('Content-Type: text/html');
    echo '<!doctype html><title>Oops!</title><p>Something went wrong and we couldn\'t process your request.</p>';
} elseif ($how === 'broken') {
    http_response_code(500);
    echo '<h1>Internal Server Error</h1>';
} elseif ($how === 'forbidden') {
    http_response_code(403);
    echo json_encode(['result' => 'error', 'message' => 'Invalid IP ' . $_SERVER['REMOTE_ADDR']]);
} elseif (
    $who === null || !hash_equals($who->secret, (string) ($_POST['secret'] ?? ''))
    || !hash_equals($who->accesskey, (string) ($_POST['accesskey'] ?? ''))
) {
    http_response_code(403);
    echo json_encode(['result' => 'error', 'message' => 'Authentication Failed']);
} else {
    echo json_encode((new LocalApi())->call((string) ($_POST['action'] ?? ''), $_POST));
}
