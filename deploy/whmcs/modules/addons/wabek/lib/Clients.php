<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

use WHMCS\Database\Capsule;

/**
 * What WHMCS knows of clients, by localAPI (https://developers.whmcs.com/api/internal-api/).
 */
final class Clients
{
    /**
     * The answer of a command, or an empty array where WHMCS has nothing.
     *
     * @param array<string, mixed> $values
     * @return array<string, mixed>
     */
    public static function ask(string $command, array $values): array
    {
        $answer = localAPI($command, $values);
        return is_array($answer) && ($answer['result'] ?? '') === 'success' ? $answer : [];
    }

    /**
     * A client, or an empty array. The number of the custom field takes the place of its phone number.
     *
     * @return array<string, mixed>
     */
    public static function details(int $id, Config $config): array
    {
        $answer = $id > 0 ? self::ask('GetClientsDetails', ['clientid' => $id, 'stats' => false]) : [];
        // Older releases have the fields beside "client" alone.
        $client = is_array($answer['client'] ?? null) ? $answer['client'] : $answer;
        if ($client === []) {
            return [];
        }
        $number = trim(self::field($client, $config->numberField));
        if ($number !== '') {
            $client['phonenumber'] = $number;
            unset($client['phonenumberformatted'], $client['telephoneNumber']);
            if ($number[0] === '+' || strpos($number, '00') === 0) {
                unset($client['phonecc']);
            }
        }
        return $client;
    }

    /**
     * Whether a client wants messages. Where no field is set up everybody does.
     *
     * @param array<string, mixed> $client
     */
    public static function consents(array $client, Config $config): bool
    {
        if ($config->consentField <= 0) {
            return true;
        }
        $said = strtolower(trim(self::field($client, $config->consentField)));
        // A tick box holds "on". Of a list of words we take those that the shipped languages say yes with.
        return in_array($said, ['on', '1', 'yes', 'true', 'y', 'evet', 'ja', 'نعم'], true);
    }

    /**
     * The client that a user owns, 0 where there is none. A user may own several: then the one that the session has
     * open, or else the oldest. Clients of others are left alone: their phone isn't this user's.
     */
    public static function ownedBy(int $user, string $email = ''): int
    {
        $owned = [];
        try {
            $rows = Capsule::table('tblusers_clients')->where('auth_user_id', $user)->where('owner', 1)->get();
            foreach ($rows as $row) {
                $owned[] = (int) $row->client_id;
            }
        } catch (\Throwable $e) {
            $owned = self::ownedByApi($user, $email); // that table isn't documented, GetUsers is
        }
        $open = (int) ($_SESSION['uid'] ?? 0);
        if ($owned === [] || in_array($open, $owned, true)) {
            return $owned === [] ? 0 : $open;
        }
        return min($owned);
    }

    /**
     * @return int[]
     */
    private static function ownedByApi(int $user, string $email): array
    {
        $owned = [];
        foreach ((array) (self::ask('GetUsers', ['search' => $email])['users'] ?? []) as $one) {
            if ((int) ($one['id'] ?? 0) === $user) {
                foreach ((array) ($one['clients'] ?? []) as $client) {
                    if (!empty($client['isOwner'])) {
                        $owned[] = (int) $client['id'];
                    }
                }
            }
        }
        return $owned;
    }

    /**
     * @param array<string, mixed> $client
     */
    private static function field(array $client, int $id): string
    {
        foreach ((array) ($client['customfields'] ?? []) as $field) {
            if ($id > 0 && (int) ($field['id'] ?? 0) === $id) {
                return (string) ($field['value'] ?? '');
            }
        }
        return '';
    }
}
