<?php

declare(strict_types=1);

namespace WHMCS\Standin;

use WHMCS\Database\Capsule;

/**
 * The commands that are used, with the answers of https://developers.whmcs.com/api-reference/
 */
class LocalApi
{
    /**
     * @param array<string, mixed> $values
     * @return array<string, mixed>
     */
    public function call(string $command, array $values): array
    {
        switch ($command) {
            case 'GetInvoice':
                $id = (int) ($values['invoiceid'] ?? 0);
                return $this->row('tblinvoices', $id, 'Invoice ID Not Found', 'invoiceid');
            case 'GetClientsDetails':
                return $this->client((int) ($values['clientid'] ?? 0));
            case 'GetTicket':
                $ticket = $this->row('tbltickets', (int) ($values['ticketid'] ?? 0), 'Ticket ID Not Found', 'ticketid');
                return isset($ticket['title']) ? $ticket + ['subject' => $ticket['title']] : $ticket;
            case 'GetClientsProducts':
                return $this->list('tblhosting', (int) ($values['serviceid'] ?? 0), 'products', 'product', 'clientid');
            case 'GetClientsDomains':
                return $this->list('tbldomains', (int) ($values['domainid'] ?? 0), 'domains', 'domain', 'userid');
            case 'GetUsers':
                return $this->users((string) ($values['search'] ?? ''));
            case 'GetConfigurationValue':
                $setting = (string) ($values['setting'] ?? '');
                return ['result' => 'success', 'setting' => $setting, 'value' => standin_setting($setting)];
            case 'EncryptPassword':
                $nonce = random_bytes(SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
                $box = sodium_crypto_secretbox((string) $values['password2'], $nonce, $this->key());
                return ['result' => 'success', 'password' => base64_encode($nonce . $box)];
            case 'DecryptPassword':
                $box = (string) base64_decode((string) $values['password2'], true);
                $nonce = substr($box, 0, SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
                $plain = strlen($nonce) === SODIUM_CRYPTO_SECRETBOX_NONCEBYTES
                    ? sodium_crypto_secretbox_open(substr($box, strlen($nonce)), $nonce, $this->key()) : false;
                return ['result' => 'success', 'password' => $plain === false ? '' : $plain];
        }
        return ['result' => 'error', 'message' => 'Command Not Found'];
    }

    private function key(): string
    {
        return hash('sha256', standin_setting('cc_encryption_hash', 'stand-in'), true);
    }

    /**
     * @return array<string, mixed>
     */
    private function row(string $table, int $id, string $missing, string $name): array
    {
        $row = Capsule::table($table)->where('id', $id)->first();
        if ($row === null) {
            return ['result' => 'error', 'message' => $missing];
        }
        return ['result' => 'success', $name => $id] + (array) $row;
    }

    /**
     * @return array<string, mixed>
     */
    private function list(string $table, int $id, string $many, string $one, string $client): array
    {
        $rows = [];
        foreach (Capsule::table($table)->where('id', $id)->get() as $row) {
            $fields = (array) $row;
            $rows[] = $fields + [$client => $row->userid, 'domainname' => $row->domain];
        }
        return ['result' => 'success', 'totalresults' => count($rows), $many => [$one => $rows]];
    }

    /**
     * @return array<string, mixed>
     */
    private function client(int $id): array
    {
        $row = Capsule::table('tblclients')->where('id', $id)->first();
        if ($row === null) {
            return ['result' => 'error', 'message' => 'Client Not Found'];
        }
        $fields = [];
        foreach (Capsule::table('tblcustomfieldsvalues')->where('relid', $id)->get() as $value) {
            $fields[] = ['id' => (int) $value->fieldid, 'value' => $value->value];
        }
        $client = (array) $row;
        $formatted = preg_match('/^\+(\d+)\.(\d+)$/', (string) $row->phonenumber, $parts) === 1;
        $client = [
            'client_id' => $id, 'userid' => $id, 'fullname' => trim($row->firstname . ' ' . $row->lastname),
            'phonenumber' => $formatted ? $parts[2] : $row->phonenumber, 'phonecc' => $formatted ? $parts[1] : '',
            'phonenumberformatted' => $formatted ? $row->phonenumber : '',
            'telephoneNumber' => $formatted ? $row->phonenumber : '', 'currency_code' => $row->currency,
            'customfields' => $fields,
        ] + $client;
        return ['result' => 'success', 'client' => $client] + $client;
    }

    /**
     * @return array<string, mixed>
     */
    private function users(string $search): array
    {
        $users = [];
        foreach (Capsule::table('tblusers')->where('email', $search)->get() as $user) {
            $clients = [];
            $owns = 'tblusers_clients';
            $owns = Capsule::schema()->hasTable($owns) ? $owns : $owns . '_elsewhere';
            foreach (Capsule::table($owns)->where('auth_user_id', $user->id)->get() as $of) {
                $clients[] = ['id' => (int) $of->client_id, 'isOwner' => (bool) $of->owner];
            }
            $users[] = ['id' => (int) $user->id, 'email' => $user->email, 'clients' => $clients];
        }
        return ['result' => 'success', 'totalresults' => count($users), 'users' => $users];
    }
}
