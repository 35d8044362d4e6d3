<?php

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- an entry point
define('ADMINAREA', true);

require dirname(__DIR__) . '/init.php';

(new WHMCS\Standin\Area(true))->page();
