<?php

declare(strict_types=1);

namespace WHMCS\Database;

use WHMCS\Standin\Query;
use WHMCS\Standin\Schema;

/**
 * https://developers.whmcs.com/advanced/db-interaction/, over SQLite.
 */
class Capsule
{
    private static ?\PDO $pdo = null;

    public static function pdo(): \PDO
    {
        if (self::$pdo === null) {
            self::$pdo = new \PDO('sqlite:' . ROOTDIR . '/whmcs.sqlite', null, null, [
                \PDO::ATTR_ERRMODE => \PDO::ERRMODE_EXCEPTION,
                \PDO::ATTR_DEFAULT_FETCH_MODE => \PDO::FETCH_OBJ,
                \PDO::ATTR_TIMEOUT => 20,
            ]);
            self::$pdo->exec('PRAGMA journal_mode = WAL');
        }
        return self::$pdo;
    }

    public static function table(string $name): Query
    {
        return new Query(self::pdo(), $name);
    }

    public static function schema(): Schema
    {
        return new Schema(self::pdo());
    }
}
