<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

use WHMCS\Database\Capsule;

/**
 * The tables, which are made when they are first needed: the hook works without the addon being activated.
 * They hold ids and masked numbers; a whole number or a key only as WHMCS has encrypted it, and no code at all.
 */
final class Store
{
    public const SETTINGS = 'mod_wabek_settings';
    public const OUTBOX = 'mod_wabek_outbox';
    public const TWO_FACTOR = 'mod_wabek_twofactor';

    /** @var array<string, true> */
    private static array $there = [];

    /**
     * A table, made if it isn't there.
     *
     * @return mixed WHMCS's query builder
     */
    public static function table(string $name)
    {
        if (!isset(self::$there[$name])) {
            if (!Capsule::schema()->hasTable($name)) {
                self::create($name);
            }
            self::$there[$name] = true;
        }
        return Capsule::table($name);
    }

    public static function has(string $name): bool
    {
        return isset(self::$there[$name]) || Capsule::schema()->hasTable($name);
    }

    private static function create(string $name): void
    {
        $columns = [
            self::SETTINGS => static function ($table): void {
                $table->string('name', 64)->unique();
                $table->text('value');
            },
            self::OUTBOX => static function ($table): void {
                $table->increments('id');
                $table->string('action', 64);
                $table->text('facts');
                $table->integer('tries')->default(0);
                $table->bigInteger('created')->index();
            },
            self::TWO_FACTOR => static function ($table): void {
                $table->string('ref', 32)->unique();
                $table->string('who', 64)->index();
                $table->integer('enrolled')->default(0);
                $table->text('number');
                $table->string('masked', 64);
                $table->string('otp_id', 64)->default('');
                $table->string('note', 255)->default('');
                $table->bigInteger('created');
            },
        ];
        Capsule::schema()->create($name, $columns[$name]);
    }
}
