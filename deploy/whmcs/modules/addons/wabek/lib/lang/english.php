<?php

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

return [
    'code' => 'Code',
    'number' => 'WhatsApp number, like +44 7911 123456',
    'use_account' => 'Use the number of my account, %s',
    'send_code' => 'Send me a code',
    'other_number' => 'Use another number',
    'confirm' => 'Confirm',
    'sign_in' => 'Sign in',
    'send_again' => 'Send another code',
    'explain' => 'At each login a code comes to you by WhatsApp. First we check the number.',
    'queued' => 'A code is on its way to %s.',
    'sent' => 'A code was sent to %s.',
    'not_delivered' => 'The code for %s could not be delivered. Use your backup code, or ask for another code.',
    'not_on_whatsapp' => 'The number %s is not on WhatsApp. Use your backup code.',
    'again' => 'Another message is on its way to %s.',
    'wrong' => 'The code is wrong. Tries left: %s.',
    'locked' => 'Too many wrong codes. Ask for another code.',
    'barred' => 'Too many wrong codes in a row. Use your backup code, or ask us to unlock your number.',
    'expired' => 'The code is too old. Ask for another one.',
    'used' => 'This code was used already.',
    'none' => 'No code was asked for yet.',
    'empty' => 'Enter the code.',
    'wait' => 'Please wait %s seconds before you ask for another code.',
    'wait_try' => 'Please wait %s seconds before you try again.',
    'away' => 'No WhatsApp codes can be sent or checked right now. Use your backup code, or try again in a minute.',
    'refused' => 'No code can be sent to this number. Use your backup code, or another number.',
    'bad_number' => 'Enter a number in international form, like +44 7911 123456.',
    'not_set_up' => 'Two-factor authentication by WhatsApp is not set up for you. Use your backup code.',
    'unknown_user' => 'Your account could not be found. Please log in again.',
];
