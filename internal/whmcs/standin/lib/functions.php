<?php

declare(strict_types=1);

// phpcs:disable PSR1.Methods.CamelCapsMethodName, Squiz.Functions.GlobalFunction -- WHMCS calls them so

use WHMCS\Database\Capsule;
use WHMCS\Standin\LocalApi;

/**
 * https://developers.whmcs.com/hooks/getting-started/
 */
function add_hook(string $point, int $priority, callable $hook): void
{
    $GLOBALS['standin_hooks'][$point][$priority][] = $hook;
}

/**
 * Runs the hooks of a point, the lowest priority first, and gives their answers.
 *
 * @param array<string, mixed> $vars
 * @return mixed[]
 */
function run_hook(string $point, array $vars): array
{
    $answers = [];
    $byPriority = $GLOBALS['standin_hooks'][$point] ?? [];
    ksort($byPriority);
    foreach ($byPriority as $hooks) {
        foreach ($hooks as $hook) {
            $answers[] = $hook($vars);
        }
    }
    return array_filter($answers, static fn ($answer): bool => $answer !== null);
}

/**
 * https://developers.whmcs.com/api/internal-api/
 *
 * @param array<string, mixed> $values
 * @return array<string, mixed>
 */
function localAPI(string $command, array $values = [], string $admin = ''): array
{
    return (new LocalApi())->call($command, $values);
}

/**
 * https://developers.whmcs.com/advanced/logging/
 */
function logActivity(string $text, int $client = 0): void
{
    Capsule::table('tblactivitylog')->insert(['userid' => $client, 'description' => $text]);
}

/**
 * The same page. Module logging counts as turned on. WHMCS blots out what it is given to replace.
 *
 * @param mixed $request
 * @param mixed $response
 * @param mixed $processed
 * @param string[] $replace
 */
function logModuleCall(string $module, string $action, $request, $response, $processed, array $replace = []): void
{
    $text = static function ($value) use ($replace): string {
        $text = is_string($value) ? $value : (string) json_encode($value, JSON_UNESCAPED_UNICODE);
        return str_replace($replace, '********', $text);
    };
    Capsule::table('tblmodulelog')->insert([
        'module' => $module, 'action' => $action, 'request' => $text($request), 'response' => $text($response),
        'arrdata' => $text($processed),
    ]);
}

/** A setting of WHMCS, or of this stand-in. */
function standin_setting(string $name, string $default = ''): string
{
    return (string) (Capsule::table('tblconfiguration')->where('setting', $name)->value('value') ?? $default);
}
