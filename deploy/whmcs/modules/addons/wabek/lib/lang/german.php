<?php

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

return [
    'code' => 'Code',
    'number' => 'WhatsApp-Nummer, etwa +49 1511 2345678',
    'use_account' => 'Die Nummer meines Kontos verwenden, %s',
    'send_code' => 'Code senden',
    'other_number' => 'Eine andere Nummer verwenden',
    'confirm' => 'Bestätigen',
    'sign_in' => 'Anmelden',
    'send_again' => 'Neuen Code senden',
    'explain' => 'Bei jeder Anmeldung kommt ein Code über WhatsApp. Zuerst prüfen wir die Nummer.',
    'queued' => 'Ein Code an %s ist unterwegs.',
    'sent' => 'Ein Code wurde an %s gesendet.',
    'not_delivered' => 'Der Code an %s konnte nicht zugestellt werden. Nehmen Sie Ihren Backup-Code oder fordern Sie '
        . 'einen neuen an.',
    'not_on_whatsapp' => 'Die Nummer %s ist nicht bei WhatsApp. Nehmen Sie Ihren Backup-Code.',
    'again' => 'Eine weitere Nachricht an %s ist unterwegs.',
    'wrong' => 'Der Code ist falsch. Verbleibende Versuche: %s.',
    'locked' => 'Zu viele falsche Codes. Fordern Sie einen neuen an.',
    'barred' => 'Zu viele falsche Codes hintereinander. Nehmen Sie Ihren Backup-Code oder bitten Sie uns, die Nummer '
        . 'freizugeben.',
    'expired' => 'Der Code ist abgelaufen. Fordern Sie einen neuen an.',
    'used' => 'Dieser Code wurde schon verwendet.',
    'none' => 'Es wurde noch kein Code angefordert.',
    'empty' => 'Geben Sie den Code ein.',
    'wait' => 'Bitte warten Sie %s Sekunden, bevor Sie einen neuen Code anfordern.',
    'wait_try' => 'Bitte warten Sie %s Sekunden bis zum nächsten Versuch.',
    'away' => 'Zurzeit können keine WhatsApp-Codes gesendet oder geprüft werden. Nehmen Sie Ihren Backup-Code oder '
        . 'versuchen Sie es in einer Minute noch einmal.',
    'refused' => 'An diese Nummer kann kein Code gesendet werden. Nehmen Sie Ihren Backup-Code oder eine andere '
        . 'Nummer.',
    'bad_number' => 'Geben Sie eine Nummer in internationaler Form ein, etwa +49 1511 2345678.',
    'not_set_up' => 'Die Zwei-Faktor-Anmeldung über WhatsApp ist für Sie nicht eingerichtet. Nehmen Sie Ihren '
        . 'Backup-Code.',
    'unknown_user' => 'Ihr Konto wurde nicht gefunden. Bitte melden Sie sich erneut an.',
];
