<?php

declare(strict_types=1);

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

return [
    'code' => 'Kod',
    'number' => '+90 555 123 45 67 biçiminde WhatsApp numarası',
    'use_account' => 'Hesabımdaki numarayı kullan: %s',
    'send_code' => 'Bana kod gönder',
    'other_number' => 'Başka bir numara kullan',
    'confirm' => 'Onayla',
    'sign_in' => 'Giriş yap',
    'send_again' => 'Yeni kod gönder',
    'explain' => 'Her girişte WhatsApp üzerinden size bir kod gelir. Önce numaranızı doğruluyoruz.',
    'queued' => 'Kod %s numarasına gönderiliyor.',
    'sent' => 'Kod %s numarasına gönderildi.',
    'not_delivered' => 'Kod %s numarasına ulaştırılamadı. Yedek kodunuzu kullanın veya yeni kod isteyin.',
    'not_on_whatsapp' => '%s numarası WhatsApp kullanmıyor. Yedek kodunuzu kullanın.',
    'again' => '%s numarasına yeni bir mesaj gönderiliyor.',
    'wrong' => 'Kod yanlış. Kalan deneme: %s.',
    'locked' => 'Çok fazla yanlış kod girildi. Yeni kod isteyin.',
    'barred' => 'Üst üste çok fazla yanlış kod girildi. Yedek kodunuzu kullanın veya bizden kilidi açmamızı isteyin.',
    'expired' => 'Kodun süresi doldu. Yeni kod isteyin.',
    'used' => 'Bu kod daha önce kullanıldı.',
    'none' => 'Henüz kod istenmedi.',
    'empty' => 'Kodu girin.',
    'wait' => 'Yeni kod istemeden önce lütfen %s saniye bekleyin.',
    'wait_try' => 'Yeniden denemeden önce lütfen %s saniye bekleyin.',
    'away' => 'Şu anda WhatsApp kodu gönderilemiyor veya denetlenemiyor. Yedek kodunuzu kullanın ya da az sonra '
        . 'yeniden deneyin.',
    'refused' => 'Bu numaraya kod gönderilemiyor. Yedek kodunuzu veya başka bir numara kullanın.',
    'bad_number' => 'Numarayı +90 555 123 45 67 gibi uluslararası biçimde girin.',
    'not_set_up' => 'WhatsApp ile iki adımlı doğrulama sizin için kurulmamış. Yedek kodunuzu kullanın.',
    'unknown_user' => 'Hesabınız bulunamadı. Lütfen yeniden giriş yapın.',
];
