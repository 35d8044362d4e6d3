<?php

declare(strict_types=1);

namespace Wabek\Whmcs;

// phpcs:disable PSR1.Files.SideEffects -- WHMCS asks every file to refuse being opened directly
if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

/**
 * What wabek said. Errors are problem documents with a stable code (docs/errors.md).
 */
final class Answer
{
    /**
     * @param int $status 0 where nobody answered
     * @param array<string, mixed> $body
     */
    public function __construct(
        public readonly int $status,
        public readonly array $body = [],
        public readonly int $retryAfter = 0,
        public readonly string $error = ''
    ) {
    }

    public function ok(): bool
    {
        return $this->status === 200;
    }

    /** Nobody answered, or only to say that it can't be done now. */
    public function away(): bool
    {
        return $this->status === 0 || $this->status >= 500;
    }

    public function code(): string
    {
        return $this->text('code');
    }

    public function text(string $field): string
    {
        $value = $this->body[$field] ?? '';
        return is_scalar($value) ? (string) $value : '';
    }

    /** In a few words, for the activity log; wabek's problem documents quote no number, key or code. */
    public function says(): string
    {
        if ($this->status === 0) {
            return 'no answer (' . $this->error . ')';
        }
        return $this->status . ' ' . $this->code() . ($this->text('field') === '' ? '' : ' ' . $this->text('field'));
    }
}
