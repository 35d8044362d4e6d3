<?php

/**
 * What tests do from outside: fill tables, read them, run hooks as a page or the cron does, turn an addon on and off.
 */

declare(strict_types=1);

use WHMCS\Database\Capsule;

// phpcs:disable PSR1.Files.SideEffects -- an entry point
if (($argv[1] ?? '') === 'seed' && !is_file(__DIR__ . '/whmcs.sqlite')) {
    $pdo = new PDO('sqlite:' . __DIR__ . '/whmcs.sqlite');
    $pdo->exec((string) file_get_contents(__DIR__ . '/schema.sql'));
    unset($pdo);
}

require __DIR__ . '/init.php';

switch ($argv[1] ?? '') {
    case 'seed': // {"table": [{"column": value}]}: rows of the same first column are replaced
        foreach (json_decode((string) stream_get_contents(STDIN), true) as $table => $rows) {
            foreach ($rows as $row) {
                Capsule::table($table)->updateOrInsert(array_slice($row, 0, 1, true), array_slice($row, 1, null, true));
            }
        }
        break;
    case 'dump':
        $there = Capsule::schema()->hasTable($argv[2]);
        echo json_encode($there ? Capsule::table($argv[2])->get()->getArrayCopy() : []);
        break;
    case 'sql':
        Capsule::pdo()->exec($argv[2]);
        break;
    case 'hooks': // {"hook": name, "vars": {}}, a line each, all in this process
        while (($line = fgets(STDIN)) !== false) {
            $event = json_decode($line, true);
            $vars = $event['vars'] ?? [];
            if ($event['hook'] === 'UserLogin') {
                $vars['user'] = new WHMCS\User\User((int) $vars['user']['id'], (string) $vars['user']['email']);
            }
            run_hook($event['hook'], $vars);
        }
        break;
    case 'addon':
        require_once __DIR__ . '/modules/addons/' . $argv[3] . '/' . $argv[3] . '.php';
        $answer = call_user_func($argv[3] . '_' . $argv[2]);
        $rows = Capsule::table('tbladdonmodules')->where('module', $argv[3]);
        if ($argv[2] === 'deactivate') {
            $rows->delete();
        } elseif (($answer['status'] ?? '') === 'success') {
            $row = ['module' => $argv[3], 'setting' => 'version', 'value' => '1.0.0'];
            Capsule::table('tbladdonmodules')->insert($row);
        }
        echo json_encode($answer);
        break;
    default:
        fwrite(STDERR, "cli.php seed|dump TABLE|sql SQL|hooks|addon activate|deactivate NAME\n");
        exit(2);
}
